//! The function at the point of the check: its outputs, its gradients, and differences along a
//! direction.

use super::GradcheckOptions;
use super::function::{Checked, Gradient, Output};

/// A direction `v` through one variable.
#[derive(Clone, Debug)]
pub(super) enum Direction {
    /// Along one element.
    Element(usize),
    /// Through many elements; as long as the variable.
    Dense(Vec<f64>),
}

impl Direction {
    fn norm(&self) -> f64 {
        match self {
            Direction::Element(_) => 1.0,
            Direction::Dense(v) => norm(v.iter().copied()),
        }
    }

    /// Whether no element is left in it.
    pub(super) fn is_zero(&self) -> bool {
        self.entries().is_empty()
    }

    fn entries(&self) -> Vec<(usize, f64)> {
        match self {
            Direction::Element(i) => vec![(*i, 1.0)],
            Direction::Dense(v) => {
                let entries = v.iter().copied().enumerate();
                entries.filter(|&(_, v)| v != 0.0).collect()
            }
        }
    }
}

/// A forward and backward pass with the output gradient `u` of one seed.
pub(super) struct Reference {
    pub(super) seed: u64,
    pub(super) grad_output: Vec<f64>,
    pub(super) gradients: Vec<Option<Gradient>>,
    /// The root mean square of each gradient.
    pub(super) typical: Vec<f64>,
}

impl Reference {
    pub(super) fn new(seed: u64, grad_output: Vec<f64>, gradients: Vec<Option<Gradient>>) -> Self {
        let size = |gradient: &Gradient| rms(gradient.values.iter().copied());
        Self {
            seed,
            grad_output,
            typical: gradients
                .iter()
                .map(|gradient| gradient.as_ref().map_or(0.0, size))
                .collect(),
            gradients,
        }
    }
}

/// Outputs at `x - h v` and `x + h v`, and the derivatives along `v` that follow from them.
pub(super) struct Quotient {
    pub(super) step: f64,
    left: Vec<f64>,
    right: Vec<f64>,
    /// Whether any output differs from that at `x`.
    pub(super) changed: bool,
    pub(super) finite: bool,
    /// One for each reference.
    pub(super) values: Vec<Values>,
}

/// Derivatives of `<u, f(x)>` along a direction, with the `u` of one reference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    pub(super) analytic: f64,
    pub(super) numeric: f64,
    /// The one-sided differences, less the analytic derivative.
    pub(super) left: f64,
    pub(super) right: f64,
    /// The smallest and the largest derivative that lies between the one-sided differences of each
    /// output, less the analytic one.
    pub(super) low: f64,
    pub(super) high: f64,
    /// The size of such a derivative, if the values of the gradient had random signs.
    pub(super) typical: f64,
}

impl Values {
    /// The difference of numeric and analytic derivative.
    pub(super) fn error(&self) -> f64 {
        self.numeric - self.analytic
    }

    /// The size of the derivative itself.
    pub(super) fn own(&self) -> f64 {
        self.analytic.abs().max(self.numeric.abs())
    }

    /// What relative errors are relative to. Where all of the gradient is zero, as that of an even
    /// function at zero, it is the slope beside the point.
    pub(super) fn size(&self) -> f64 {
        if self.typical > 0.0 {
            self.own().max(self.typical)
        } else {
            self.own().max(self.left.abs()).max(self.right.abs())
        }
    }

    /// How much the slope changes at the point.
    pub(super) fn gap(&self) -> f64 {
        self.right - self.left
    }
}

/// The default step for one tensor, and what it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) step: f64,
    /// By how much of their size the outputs that it reaches change.
    pub(super) response: f64,
}

/// The rounding error of an output, in units of half an epsilon of its size: that of its last
/// operation and as much from those before. Where more is lost, the judge measures it.
const ROUNDINGS: f64 = 4.0;

/// How far the step may be from that for outputs which change as much as their arguments.
const STEP_RANGE: f64 = 1e3;

/// A tensor whose change does not show in the outputs gets ever larger steps, each by this factor.
const PROBE_FACTOR: f64 = 16.0;
const PROBES: usize = 6;

/// The function at the point of the check.
pub(super) struct Point<'a> {
    pub(super) function: &'a dyn Checked,
    pub(super) options: &'a GradcheckOptions,
    /// `f(x)`
    pub(super) output: Output,
    pub(super) references: Vec<Reference>,
}

impl Point<'_> {
    /// `f(x ± h v)` beside the gradients.
    pub(super) fn quotient(&self, variable: usize, direction: &Direction, step: f64) -> Quotient {
        let x = &self.function.variables()[variable].values;
        // The steps as the data type can take them: both sides of a comparison use these.
        let moved: Vec<_> = (direction.entries().into_iter())
            .map(|(i, v)| {
                let [left, right] = [-step, step].map(|h| self.options.round(x[i] + h * v));
                (i, left, right)
            })
            .collect();
        let mut at = x.clone();
        moved.iter().for_each(|&(i, left, _)| at[i] = left);
        let left = self.output_at(variable, &at);
        moved.iter().for_each(|&(i, _, right)| at[i] = right);
        let right = self.output_at(variable, &at);

        let center = &self.output.values;
        let values = self.references.iter().map(|reference| {
            let [mut to_left, mut to_right, mut low, mut high] = [0.0; 4];
            for (nth, u) in reference.grad_output.iter().enumerate() {
                let before = u * (center[nth] - left[nth]);
                let after = u * (right[nth] - center[nth]);
                to_left += before;
                to_right += after;
                low += before.min(after);
                high += before.max(after);
            }
            let [mut left_analytic, mut right_analytic] = [0.0; 2];
            if let Some(gradient) = &reference.gradients[variable] {
                for &(i, left, right) in &moved {
                    left_analytic += gradient.values[i] * (x[i] - left);
                    right_analytic += gradient.values[i] * (right - x[i]);
                }
            }
            let analytic = (left_analytic + right_analytic) / 2.0;
            Values {
                analytic: analytic / step,
                numeric: (to_left + to_right) / (2.0 * step),
                left: (to_left - left_analytic) / step,
                right: (to_right - right_analytic) / step,
                low: (low - analytic) / step,
                high: (high - analytic) / step,
                typical: reference.typical[variable] * direction.norm(),
            }
        });
        Quotient {
            step,
            changed: left != *center || right != *center,
            finite: left.iter().chain(&right).all(|value| value.is_finite()),
            values: values.collect(),
            left,
            right,
        }
    }

    /// The outputs that a quotient changes.
    pub(super) fn changed(&self, quotient: &Quotient) -> Vec<bool> {
        let sides = quotient.left.iter().zip(&quotient.right);
        (self.output.values.iter().zip(sides))
            .map(|(center, (left, right))| left != center || right != center)
            .collect()
    }

    /// What rounding those outputs may do to the numeric derivative with one reference.
    pub(super) fn rounding(
        &self,
        quotient: &Quotient,
        reached: impl Fn(usize) -> bool,
        reference: usize,
    ) -> f64 {
        let grad_output = &self.references[reference].grad_output;
        let sizes = (0..grad_output.len())
            .filter(|&nth| reached(nth))
            .map(|nth| {
                let values = [
                    quotient.left[nth],
                    self.output.values[nth],
                    quotient.right[nth],
                ];
                let size = values.map(f64::abs).into_iter().fold(0.0, f64::max);
                grad_output[nth] * size
            });
        ROUNDINGS * self.options.epsilon() / 2.0 * norm(sizes) / quotient.step
    }

    fn output_at(&self, variable: usize, values: &[f64]) -> Vec<f64> {
        let output = self.function.forward_at(variable, values).values;
        let (got, expected) = (output.len(), self.output.values.len());
        assert_eq!(
            got, expected,
            "gradcheck: the function must return as many values wherever its arguments are"
        );
        output
    }

    /// The step along a direction that changes the outputs which it reaches by the cube root of
    /// epsilon, from one trial. If nothing changes, larger trials look for a step that does.
    pub(super) fn default_step(&self, variable: usize, direction: &Direction) -> Step {
        let x = &self.function.variables()[variable].values;
        let target = self.options.epsilon().cbrt();
        let size = rms(x.iter().copied());
        let trial = if size > 0.0 { target * size } else { target };
        let response = self.response(variable, direction, trial);
        if response.is_normal() {
            let factor = (target / response).clamp(STEP_RANGE.recip(), STEP_RANGE);
            return Step {
                step: trial * factor,
                response: response * factor,
            };
        }
        let mut step = trial;
        if response == 0.0
            && let Some(reaching) = self.reaching_step(variable, direction, trial)
        {
            step = reaching;
        }
        Step {
            step,
            response: 0.0,
        }
    }

    /// A step that changes an output, where a smaller one does not. `None` if the outputs do not
    /// depend on the variable.
    fn reaching_step(&self, variable: usize, direction: &Direction, step: f64) -> Option<f64> {
        let mut larger = (1..=PROBES).map(|nth| step * PROBE_FACTOR.powi(nth as i32));
        larger.find(|&step| self.response(variable, direction, step) != 0.0)
    }

    /// The outputs that a variable reaches along a direction. A small step may not change a large
    /// output, whose rounding counts all the same, so larger steps look for it.
    pub(super) fn reached(
        &self,
        variable: usize,
        direction: &Direction,
        quotient: &Quotient,
    ) -> Vec<bool> {
        let mut reached = self.changed(quotient);
        for nth in [PROBES / 3, 2 * PROBES / 3, PROBES] {
            let step = quotient.step * PROBE_FACTOR.powi(nth as i32);
            let moved = self.moved(variable, direction, step);
            for (nth, moved) in moved.iter().enumerate() {
                reached[nth] |= *moved != self.output.values[nth];
            }
        }
        reached
    }

    /// The outputs at `x + h v`.
    fn moved(&self, variable: usize, direction: &Direction, step: f64) -> Vec<f64> {
        let mut values = self.function.variables()[variable].values.clone();
        for (i, v) in direction.entries() {
            values[i] = self.options.round(values[i] + step * v);
        }
        self.output_at(variable, &values)
    }

    /// By how much of their size a step changes the outputs that it reaches.
    fn response(&self, variable: usize, direction: &Direction, step: f64) -> f64 {
        let moved = self.moved(variable, direction, step);
        let changed = (self.output.values.iter().zip(&moved)).filter(|(from, to)| from != to);
        let change = norm(changed.clone().map(|(from, to)| to - from));
        let size = norm(changed.map(|(from, _)| *from));
        if change == 0.0 { 0.0 } else { change / size }
    }
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
