//! A gradient against a difference quotient, and why they disagree if they do: truncation, rounding,
//! kinks, unsuitable steps, or a gradient that is wrong.

use super::arguments::{Arguments, Outputs};
use super::differences::{Differences, Direction, Quotient, Values, index};
use super::{Comparison, Finding};

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

/// How often a step is halved at most, beyond the first two times.
const REFINEMENTS: usize = 5;

impl<A: Arguments, O: Outputs, F: Fn(A::Values) -> O> Differences<'_, A, F> {
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
