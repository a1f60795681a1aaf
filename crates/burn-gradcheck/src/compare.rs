//! The gradient of each tensor against differences: along which directions, and what comes of it.

use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};

use super::differences::{Differences, Direction, Step, index};
use super::explain::Outcome;
use super::function::{Gradient, Variable};
use super::preparation::{Check, draw};
use super::{Arguments, Comparison, Finding, Mode, Outputs, Progress, TensorReport, Verdict};

/// How often a random direction that crosses a kink is drawn again.
const REDRAWS: usize = 4;

/// What the comparisons of one tensor have shown so far.
#[derive(Default)]
struct Seen {
    compared: usize,
    kinks: usize,
    largest_error: f64,
    at: Option<Vec<usize>>,
    wrong: usize,
    worst: Option<Comparison>,
    /// Whether the output depends on the tensor.
    responds: bool,
    step_too_large: Option<Finding>,
    not_finite: Option<Finding>,
    scatters: Option<Finding>,
}

impl Check<'_> {
    /// Compares the gradient of each tensor.
    pub(super) fn compare_all<A: Arguments, O: Outputs, F: Fn(A::Values) -> O>(
        &mut self,
        differences: &Differences<'_, A, F>,
    ) {
        let variables = &differences.function.variables;
        let checked: Vec<_> = (0..variables.len())
            .filter(|&variable| variables[variable].checked)
            .collect();
        let directions: Vec<_> = checked
            .iter()
            .map(|&variable| self.directions(&variables[variable], variable))
            .collect();
        let total = directions.iter().map(Vec::len).sum();
        let (options, began) = (self.options, self.began);
        let mut done = 0;
        for (variable, directions) in checked.into_iter().zip(directions) {
            let name = &variables[variable].name;
            self.compare(differences, variable, &directions, || {
                done += 1;
                if let Some(progress) = &options.progress {
                    progress(&Progress {
                        tensor: name.clone(),
                        done,
                        total,
                        elapsed: began.elapsed(),
                    });
                }
            });
        }
        self.count_passes(&differences.function);
    }

    /// The directions through a tensor that the mode asks for.
    fn directions(&self, tensor: &Variable, variable: usize) -> Vec<Direction> {
        let count = tensor.values.len();
        match self.options.mode {
            Mode::EveryElement => (0..count).map(Direction::Element).collect(),
            Mode::Sampled(samples) => {
                let rng = &mut self.rng(0, variable, 0);
                let mut elements = sample(rng, count, samples.min(count)).into_vec();
                elements.sort_unstable();
                elements.into_iter().map(Direction::Element).collect()
            }
            Mode::Projections if count == 0 => vec![],
            Mode::Projections => (0..self.options.seeds.len())
                .map(|nth| Direction::Dense(draw(&mut self.rng(nth, variable, 0), count)))
                .collect(),
        }
    }

    /// A generator for one tensor and attempt, from the `nth` seed.
    pub(super) fn rng(&self, nth: usize, variable: usize, attempt: usize) -> StdRng {
        let mut rng = StdRng::seed_from_u64(self.options.seeds[nth]);
        let salt = [variable, attempt].map(|part| part as u64 + 1);
        StdRng::seed_from_u64(salt.iter().fold(0, |seed, part| {
            seed ^ rng.random::<u64>().wrapping_mul(*part)
        }))
    }

    /// Compares the gradient of one tensor along each direction with each output gradient.
    fn compare<A: Arguments, O: Outputs, F: Fn(A::Values) -> O>(
        &mut self,
        differences: &Differences<'_, A, F>,
        variable: usize,
        directions: &[Direction],
        mut on_progress: impl FnMut(),
    ) {
        let tensor = &differences.function.variables[variable];
        let gradient = differences.references[0].gradients[variable].as_ref();
        let unusable = |gradient: &Gradient| {
            gradient.shape != tensor.shape
                || gradient.dtype != self.options.dtype
                || gradient.values.iter().any(|value| !value.is_finite())
        };
        let mut seen = Seen::default();
        let (mut step, mut verdict) = (None, Verdict::Fails);
        if !gradient.is_some_and(unusable)
            && let Some(along) = directions.first()
        {
            let along = match along {
                // The element to which the output is most sensitive, as the gradient has it.
                Direction::Element(_) => Direction::Element(largest(gradient)),
                Direction::Dense(_) => along.clone(),
            };
            let default = differences.default_step(variable, &along);
            match self.step(&tensor.name, default) {
                Ok(chosen) => {
                    step = Some(chosen);
                    for (nth, direction) in directions.iter().enumerate() {
                        let steps = (chosen, default.step);
                        self.compare_along(differences, variable, direction, nth, steps, &mut seen);
                        on_progress();
                    }
                    verdict = self.conclude(tensor, gradient.is_some(), &mut seen);
                }
                Err(finding) => self.findings.push(*finding),
            }
        } else if directions.is_empty() {
            verdict = Verdict::Unused;
        }
        self.report.tensors.push(TensorReport {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            step,
            compared: seen.compared,
            kinks: seen.kinks,
            largest_error: seen.largest_error,
            at: seen.at,
            verdict,
        });
    }

    /// The step asked for, or the default one.
    fn step(&self, tensor: &str, default: Step) -> Result<f64, Box<Finding>> {
        let Some(step) = self.options.step else {
            return Ok(default.step);
        };
        // Rounding makes a relative error of eps / response.
        let response = default.response * step / default.step;
        let enough = self.options.epsilon() / self.options.relative_tolerance();
        if response < enough && default.response > 0.0 {
            return Err(Box::new(Finding::StepTooSmall {
                tensor: tensor.to_string(),
                step,
                at_least: default.step * enough / default.response,
                dtype: self.options.dtype,
            }));
        }
        Ok(step)
    }

    /// Compares along one direction, the `nth` of the tensor. A random one that crosses a kink is
    /// drawn again, with a smaller step.
    fn compare_along<A: Arguments, O: Outputs, F: Fn(A::Values) -> O>(
        &self,
        differences: &Differences<'_, A, F>,
        variable: usize,
        direction: &Direction,
        nth: usize,
        (step, default_step): (f64, f64),
        seen: &mut Seen,
    ) {
        let mut direction = direction.clone();
        let mut step = step;
        for attempt in 1.. {
            let quotient = differences.quotient(variable, &direction, step);
            seen.responds |= quotient.responds;
            let mut kink = false;
            for reference in 0..differences.references.len() {
                let outcome =
                    differences.compare(variable, &direction, default_step, &quotient, reference);
                match outcome {
                    Outcome::Kink => kink = true,
                    outcome => {
                        seen.compared += 1;
                        self.take(differences, variable, &direction, reference, outcome, seen);
                    }
                }
            }
            let Direction::Dense(components) = &direction else {
                seen.kinks += usize::from(kink);
                return;
            };
            if !kink {
                return;
            }
            seen.kinks += 1;
            if attempt > REDRAWS {
                return;
            }
            let rng = &mut self.rng(nth, variable, attempt);
            direction = Direction::Dense(draw(rng, components.len()));
            step /= 2.0;
        }
    }

    /// Takes down what a comparison came to.
    fn take<A: Arguments, O: Outputs, F: Fn(A::Values) -> O>(
        &self,
        differences: &Differences<'_, A, F>,
        variable: usize,
        direction: &Direction,
        reference: usize,
        outcome: Outcome,
        seen: &mut Seen,
    ) {
        let tensor = &differences.function.variables[variable];
        match outcome {
            Outcome::Kink => {}
            Outcome::Agrees(error) => {
                if error >= seen.largest_error {
                    seen.largest_error = error;
                    if let Direction::Element(element) = direction {
                        seen.at = Some(index(*element, &tensor.shape));
                    }
                }
            }
            Outcome::StepTooLarge(finding) => {
                seen.step_too_large.get_or_insert(finding);
            }
            Outcome::NotFinite(finding) => {
                seen.not_finite.get_or_insert(finding);
            }
            Outcome::Scatters(finding) => {
                seen.scatters.get_or_insert(finding);
            }
            Outcome::Disagrees(comparison) => {
                seen.wrong += 1;
                let error = comparison.relative_error;
                seen.largest_error = seen.largest_error.max(error);
                let worse = (seen.worst.as_ref()).is_none_or(|worst| error > worst.relative_error);
                let worst = match direction {
                    Direction::Element(_) if worse => comparison,
                    // Looked for once only: it takes some passes.
                    Direction::Dense(components) if seen.worst.is_none() => differences
                        .locate(variable, components, comparison.step, reference)
                        .unwrap_or(comparison),
                    _ => return,
                };
                seen.at = worst.index.clone();
                seen.worst = Some(worst);
            }
        }
    }

    /// The verdict on a tensor.
    fn conclude(&mut self, tensor: &Variable, has_gradient: bool, seen: &mut Seen) -> Verdict {
        let name = tensor.name.clone();
        let finding = if let Some(finding) = seen.not_finite.take().or(seen.scatters.take()) {
            finding
        } else if let Some(worst) = seen.worst.take() {
            match (has_gradient, seen.responds) {
                (false, _) => Finding::MissingGradient {
                    tensor: name,
                    worst,
                },
                (true, false) => Finding::UnexpectedGradient {
                    tensor: name,
                    worst,
                },
                (true, true) => Finding::WrongGradient {
                    tensor: name,
                    worst,
                    wrong: seen.wrong,
                    compared: seen.compared,
                },
            }
        } else if let Some(finding) = seen.step_too_large.take() {
            finding
        } else if seen.compared == 0 {
            Finding::OnlyKinks {
                tensor: name,
                kinks: seen.kinks,
            }
        } else {
            return match seen.responds {
                true => Verdict::Agrees,
                false => Verdict::Unused,
            };
        };
        self.findings.push(finding);
        Verdict::Fails
    }
}

/// The element with the largest gradient; the first one if there is no gradient.
fn largest(gradient: Option<&Gradient>) -> usize {
    let values = gradient.map_or(&[][..], |gradient| &gradient.values);
    let largest = (values.iter().enumerate()).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    largest.map_or(0, |(element, _)| element)
}
