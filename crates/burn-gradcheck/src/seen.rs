//! [`Seen`]: what the comparisons of one tensor have shown, and the verdict that follows.

use super::judge::{Agreement, Kink};
use super::point::Point;
use super::{Comparison, Finding, Verdict};

/// What the comparisons of one tensor have shown so far.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) compared: usize,
    pub(super) kinks: usize,
    pub(super) largest_error: f64,
    pub(super) at: Option<Vec<usize>>,
    pub(super) resolution: f64,
    /// The largest error that may be hidden, not relative.
    pub(super) hidden: f64,
    pub(super) unresolved: usize,
    /// Whether the resolution is coarser than the tolerance asks for.
    pub(super) coarse: bool,
    /// How many comparisons say nothing, because their resolution is too coarse.
    pub(super) undecided: usize,
    /// How many comparisons were made before those that count for that.
    pub(super) compared_before: usize,
    /// What kinks hide along the best of the random directions that cross some.
    pub(super) kinks_hide: Option<f64>,
    pub(super) wrong: usize,
    pub(super) worst: Option<Comparison>,
    /// Whether the output depends on the tensor.
    pub(super) responds: bool,
    pub(super) unusable: Option<Finding>,
}

impl Seen {
    /// One more comparison agrees.
    pub(super) fn agree(&mut self, agreement: &Agreement, at: Option<Vec<usize>>) {
        self.compared += 1;
        if agreement.error >= self.largest_error {
            self.largest_error = agreement.error;
            self.at = at;
        }
        self.resolution = self.resolution.max(agreement.resolution);
        self.hidden = self.hidden.max(agreement.hidden);
        self.coarse |= !agreement.resolved;
        self.undecided += usize::from(!agreement.decides);
    }

    /// One more comparison fails.
    pub(super) fn disagree(&mut self, comparison: Comparison) {
        let error = comparison.relative_error;
        self.disagree_again(&comparison);
        if (self.worst.as_ref()).is_none_or(|worst| error > worst.relative_error) {
            self.at = comparison.index.clone();
            self.worst = Some(comparison);
        }
    }

    /// One more comparison fails, which is not the worst.
    pub(super) fn disagree_again(&mut self, comparison: &Comparison) {
        self.compared += 1;
        self.wrong += 1;
        self.largest_error = self.largest_error.max(comparison.relative_error);
    }

    /// One more comparison cannot be made.
    pub(super) fn cannot_use(&mut self, finding: Finding) {
        self.compared += 1;
        self.unusable.get_or_insert(finding);
    }

    /// A random direction crosses kinks.
    pub(super) fn hide(&mut self, kink: &Kink) {
        let best = self.kinks_hide.unwrap_or(f64::INFINITY);
        self.kinks_hide = Some(best.min(kink.hidden));
    }

    /// A random direction disagrees, and nothing explains it.
    pub(super) fn leave_open(&mut self, comparison: &Comparison) {
        self.undecided += 1;
        self.resolution = self.resolution.max(comparison.relative_error);
    }

    /// Whether most comparisons say nothing. Some may: elements beside a kink, for one.
    fn is_undecided(&self) -> bool {
        2 * self.undecided > self.compared - self.compared_before
    }

    /// The verdict on a tensor.
    pub(super) fn conclude(
        &mut self,
        point: &Point,
        variable: usize,
    ) -> Result<Verdict, Box<Finding>> {
        let name = point.function.variables()[variable].name.clone();
        let has_gradient = point.references[0].gradients[variable].is_some();
        let is_step = |finding: &Finding| {
            matches!(
                finding,
                Finding::StepTooLarge { .. } | Finding::StepTooSmall { .. }
            )
        };
        let finding = if let Some(finding) = self.unusable.take_if(|finding| !is_step(finding)) {
            finding
        } else if let Some(worst) = self.worst.take() {
            if !has_gradient {
                Finding::MissingGradient {
                    tensor: name,
                    worst,
                }
            } else if !self.responds {
                Finding::UnexpectedGradient {
                    tensor: name,
                    worst,
                }
            } else {
                Finding::WrongGradient {
                    tensor: name,
                    worst,
                    wrong: self.wrong,
                    compared: self.compared,
                }
            }
        } else if let Some(finding) = self.unusable.take() {
            finding
        } else if self.compared == 0 {
            Finding::OnlyKinks {
                tensor: name,
                kinks: self.kinks,
            }
        } else if !self.responds {
            return Ok(Verdict::Unused);
        } else if !self.coarse {
            return Ok(Verdict::Agrees);
        } else if !self.is_undecided() || point.is_nothing(self.hidden) {
            return Ok(Verdict::Coarse);
        } else {
            Finding::Unresolved {
                tensor: name,
                resolution: self.resolution,
                dtype: point.options.dtype,
            }
        };
        Err(Box::new(finding))
    }
}
