//! Difference quotients of the function along one direction, and what the gradient says there.

use super::GradcheckOptions;
use super::arguments::{Arguments, Outputs};
use super::function::{Function, Gradient, Output};

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
    pub(super) step: f64,
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
    pub(super) left: f64,
    pub(super) right: f64,
    /// What rounding the outputs may do to `numeric`.
    pub(super) rounding: f64,
    /// The size of such a derivative, if the gradient's values had random signs.
    pub(super) typical: f64,
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
    pub(super) fn size(&self, values: &Values) -> f64 {
        (values.analytic.abs())
            .max(values.numeric.abs())
            .max(values.typical)
            .max(values.rounding / self.options.relative_tolerance())
    }

    pub(super) fn tolerance(&self, values: &Values) -> f64 {
        self.options.absolute_tolerance + self.options.relative_tolerance() * self.size(values)
    }

    /// The relative error, and whether it is allowed.
    pub(super) fn error(&self, values: &Values) -> (f64, bool) {
        let error = (values.analytic - values.numeric).abs();
        let allowed = error <= self.tolerance(values);
        (relative(error, self.size(values)), allowed)
    }
}

fn relative(error: f64, size: f64) -> f64 {
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
