//! [`Search`]: differences along one direction with many steps, and how far each can be trusted.
//!
//! With `e(h)` the difference of numeric and analytic derivative, and `gap(h)` that of the
//! one-sided derivatives, the wobble of a step is
//!
//! ```text
//! w(h) = |e(h) - e(h/2)| + |2 gap(h/2) - gap(h)| / 2
//! ```
//!
//! | what disturbs the difference | its error with h/2 | the wobble |
//! |---|---|---|
//! | truncation, `c h²` | `c h² / 4` | `3 c h² / 4` |
//! | one kink, a slope that changes by `J` within the step | at most `J / 2` | at least that error |
//! | rounding, `r` in each output | about `r / h` | about `3 r / h` at random |
//!
//! So the wobble bounds the first two, and measures the third. Rounding is one random number at each
//! step, which may be small by chance; the wobbles of all smaller steps, times the ratio of the
//! steps, are further samples of it. The doubt of a step is [`SAFETY`] times the largest of these,
//! plus what rounding the visible outputs makes in any case.

use burn::tensor::DType;

use super::judge::{Kink, Outcome, relative};
use super::options::COARSEST;
use super::point::{Direction, Point, Quotient, Values, index, norm};
use super::{Comparison, Finding};

/// The doubt in units of the wobble. With four random samples of rounding, an error that is six times
/// the largest of them is as rare as one in a million.
const SAFETY: f64 = 6.0;

/// How many smaller steps sample the rounding errors of a step.
const SAMPLES: usize = 3;

/// The most steps on either side of the first one, each half of the last.
const STEPS: usize = 24;

/// A step of fewer epsilons of the argument than these moves it by some other amount.
const LEAST_EPSILONS: f64 = 16.0;

/// The largest step, in root mean squares of the argument.
const FARTHEST: f64 = 4.0;

/// Steps whose doubt is at most so many times the smallest one may overrule each other.
const COMPARABLE: f64 = 4.0;

/// Rounding that is so many times what the size of the outputs explains comes from a jump or from a
/// shorter data type. From f64 to f32 it is 2^29, from f32 to f16 2^13; right functions that
/// subtract nearly equal values lose less.
fn scatter_ratio(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 2f64.powi(10),
        _ => 2f64.powi(20),
    }
}

/// Differences with steps that are each half of the one before.
pub(super) struct Search<'a> {
    point: &'a Point<'a>,
    variable: usize,
    direction: &'a Direction,
    steps: Vec<Quotient>,
    /// The outputs that the direction reaches.
    reached: Vec<bool>,
    /// The step that was asked for, if any.
    asked: Option<Quotient>,
}

impl<'a> Search<'a> {
    /// Takes steps until one of them decides, or no further one would.
    pub(super) fn new(
        point: &'a Point<'a>,
        variable: usize,
        direction: &'a Direction,
        first: Quotient,
    ) -> Result<Self, Box<Finding>> {
        let mut search = Self {
            point,
            variable,
            direction,
            steps: vec![],
            reached: point.reached(variable, direction, &first),
            asked: None,
        };
        let mut step = first.step;
        if point.options.step.is_some() {
            step = point.default_step(variable, direction).step;
            search.asked = Some(first);
        } else if first.finite {
            search.steps.push(first);
        } else {
            search.steps.push(search.finite(first)?);
            step = search.steps[0].step;
        }
        while search.steps.len() < SAMPLES + 2 {
            let step = step / 2f64.powi(search.steps.len() as i32);
            search.steps.push(point.quotient(variable, direction, step));
        }
        search.run();
        Ok(search)
    }

    /// The largest of ever smaller steps at which the outputs are finite.
    fn finite(&self, first: Quotient) -> Result<Quotient, Box<Finding>> {
        let mut step = first.step;
        for _ in 0..STEPS {
            step /= 2.0;
            let quotient = self.point.quotient(self.variable, self.direction, step);
            if quotient.finite {
                return Ok(quotient);
            }
        }
        let name = &self.point.function.variables()[self.variable].name;
        Err(Box::new(Finding::NotFinite {
            tensor: format!("output with {name} {:.1e} away", first.step),
            index: vec![],
            value: first.values[0].numeric.to_string(),
        }))
    }

    fn run(&mut self) {
        let (mut larger, mut smaller) = (0, 0);
        loop {
            self.note_reached();
            let references = 0..self.point.references.len();
            let is_decided = |reference| {
                let (pair, doubt) = self.finest(reference);
                self.point.resolves(&self.values(pair, reference), doubt)
            };
            if references.clone().all(is_decided) {
                return;
            }
            let (best, _) = self.finest(0);
            let last = &self.steps[self.steps.len() - 1];
            let step = 2.0 * self.steps[0].step;
            if best == 0 && larger < STEPS && step <= self.largest_step() {
                let next = self.point.quotient(self.variable, self.direction, step);
                if next.finite {
                    self.steps.insert(0, next);
                    larger += 1;
                    continue;
                }
                larger = STEPS;
            }
            let fewest = best + SAMPLES + 2 > self.steps.len();
            if !fewest || smaller >= STEPS || last.step / 2.0 < self.least_step() {
                return;
            }
            let next = self
                .point
                .quotient(self.variable, self.direction, last.step / 2.0);
            self.steps.push(next);
            smaller += 1;
        }
    }

    /// The smallest step that the data type can take.
    fn least_step(&self) -> f64 {
        let x = &self.point.function.variables()[self.variable].values;
        let size = match self.direction {
            Direction::Element(i) => x[*i].abs(),
            Direction::Dense(_) => self.argument_size(),
        };
        LEAST_EPSILONS * self.point.options.epsilon() * size
    }

    /// The largest step to try. Far from the point, the outputs say nothing of it.
    fn largest_step(&self) -> f64 {
        let size = self.argument_size();
        if size > 0.0 { FARTHEST * size } else { 1.0 }
    }

    fn argument_size(&self) -> f64 {
        let x = &self.point.function.variables()[self.variable].values;
        norm(x.iter().copied()) / (x.len() as f64).sqrt()
    }

    fn note_reached(&mut self) {
        for quotient in &self.steps {
            for (reached, changed) in self.reached.iter_mut().zip(self.point.changed(quotient)) {
                *reached |= changed;
            }
        }
    }

    /// Whether any step changes any output.
    pub(super) fn responds(&self) -> bool {
        self.reached.contains(&true)
    }

    /// What the smaller step of a pair says.
    fn values(&self, pair: usize, reference: usize) -> Values {
        self.steps[pair + 1].values[reference]
    }

    /// The largest wobble of a pair of steps, over the size of the output gradient.
    fn wobble(&self, pair: usize) -> f64 {
        let of = |reference| {
            (self.moved(pair, reference) + self.bent(pair, reference) / 2.0) / self.scale(reference)
        };
        let references = 0..self.point.references.len();
        references.map(of).fold(0.0, f64::max)
    }

    /// By how much the derivative differs between the steps of a pair.
    fn moved(&self, pair: usize, reference: usize) -> f64 {
        let [coarse, fine] = [pair, pair + 1].map(|step| self.steps[step].values[reference]);
        (coarse.error() - fine.error()).abs()
    }

    /// By how much the change of the slope is not proportional to the step.
    fn bent(&self, pair: usize, reference: usize) -> f64 {
        let [coarse, fine] = [pair, pair + 1].map(|step| self.steps[step].values[reference]);
        (2.0 * fine.gap() - coarse.gap()).abs()
    }

    /// Whether truncation is all that disturbs a pair: it falls by four from pair to pair. Then the
    /// wobble is three times the error, and needs no safety.
    fn is_truncation(&self, pair: usize) -> bool {
        let falls = |reference| {
            let (moved, next) = (self.moved(pair, reference), self.moved(pair + 1, reference));
            (3.0 * next..=5.5 * next).contains(&moved) && self.bent(pair, reference) <= moved / 4.0
        };
        pair + 2 < self.steps.len() && (0..self.point.references.len()).all(falls)
    }

    /// The size of the output gradient.
    fn scale(&self, reference: usize) -> f64 {
        norm(self.point.references[reference].grad_output.iter().copied())
    }

    /// What rounding the outputs may do to the smaller step of a pair.
    fn rounding(&self, pair: usize, reference: usize) -> f64 {
        let fine = &self.steps[pair + 1];
        self.point
            .rounding(fine, |nth| self.reached[nth], reference)
    }

    /// How far the smaller step of a pair can be trusted.
    fn doubt(&self, pair: usize, reference: usize) -> f64 {
        let [coarse, fine] = [&self.steps[pair], &self.steps[pair + 1]];
        let error = fine.values[reference].error();
        let stands_still = !fine.changed && self.steps[..=pair].iter().any(|step| step.changed);
        if !fine.finite || !coarse.finite || (stands_still && error != 0.0) {
            return f64::INFINITY;
        }
        let wobble = (pair.saturating_sub(1)..self.steps.len() - 1)
            .map(|other| {
                let ratio = self.steps[other].step / coarse.step;
                let is_safe = other <= pair && self.is_truncation(pair);
                let safety = if is_safe { 1.0 } else { SAFETY };
                safety * ratio.min(ratio.recip()) * self.wobble(other)
            })
            .fold(0.0, f64::max);
        self.scale(reference) * wobble + self.rounding(pair, reference)
    }

    /// The pair of steps with the smallest doubt, and that doubt.
    fn finest(&self, reference: usize) -> (usize, f64) {
        (0..self.steps.len() - 1)
            .map(|pair| (pair, self.doubt(pair, reference)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .expect("there are at least two steps")
    }

    fn agrees(&self, values: &Values, doubt: f64) -> bool {
        values.error().abs() <= self.point.allowed(self.direction, values, doubt)
    }

    /// The verdict for one reference.
    pub(super) fn judge(&self, reference: usize) -> Outcome {
        let (finest, least) = self.finest(reference);
        let agreeing = (0..self.steps.len() - 1)
            .map(|pair| (pair, self.doubt(pair, reference)))
            .filter(|&(_, doubt)| doubt <= COMPARABLE * least)
            .filter(|&(pair, doubt)| self.agrees(&self.values(pair, reference), doubt))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        let (pair, doubt) = agreeing.unwrap_or((finest, least));
        let values = self.values(pair, reference);
        if self.point.resolves(&values, doubt) {
            return match agreeing {
                Some(_) => self.agree(&values, doubt),
                None => self.disagree(pair, doubt, reference),
            };
        }
        if self.rounding_scatters(pair, reference) {
            return Outcome::Unusable(self.scatters());
        }
        let kink = |at_point, step| {
            Outcome::Kink(Kink {
                at_point,
                hidden: relative(doubt, values.size()),
                step,
            })
        };
        let decides = doubt <= COARSEST * values.size();
        let matters = decides || !self.point.is_nothing(doubt);
        if matters && let Some((step, between)) = self.kink_at_point(pair, reference) {
            // Kinks in several elements of a direction may point to both sides.
            if !between && matches!(self.direction, Direction::Element(_)) {
                return self.disagree(pair, doubt, reference);
            }
            return kink(true, step);
        }
        if agreeing.is_none() {
            return self.disagree(pair, doubt, reference);
        }
        if matters && !decides && !self.is_noise(pair) {
            return kink(false, self.steps[pair].step);
        }
        self.agree(&values, doubt)
    }

    /// Whether rounding is what limits a pair: its wobble grows as the step falls.
    fn is_noise(&self, pair: usize) -> bool {
        let deep = (pair + 2..self.steps.len() - 1)
            .map(|other| self.steps[other].step / self.steps[pair].step * self.wobble(other))
            .fold(0.0, f64::max);
        let rounding = self.rounding(pair, 0) / self.scale(0) / SAFETY;
        2.0 * deep.max(rounding) >= self.wobble(pair)
    }

    /// Whether the differences run away from each other as the step falls, and rounding of the
    /// outputs does not explain it.
    fn rounding_scatters(&self, pair: usize, reference: usize) -> bool {
        let last = self.steps.len() - 2;
        let explained = self.rounding(last, reference) / self.scale(reference);
        // Kinks disturb all steps about alike. Rounding grows by eight with three halvings.
        let grows = self.wobble(last).max(self.wobble(last - 1)) > 4.0 * self.wobble(pair);
        self.is_noise(pair)
            && grows
            && self.wobble(last) > scatter_ratio(self.point.options.dtype) * explained
    }

    /// The step at which the slope changes at the point itself, and whether the gradient lies
    /// between the one-sided derivatives. The smallest steps that rounding leaves a slope decide.
    fn kink_at_point(&self, pair: usize, reference: usize) -> Option<(f64, bool)> {
        /// The slope's change may itself change by so much from step to step: half for a smooth
        /// function, nothing at a kink.
        const STEADY: f64 = 0.1;
        let is_clear = |&pair: &usize| {
            let gap = self.steps[pair + 1].values[reference].gap();
            gap.abs() > SAFETY * self.rounding(pair, reference)
        };
        let pair = (pair..self.steps.len() - 1).rev().find(is_clear)?;
        let fine = self.steps[pair + 1].values[reference];
        let gap = |step: &Quotient| step.values[reference].gap();
        let is_steady = |step| (gap(step) - fine.gap()).abs() <= STEADY * fine.gap().abs();
        let first = (pair + 2).saturating_sub(SAMPLES);
        if !self.steps[first..=pair].iter().all(is_steady) {
            return None;
        }
        let rounding = self.rounding(pair, reference);
        let allowed = self.point.allowed(self.direction, &fine, rounding);
        let between = fine.low <= allowed && -allowed <= fine.high;
        Some((self.steps[pair].step, between))
    }

    fn agree(&self, values: &Values, doubt: f64) -> Outcome {
        let agreement = self.point.agreement(self.direction, values, doubt);
        let Some(asked) = &self.asked else {
            return Outcome::Agrees(agreement);
        };
        // The gradient is right, and the step that was asked for does not show it.
        let tensor = self.point.function.variables()[self.variable].name.clone();
        let suggested = self.steps[0].step;
        Outcome::Unusable(if asked.step > suggested {
            Finding::StepTooLarge {
                tensor,
                step: asked.step,
                numeric: asked.values[0].numeric,
                better: values.numeric,
                suggested,
            }
        } else {
            Finding::StepTooSmall {
                tensor,
                step: asked.step,
                at_least: suggested,
                dtype: self.point.options.dtype,
            }
        })
    }

    fn disagree(&self, pair: usize, doubt: f64, reference: usize) -> Outcome {
        let [coarse, fine] = [pair, pair + 1].map(|step| self.steps[step].values[reference]);
        let shape = &self.point.function.variables()[self.variable].shape;
        Outcome::Disagrees(Comparison {
            index: match self.direction {
                Direction::Element(i) => Some(index(*i, shape)),
                Direction::Dense(_) => None,
            },
            seed: self.point.references[reference].seed,
            step: self.steps[pair].step,
            analytic: coarse.analytic,
            numeric: coarse.numeric,
            numeric_half: fine.numeric,
            error_estimate: (fine.numeric - coarse.numeric).abs() / 3.0,
            tolerance: self.point.allowed(self.direction, &fine, doubt),
            relative_error: relative(fine.error().abs(), fine.size()),
        })
    }

    fn scatters(&self) -> Finding {
        let last = self.steps.len() - 3;
        Finding::Scatters {
            tensor: self.point.function.variables()[self.variable].name.clone(),
            step: self.steps[last].step,
            numeric: [0, 1, 2].map(|nth| self.steps[last + nth].values[0].numeric),
            dtype: self.point.options.dtype,
        }
    }
}
