//! Memory that tiles ask for while they multiply: the places where results will be written, or the values that are
//! copied next. When they are needed, they are in the cache.

use crate::element::Element;
use crate::tuning::{CACHE_LINE_BYTES, MIN_FETCHED_BYTES};

/// Whether so many values are more than caches hold, so that it pays to ask for them.
pub(crate) fn is_large<T>(values: usize) -> bool {
    values * size_of::<T>() > MIN_FETCHED_BYTES
}

/// Runs of values, which tiles ask for one after the other.
pub(crate) struct Ahead<T> {
    /// Where each begins, and how many values it has; the first one last.
    runs: Vec<(*const T, usize)>,
    /// Values of the last run that have been asked for.
    asked: usize,
    /// Values that a tile asks for.
    of_a_tile: usize,
}

impl<T: Element> Ahead<T> {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self {
            runs: Vec::new(),
            asked: 0,
            of_a_tile: 0,
        }
    }

    /// Deals these runs out to so many tiles.
    pub(crate) fn new(runs: impl Iterator<Item = (*const T, usize)>, tiles: usize) -> Self {
        let mut runs: Vec<_> = runs.collect();
        runs.reverse();
        let values: usize = runs.iter().map(|(_, length)| length).sum();
        Self {
            runs,
            asked: 0,
            of_a_tile: values.div_ceil(tiles.max(1)),
        }
    }

    /// The places that the next tile asks for, one for each of its steps. There are none if all have been asked for,
    /// or if a tile has fewer steps than cache lines to ask for: such layers took up to 1.25 times as long.
    #[inline(always)]
    pub(crate) fn next(&mut self, steps: usize) -> impl Iterator<Item = *const T> + use<T> {
        let distance = self.of_a_tile.div_ceil(steps);
        let has_steps = distance * size_of::<T>() <= CACHE_LINE_BYTES;
        let mut from = core::ptr::null();
        let mut count = 0;
        if let Some((first, length)) = self.runs.last() {
            from = first.wrapping_add(self.asked);
            count = if has_steps { steps } else { 0 };
            self.asked += self.of_a_tile;
            if self.asked >= *length {
                self.runs.pop();
                self.asked = 0;
            }
        }
        (0..count).map(move |step| from.wrapping_add(step * distance))
    }
}
