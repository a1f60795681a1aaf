//! Difference quotients of the function along one direction, and what it means when they disagree
//! with the gradient.

use super::arguments::{Arguments, Outputs};
use super::function::{Function, Gradient, Output};
use super::{Comparison, Finding, GradcheckOptions};

/// A direction `v` through one variable.
#[derive(Clone, Debug)]
pub(super) enum Direction {
    /// Along one element.
    Element(usize),
    /// Any; as long as the variable.
    Dense(Vec<f64>),
}

impl Direction {
    /// `|v|`
    fn norm(&self) -> f64 {
        match self {
            Direction::Element(_) => 1.0,
            Direction::Dense(v) => norm(v.iter().copied()),
        }
    }

    fn entries(&self) -> Box<dyn Iterator<Item = (usize, f64)> + '_> {
        match self {
            Direction::Element(i) => Box::new(core::iter::once((*i, 1.0))),
            Direction::Dense(v) => Box::new(
                (v.iter().copied())
                    .enumerate()
                    .filter(|&(_, component)| component != 0.0),
            ),
        }
    }
}

/// A forward and backward pass with the output gradient of one seed: what the differences are
/// compared with.
pub(super) struct Reference {
    pub(super) seed: u64,
    pub(super) grad_output: Vec<f64>,
    pub(super) gradients: Vec<Option<Gradient>>,
    /// The root mean square of each.
    typical: Vec<f64>,
}

impl Reference {
    pub(super) fn new(seed: u64, grad_output: Vec<f64>, gradients: Vec<Option<Gradient>>) -> Self {
        let size = |gradient: &Gradient| rms(gradient.values.iter().copied());
        let typical = gradients
            .iter()
            .map(|gradient| gradient.as_ref().map_or(0.0, size));
        Self {
            seed,
            grad_output,
            typical: typical.collect(),
            gradients,
        }
    }
}

/// `f(x ± h v)`, and what the gradients say of it.
pub(super) struct Quotient {
    step: f64,
    /// One for each reference.
    pub(super) values: Vec<Values>,
    /// Whether `f` changed at all.
    pub(super) responds: bool,
}

/// Derivatives along a direction, of `<u, f(x)>` with one output gradient `u`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    pub(super) analytic: f64,
    pub(super) numeric: f64,
    /// The one-sided difference quotients.
    left: f64,
    right: f64,
    /// What rounding the outputs may do to `numeric`.
    rounding: f64,
    /// The size of such a derivative, if the gradient's values had random signs.
    typical: f64,
}

/// What a comparison comes to.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// With the relative error.
    Agrees(f64),
    Kink,
    StepTooLarge(Finding),
    NotFinite(Finding),
    Scatters(Finding),
    Disagrees(Comparison),
}

/// The function at the point of the check.
pub(super) struct Differences<'a, A, F> {
    pub(super) function: Function<'a, A, F>,
    pub(super) options: &'a GradcheckOptions,
    /// `f(x)`
    pub(super) output: Output,
    pub(super) references: Vec<Reference>,
}

/// A step along a direction, and what it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) step: f64,
    /// By how much of their size the outputs that it reaches change.
    pub(super) response: f64,
}

/// How often a step is halved at most, beyond the first two times.
const REFINEMENTS: usize = 5;

/// Rounding errors of outputs, in units of half an epsilon: they are sums of many rounded terms.
const ROUNDINGS: f64 = 8.0;

impl<A: Arguments, O: Outputs, F: Fn(A::Values) -> O> Differences<'_, A, F> {
    /// `f(x ± h v)` against the gradients.
    pub(super) fn quotient(&self, variable: usize, direction: &Direction, step: f64) -> Quotient {
        let (x, round) = (&self.function.variables[variable].values, |value| {
            self.options.round(value)
        });
        // The steps as the data type can take them: both sides of a comparison use these.
        let moved: Vec<_> = direction
            .entries()
            .map(|(i, v)| (i, round(x[i] - step * v), round(x[i] + step * v)))
            .collect();
        let [left, right] = [false, true].map(|to_the_right| {
            let mut values = x.clone();
            for &(i, left, right) in &moved {
                values[i] = if to_the_right { right } else { left };
            }
            self.output_at(variable, values)
        });
        let center = &self.output.values;
        let size = rms(center.iter().copied());

        let responds = left.iter().zip(&right).any(|(left, right)| left != right);
        let values = self.references.iter().map(|reference| {
            let [mut to_left, mut to_right, mut rounded] = [0.0; 3];
            let outputs = left.iter().zip(center).zip(&right);
            for (u, ((left, center), right)) in reference.grad_output.iter().zip(outputs) {
                to_left += u * (center - left);
                to_right += u * (right - center);
                if left != right {
                    let size = u * left.abs().max(right.abs()).max(size);
                    rounded += size * size;
                }
            }
            let gradient = reference.gradients[variable].as_ref();
            let analytic = gradient.map_or(0.0, |gradient| {
                (moved.iter())
                    .map(|&(i, left, right)| gradient.values[i] * (right - left))
                    .sum::<f64>()
            });
            Values {
                analytic: analytic / (2.0 * step),
                numeric: (to_left + to_right) / (2.0 * step),
                left: to_left / step,
                right: to_right / step,
                rounding: ROUNDINGS * self.options.epsilon() / 2.0 * rounded.sqrt() / step,
                typical: reference.typical[variable] * direction.norm(),
            }
        });
        Quotient {
            step,
            values: values.collect(),
            responds,
        }
    }

    fn output_at(&self, variable: usize, values: Vec<f64>) -> Vec<f64> {
        let output = self.function.forward_at(variable, values).values;
        let (got, expected) = (output.len(), self.output.values.len());
        assert_eq!(
            got, expected,
            "gradcheck: the function must return as many values wherever its arguments are"
        );
        output
    }

    /// The step along a direction that changes the outputs which it reaches by the cube root of
    /// epsilon, from one trial.
    pub(super) fn default_step(&self, variable: usize, direction: &Direction) -> Step {
        let x = &self.function.variables[variable].values;
        let target = self.options.epsilon().cbrt();
        let trial = match rms(x.iter().copied()) {
            0.0 => target,
            size => target * size,
        };
        let mut values = x.clone();
        for (i, v) in direction.entries() {
            values[i] = self.options.round(x[i] + trial * v);
        }
        let moved = self.output_at(variable, values);
        let changed = (self.output.values.iter().zip(&moved)).filter(|(from, to)| from != to);
        let change = norm(changed.clone().map(|(from, to)| to - from));
        let response = change / norm(changed.map(|(from, _)| *from));
        if response.is_normal() {
            // Within a thousand of the size of the values themselves.
            let factor = (target / response).clamp(1e-3, 1e3);
            Step {
                step: trial * factor,
                response: response * factor,
            }
        } else {
            Step {
                step: trial,
                response: 0.0,
            }
        }
    }

    /// What relative errors are relative to: the larger of both values, the average size of such a
    /// derivative, and the smallest one that rounding lets a difference resolve to the tolerance.
    fn size(&self, values: &Values) -> f64 {
        (values.analytic.abs())
            .max(values.numeric.abs())
            .max(values.typical)
            .max(values.rounding / self.options.relative_tolerance())
    }

    fn tolerance(&self, values: &Values) -> f64 {
        self.options.absolute_tolerance + self.options.relative_tolerance() * self.size(values)
    }

    /// The relative error, and whether it is allowed.
    fn error(&self, values: &Values) -> (f64, bool) {
        let error = (values.analytic - values.numeric).abs();
        let allowed = error <= self.tolerance(values);
        (relative(error, self.size(values)), allowed)
    }

    /// Compares with one reference.
    pub(super) fn compare(
        &self,
        variable: usize,
        direction: &Direction,
        default_step: f64,
        quotient: &Quotient,
        reference: usize,
    ) -> Outcome {
        let first = quotient.values[reference];
        let name = &self.function.variables[variable].name;
        if !first.numeric.is_finite() {
            return Outcome::NotFinite(Finding::NotFinite {
                tensor: format!("output with {name} {:.1e} away", quotient.step),
                index: vec![],
                value: first.numeric.to_string(),
            });
        }
        match self.error(&first) {
            (error, true) => Outcome::Agrees(error),
            _ => self.explain(variable, direction, default_step, quotient, reference),
        }
    }

    /// Takes smaller steps to find out why gradient and difference disagree.
    fn explain(
        &self,
        variable: usize,
        direction: &Direction,
        default_step: f64,
        quotient: &Quotient,
        reference: usize,
    ) -> Outcome {
        let first = quotient.values[reference];
        let name = &self.function.variables[variable].name;
        let halved = [2.0, 4.0].map(|part| {
            let step = quotient.step / part;
            self.quotient(variable, direction, step).values[reference]
        });
        let at = [first, halved[0], halved[1]];

        // Richardson: what is left when the term in h² is gone.
        let correction = (at[1].numeric - at[0].numeric) / 3.0;
        let refined = self.refine(variable, direction, quotient.step, reference, at);
        if let (error, true) = self.error(&refined) {
            return Outcome::Agrees(error);
        }

        // Rounding errors that do not average out: three values that scatter about nothing.
        let scatter = (at.iter().map(|values| values.numeric))
            .fold(0.0, |scatter: f64, numeric| {
                scatter.max((numeric - first.numeric).abs())
            });
        if scatter <= 64.0 * at[2].rounding {
            let scattered = Values {
                rounding: at[2].rounding.max(4.0 * scatter),
                ..first
            };
            if let (error, true) = self.error(&scattered) {
                return Outcome::Agrees(error);
            }
        }

        if quotient.step > default_step {
            let better = self.quotient(variable, direction, default_step).values[reference];
            if self.error(&better).1 {
                return Outcome::StepTooLarge(Finding::StepTooLarge {
                    tensor: name.clone(),
                    step: quotient.step,
                    numeric: first.numeric,
                    better: better.numeric,
                    suggested: default_step,
                });
            }
        }

        let gaps = at.map(|values| (values.right - values.left).abs());
        let significant = 8.0 * (at[2].rounding + self.tolerance(&first));
        // What does not shrink with the step of a difference grows in its quotient: rounding in the
        // one-sided ones, a jump in all.
        let grows = |of: [f64; 3]| of[1] > 1.5 * of[0] && of[2] > 1.5 * of[1];
        if gaps[2] > significant && grows(gaps) || grows(at.map(|values| values.numeric.abs())) {
            return Outcome::Scatters(Finding::Scatters {
                tensor: name.clone(),
                step: quotient.step,
                numeric: at.map(|values| values.numeric),
                dtype: self.options.dtype,
            });
        }

        // The one-sided derivatives of a smooth function differ by h f'', which halves with h.
        let halves = |from: f64, to: f64| (0.4..=0.6).contains(&(to / from));
        if gaps[0] > significant && !(halves(gaps[0], gaps[1]) && halves(gaps[1], gaps[2])) {
            let sides = at.iter().flat_map(|values| [values.left, values.right]);
            let low = sides.clone().fold(f64::INFINITY, f64::min);
            let high = sides.fold(f64::NEG_INFINITY, f64::max);
            let allowed = self.tolerance(&at[2]);
            let between = (low - allowed..=high + allowed).contains(&first.analytic);
            match direction {
                // Any value between the one-sided derivatives is a subgradient.
                _ if between => return Outcome::Kink,
                // Several kinks on one direction may outweigh each other: the worst element decides.
                Direction::Dense(components) => {
                    let worst = self.locate(variable, components, quotient.step, reference);
                    return worst.map_or(Outcome::Kink, Outcome::Disagrees);
                }
                Direction::Element(_) => {}
            }
        }

        let shape = &self.function.variables[variable].shape;
        Outcome::Disagrees(Comparison {
            index: match direction {
                Direction::Element(i) => Some(index(*i, shape)),
                Direction::Dense(_) => None,
            },
            seed: self.references[reference].seed,
            step: quotient.step,
            analytic: first.analytic,
            numeric: first.numeric,
            numeric_half: at[1].numeric,
            error_estimate: correction.abs(),
            tolerance: self.tolerance(&first),
            relative_error: self.error(&first).0,
        })
    }

    /// The derivative by Richardson's extrapolation from a step and its half. Where their difference
    /// says that even it cannot be trusted to the tolerance, both are halved, as long as that helps;
    /// but not with a step that was asked for, which is judged as it is.
    fn refine(
        &self,
        variable: usize,
        direction: &Direction,
        step: f64,
        reference: usize,
        at: [Values; 3],
    ) -> Values {
        let [mut coarse, mut fine, mut finer] = at;
        let mut step = step / 4.0;
        for _ in 0..REFINEMENTS {
            let change = [fine.numeric - coarse.numeric, finer.numeric - fine.numeric];
            let [before, after] = change.map(|change| change.abs() / 3.0);
            let converges = after < 0.5 * before;
            if before <= self.tolerance(&fine) || !converges || self.options.step.is_some() {
                break;
            }
            step /= 2.0;
            (coarse, fine) = (fine, finer);
            finer = self.quotient(variable, direction, step).values[reference];
        }
        Values {
            numeric: fine.numeric + (fine.numeric - coarse.numeric) / 3.0,
            rounding: 2.0 * fine.rounding,
            ..fine
        }
    }

    /// The element whose gradient is worst, where a dense direction disagrees, by halving: of two
    /// halves, the one with the larger difference. `None` if that element alone is within the
    /// tolerance.
    pub(super) fn locate(
        &self,
        variable: usize,
        direction: &[f64],
        step: f64,
        reference: usize,
    ) -> Option<Comparison> {
        let mut range = 0..direction.len();
        while range.len() > 1 {
            let middle = range.start + range.len() / 2;
            let halves = [range.start..middle, middle..range.end];
            let differences = halves.clone().map(|half| {
                let mut restricted = vec![0.0; direction.len()];
                restricted[half.clone()].copy_from_slice(&direction[half]);
                let quotient = self.quotient(variable, &Direction::Dense(restricted), step);
                let values = quotient.values[reference];
                (values.analytic - values.numeric).abs()
            });
            let [first, second] = halves;
            range = if differences[0] >= differences[1] {
                first
            } else {
                second
            };
        }
        let element = Direction::Element(range.start);
        let quotient = self.quotient(variable, &element, step);
        match self.compare(variable, &element, step, &quotient, reference) {
            Outcome::Disagrees(comparison) => Some(comparison),
            _ => None,
        }
    }
}

pub(super) fn relative(error: f64, size: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / size }
}

/// Euclidean norm.
pub(super) fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Root of the mean square; 0 for no values.
fn rms(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    norm(values) / count.sqrt()
}

/// The position of a flat offset in row-major order.
pub(super) fn index(mut offset: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = offset % shape[axis];
        offset /= shape[axis];
    }
    index
}
