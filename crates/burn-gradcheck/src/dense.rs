//! Random directions through all elements of a tensor. They may cross kinks, where there is no
//! derivative to compare with.

use super::compare::compare_element;
use super::judge::{Judged, Outcome};
use super::point::{Direction, Point};
use super::preparation::Check;
use super::seen::Seen;
use super::{Comparison, Mode};

/// How often a random direction that crosses kinks is replaced by another one.
const REPLACEMENTS: usize = 4;

/// Where the random directions decide nothing, so many elements are compared by themselves.
const ELEMENTS: usize = 16;

impl Check<'_> {
    /// Compares along the random direction of the `nth` seed. A direction that crosses kinks beside
    /// the point is replaced by another one, with a smaller step. So is one that disagrees although
    /// its worst element does not; only if the next one disagrees too, the gradient is wrong.
    pub(super) fn compare_dense(
        &self,
        point: &Point,
        variable: usize,
        nth: usize,
        step: f64,
        seen: &mut Seen,
    ) {
        let count = point.function.variables()[variable].values.len();
        let mut step = step;
        let mut unexplained: Option<Comparison> = None;
        for attempt in 0..=REPLACEMENTS {
            let mut direction = self.random_direction(variable, count, nth, attempt);
            let judged = judge_off_kinks(point, variable, &mut direction, step, seen);
            if direction.is_zero() {
                return;
            }
            let before = unexplained.take();
            let mut crosses_kinks = false;
            for (reference, outcome) in judged.outcomes.into_iter().enumerate() {
                match outcome {
                    Outcome::Kink(kink) => {
                        crosses_kinks = true;
                        seen.hide(&kink);
                    }
                    Outcome::Disagrees(comparison) if seen.worst.is_none() => {
                        let worst = point.locate(variable, &direction, comparison.step, reference);
                        if let Some(worst) = worst {
                            seen.disagree(worst);
                        } else if before.is_some() {
                            seen.disagree(comparison);
                        } else {
                            unexplained = Some(comparison);
                        }
                    }
                    // The worst element is known, and looking for it takes some passes.
                    Outcome::Disagrees(comparison) => seen.disagree_again(&comparison),
                    Outcome::Agrees(agreement) => seen.agree(&agreement, None),
                    Outcome::Unusable(finding) => seen.cannot_use(finding),
                }
            }
            if !crosses_kinks && unexplained.is_none() {
                return;
            }
            seen.kinks += 1;
            step /= 2.0;
        }
        if let Some(comparison) = unexplained {
            seen.leave_open(&comparison);
        }
    }

    /// Where kinks or rounding leave the random directions undecided, single elements are compared:
    /// they cross fewer kinks. The resolution stays that of the directions.
    pub(super) fn compare_elements_instead(
        &self,
        point: &Point,
        variable: usize,
        step: f64,
        seen: &mut Seen,
    ) {
        let is_undecided = seen.undecided > 0 || seen.compared == 0;
        if self.options.mode != Mode::Projections || !is_undecided || seen.worst.is_some() {
            return;
        }
        let count = point.function.variables()[variable].values.len();
        (seen.undecided, seen.compared_before) = (0, seen.compared);
        for direction in self.sampled(variable, count, ELEMENTS) {
            if let Direction::Element(element) = direction {
                compare_element(point, variable, element, step, seen);
            }
        }
        seen.coarse = true;
        seen.resolution = seen.resolution.max(seen.kinks_hide.unwrap_or(0.0));
    }
}

/// Judges a direction, without the elements that stand on a kink. These are judged by themselves:
/// a gradient can be wrong on a kink too.
fn judge_off_kinks(
    point: &Point,
    variable: usize,
    direction: &mut Direction,
    step: f64,
    seen: &mut Seen,
) -> Judged {
    let judged = point.judge(variable, direction, step);
    seen.responds |= judged.responds;
    let on_kinks = point.remove_kinks(variable, direction, &judged);
    if on_kinks.is_empty() {
        return judged;
    }
    seen.kinks += on_kinks.len();
    for element in on_kinks {
        let Judged { outcomes, .. } = point.judge(variable, &Direction::Element(element), step);
        for outcome in outcomes {
            if let Outcome::Disagrees(comparison) = outcome {
                seen.disagree(comparison);
            }
        }
    }
    point.judge(variable, direction, step)
}
