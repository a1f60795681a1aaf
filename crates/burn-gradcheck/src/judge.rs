//! One direction through one tensor: is the gradient right, wrong, or is nothing decided?
//!
//! A first difference decides most comparisons. Where it does not, [`Search`] takes differences
//! with steps that are powers of two apart, and measures how far each can be trusted: rounding
//! errors grow as the step falls, truncation errors and the weight of kinks grow with it.

use super::options::COARSEST;
use super::point::{Direction, Point, Quotient, Values};
use super::search::Search;
use super::{Comparison, Finding};

/// What a comparison comes to.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Agrees(Agreement),
    Kink(Kink),
    /// The comparison cannot be made.
    Unusable(Finding),
    Disagrees(Comparison),
}

/// A numeric and an analytic derivative that agree as far as can be seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreement {
    /// Their difference, relative to the size of such a derivative in the tensor.
    pub(super) error: f64,
    /// The smallest error of the gradient that would have been found, relative as `error`.
    pub(super) resolution: f64,
    /// The same, not relative.
    pub(super) hidden: f64,
    /// Whether the resolution is what the tolerance asks for.
    pub(super) resolved: bool,
    /// Whether the resolution is fine enough to say anything.
    pub(super) decides: bool,
    /// Whether it would not be, relative to the derivative itself.
    pub(super) too_small: bool,
}

/// The one-sided derivatives differ, and the gradient lies between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kink {
    /// Whether the kink is at the point itself, and not only beside it.
    pub(super) at_point: bool,
    /// The error that it may hide, relative to the size of such a derivative.
    pub(super) hidden: f64,
    /// The step at which this was seen.
    pub(super) step: f64,
}

/// The outcomes along one direction, one for each reference.
pub(super) struct Judged {
    pub(super) outcomes: Vec<Outcome>,
    /// Whether any step changed any output.
    pub(super) responds: bool,
}

impl Point<'_> {
    /// Compares with every reference, beginning with a step.
    pub(super) fn judge(&self, variable: usize, direction: &Direction, step: f64) -> Judged {
        let first = self.quotient(variable, direction, step);
        let at_once: Vec<_> = (0..self.references.len())
            .map(|reference| self.agree_at_once(direction, &first, reference))
            .collect();
        if at_once.iter().all(Option::is_some) {
            return Judged {
                outcomes: at_once.into_iter().flatten().map(Outcome::Agrees).collect(),
                responds: first.changed,
            };
        }
        let search = match Search::new(self, variable, direction, first) {
            Ok(search) => search,
            Err(finding) => {
                return Judged {
                    outcomes: vec![Outcome::Unusable(*finding); at_once.len()],
                    responds: true,
                };
            }
        };
        let outcomes = (at_once.into_iter().enumerate())
            .map(|(reference, agreement)| match agreement {
                Some(agreement) => Outcome::Agrees(agreement),
                None => search.judge(reference),
            })
            .collect();
        Judged {
            outcomes,
            responds: search.responds(),
        }
    }

    /// The agreement of a difference that needs no second look.
    fn agree_at_once(
        &self,
        direction: &Direction,
        quotient: &Quotient,
        reference: usize,
    ) -> Option<Agreement> {
        if !quotient.finite {
            return None;
        }
        let values = quotient.values[reference];
        let error = values.error().abs();
        if !quotient.changed {
            if error == 0.0 {
                return Some(self.agreement(direction, &values, 0.0));
            }
            // A change too small for the outputs to show, in an element that hardly matters.
            let doubt = self.rounding(quotient, |_| true, reference);
            let agrees = error <= doubt && self.resolves(&values, doubt);
            return agrees.then(|| self.agreement(direction, &values, doubt));
        }
        let changed = self.changed(quotient);
        let doubt = self.rounding(quotient, |nth| changed[nth], reference);
        let agrees = error <= self.allowed(direction, &values, doubt);
        (agrees && self.resolves(&values, doubt)).then(|| self.agreement(direction, &values, doubt))
    }

    /// The largest legal error, where the numeric derivative is known up to `doubt`. An element is
    /// held to its own size; a direction, whose parts may cancel, to what such a direction has.
    pub(super) fn allowed(&self, direction: &Direction, values: &Values, doubt: f64) -> f64 {
        let size = match direction {
            Direction::Element(_) => values.own(),
            Direction::Dense(_) => values.size(),
        };
        self.options.absolute_tolerance + self.options.relative_tolerance() * size + doubt
    }

    /// Whether a doubt leaves what the tolerance asks for.
    pub(super) fn resolves(&self, values: &Values, doubt: f64) -> bool {
        doubt <= self.options.absolute_tolerance + self.options.relative_tolerance() * values.size()
    }

    /// Whether an error is small beside the gradients of all tensors. The gradient of a bias in front
    /// of a batch norm is zero but for rounding: it cannot be resolved, and need not be.
    pub(super) fn is_nothing(&self, error: f64) -> bool {
        let typical = &self.references[0].typical;
        error <= COARSEST * typical.iter().copied().fold(0.0, f64::max)
    }

    pub(super) fn agreement(
        &self,
        direction: &Direction,
        values: &Values,
        doubt: f64,
    ) -> Agreement {
        let error = values.error().abs();
        let hidden = error + self.allowed(direction, values, doubt);
        Agreement {
            error: relative(error, values.size()),
            resolution: relative(hidden, values.size()),
            hidden,
            resolved: self.resolves(values, doubt),
            decides: doubt <= COARSEST * values.size(),
            too_small: doubt > COARSEST * values.own(),
        }
    }
}

/// `value / size`, and zero for zero.
pub(super) fn relative(value: f64, size: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value / size }
}
