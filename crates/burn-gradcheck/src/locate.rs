//! Which element of a direction is it? By halving: of two halves, the one that shows more of it.

use core::ops::Range;

use super::Comparison;
use super::judge::{Judged, Kink, Outcome};
use super::point::{Direction, Point};

/// How many elements that stand on a kink are taken out of one direction. Where there are more, the
/// direction cannot be mended.
const REMOVED: usize = 4;

impl Point<'_> {
    /// The element whose gradient is worst, where a dense direction disagrees. `None` if that element
    /// is right by itself.
    pub(super) fn locate(
        &self,
        variable: usize,
        direction: &Direction,
        step: f64,
        reference: usize,
    ) -> Option<Comparison> {
        let element = halve(direction, |half| {
            let values = self.quotient(variable, half, step).values[reference];
            values.error().abs()
        })?;
        let judged = self.judge(variable, &Direction::Element(element), step);
        (judged.outcomes.into_iter()).find_map(|outcome| match outcome {
            Outcome::Disagrees(comparison) => Some(comparison),
            _ => None,
        })
    }

    /// Takes the elements that stand on a kink out of a dense direction, if that is what the outcomes
    /// say. Returns those taken out.
    pub(super) fn remove_kinks(
        &self,
        variable: usize,
        direction: &mut Direction,
        judged: &Judged,
    ) -> Vec<usize> {
        let at_point = judged.outcomes.iter().enumerate();
        let Some((reference, step)) = at_point
            .filter_map(|(reference, outcome)| match outcome {
                Outcome::Kink(Kink {
                    at_point: true,
                    step,
                    ..
                }) => Some((reference, *step)),
                _ => None,
            })
            .next()
        else {
            return vec![];
        };
        let mut removed = vec![];
        for _ in 0..REMOVED {
            // The change of the slope that does not fall with the step.
            let kink = |half: &Direction| {
                let [coarse, fine] = [step, step / 2.0]
                    .map(|step| self.quotient(variable, half, step).values[reference].gap());
                (2.0 * fine - coarse).abs()
            };
            let Some(element) = halve(direction, kink) else {
                break;
            };
            let alone = self.judge(variable, &Direction::Element(element), step);
            // A gradient that lies outside the one-sided derivatives disagrees.
            let agrees = |outcome: &Outcome| matches!(outcome, Outcome::Agrees(_));
            if alone.outcomes.iter().all(agrees) {
                break;
            }
            removed.push(element);
            if let Direction::Dense(components) = direction {
                components[element] = 0.0;
            }
        }
        removed
    }
}

/// The element that shows most of what `measure` measures.
fn halve(direction: &Direction, measure: impl Fn(&Direction) -> f64) -> Option<usize> {
    let Direction::Dense(components) = direction else {
        return None;
    };
    let mut range = 0..components.len();
    while range.len() > 1 {
        let middle = range.start + range.len() / 2;
        let [first, second] = [range.start..middle, middle..range.end];
        let measured = |half: &Range<usize>| {
            let mut restricted = vec![0.0; components.len()];
            restricted[half.clone()].copy_from_slice(&components[half.clone()]);
            measure(&Direction::Dense(restricted))
        };
        range = if measured(&first) >= measured(&second) {
            first
        } else {
            second
        };
    }
    Some(range.start)
}
