//! The gradient of each tensor against differences: along which directions, and what comes of it.

use rand::seq::index::sample;

use super::judge::Outcome;
use super::point::{Direction, Point, Step, index};
use super::preparation::Check;
use super::random::{components, generator};
use super::seen::Seen;
use super::{Finding, Mode, Progress, TensorReport, Verdict};

impl Check<'_> {
    /// Compares the gradient of each tensor.
    pub(super) fn compare_all(&mut self, point: &Point) {
        let variables = point.function.variables();
        let checked: Vec<_> = (0..variables.len())
            .filter(|&variable| variables[variable].checked)
            .collect();
        let directions: Vec<_> = checked
            .iter()
            .map(|&variable| self.directions(variable, variables[variable].values.len()))
            .collect();
        let total = directions.iter().map(Vec::len).sum();
        let (options, began) = (self.options, self.began);
        let mut done = 0;
        for (variable, directions) in checked.into_iter().zip(directions) {
            self.compare(point, variable, &directions, &mut || {
                done += 1;
                if let Some(progress) = &options.progress {
                    progress(&Progress {
                        tensor: variables[variable].name.clone(),
                        done,
                        total,
                        elapsed: began.elapsed(),
                    });
                }
            });
        }
        self.count_passes(point.function);
    }

    /// The directions through a tensor that the mode asks for.
    fn directions(&self, variable: usize, count: usize) -> Vec<Direction> {
        match self.options.mode {
            Mode::EveryElement => (0..count).map(Direction::Element).collect(),
            Mode::Sampled(samples) => self.sampled(variable, count, samples),
            Mode::Projections if count == 0 => vec![],
            Mode::Projections => (0..self.options.seeds.len())
                .map(|nth| self.random_direction(variable, count, nth, 0))
                .collect(),
        }
    }

    pub(super) fn sampled(&self, variable: usize, count: usize, samples: usize) -> Vec<Direction> {
        let rng = &mut generator(self.options.seeds[0], variable, 0);
        let mut elements = sample(rng, count, samples.min(count)).into_vec();
        elements.sort_unstable();
        elements.into_iter().map(Direction::Element).collect()
    }

    pub(super) fn random_direction(
        &self,
        variable: usize,
        count: usize,
        nth_seed: usize,
        attempt: usize,
    ) -> Direction {
        let rng = &mut generator(self.options.seeds[nth_seed], variable, attempt);
        Direction::Dense(components(rng, count))
    }

    /// Compares the gradient of one tensor along each direction with each output gradient.
    fn compare(
        &mut self,
        point: &Point,
        variable: usize,
        directions: &[Direction],
        on_progress: &mut dyn FnMut(),
    ) {
        let mut seen = Seen::default();
        let (mut step, mut verdict) = (None, Verdict::Fails);
        if directions.is_empty() {
            verdict = Verdict::Unused;
        } else if self.is_usable(point, variable) {
            match self.step(point, variable, &directions[0]) {
                Ok(chosen) => {
                    step = Some(chosen);
                    for (nth, direction) in directions.iter().enumerate() {
                        if let Direction::Element(element) = direction {
                            compare_element(point, variable, *element, chosen, &mut seen);
                        } else {
                            self.compare_dense(point, variable, nth, chosen, &mut seen);
                        }
                        on_progress();
                    }
                    self.compare_elements_instead(point, variable, chosen, &mut seen);
                    verdict = match seen.conclude(point, variable) {
                        Ok(verdict) => verdict,
                        Err(finding) => {
                            self.findings.push(*finding);
                            Verdict::Fails
                        }
                    };
                }
                Err(finding) => self.findings.push(*finding),
            }
        }
        let tensor = &point.function.variables()[variable];
        self.report.tensors.push(TensorReport {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            step,
            compared: seen.compared,
            kinks: seen.kinks,
            largest_error: seen.largest_error,
            at: seen.at,
            resolution: seen.resolution,
            unresolved: seen.unresolved,
            verdict,
        });
    }

    /// Whether the gradient is one that differences can be compared with. If not, there is a finding
    /// already.
    fn is_usable(&self, point: &Point, variable: usize) -> bool {
        let tensor = &point.function.variables()[variable];
        (point.references[0].gradients[variable].as_ref()).is_none_or(|gradient| {
            gradient.shape == tensor.shape
                && gradient.dtype == self.options.dtype
                && gradient.values.iter().all(|value| value.is_finite())
        })
    }

    /// The step asked for, or the default one along the element with the largest gradient, or along
    /// a random direction.
    fn step(&self, point: &Point, variable: usize, along: &Direction) -> Result<f64, Box<Finding>> {
        let tensor = &point.function.variables()[variable];
        let along = match (along, &point.references[0].gradients[variable]) {
            (Direction::Dense(_), _) => along.clone(),
            (Direction::Element(_), Some(gradient)) => {
                Direction::Element(largest(&gradient.values))
            }
            (Direction::Element(_), None) => {
                self.random_direction(variable, tensor.values.len(), 0, 0)
            }
        };
        let Step {
            step: default,
            response,
        } = point.default_step(variable, &along);
        let Some(step) = self.options.step else {
            return Ok(default);
        };
        // Rounding makes a relative error of eps / response.
        let enough = self.options.epsilon() / self.options.relative_tolerance();
        if response > 0.0 && response * step / default < enough {
            return Err(Box::new(Finding::StepTooSmall {
                tensor: tensor.name.clone(),
                step,
                at_least: default * enough / response,
                dtype: self.options.dtype,
            }));
        }
        Ok(step)
    }
}

/// Compares along one element with each output gradient.
pub(super) fn compare_element(
    point: &Point,
    variable: usize,
    element: usize,
    step: f64,
    seen: &mut Seen,
) {
    let shape = &point.function.variables()[variable].shape;
    let judged = point.judge(variable, &Direction::Element(element), step);
    seen.responds |= judged.responds;
    let mut kink = false;
    for outcome in judged.outcomes {
        match outcome {
            Outcome::Kink(_) => kink = true,
            Outcome::Agrees(agreement) => {
                seen.agree(&agreement, Some(index(element, shape)));
                seen.unresolved += usize::from(agreement.too_small);
            }
            Outcome::Unusable(finding) => seen.cannot_use(finding),
            Outcome::Disagrees(comparison) => seen.disagree(comparison),
        }
    }
    seen.kinks += usize::from(kink);
}

/// The element with the largest value.
fn largest(values: &[f64]) -> usize {
    let largest = (values.iter().enumerate()).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    largest.map_or(0, |(element, _)| element)
}
