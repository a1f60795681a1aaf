//! Sums over millions of positions, without losing digits.
//!
//! A running sum in `f32` of 4,194,304 products loses up to half of its digits: each addition rounds
//! a total that is far larger than what is added. So the positions come in *bands*, each of which is
//! summed from zero. [`BANDS_PER_SUM`] bands are added up to one sum, and these sums to the total. The
//! order is fixed, so the result is the same on any number of threads.

use crate::buffer::Buffer;
use crate::element::Element;
use crate::tuning::BANDS_PER_SUM;

/// Many totals side by side, and the sums of the last bands.
pub(crate) struct LongSum<'a, T: Element> {
    totals: &'a mut [T],
    /// The sums of the bands since the last [`BANDS_PER_SUM`]; the first go to the totals at once.
    sums: Buffer<T>,
    /// Bands that have ended.
    bands: usize,
}

impl<'a, T: Element> LongSum<'a, T> {
    /// Totals of no bands yet; what they hold is overwritten by the first.
    pub(crate) fn new(totals: &'a mut [T], bands: usize) -> Self {
        let sums = if bands > BANDS_PER_SUM {
            Buffer::new(totals.len())
        } else {
            Buffer::default()
        };
        Self {
            totals,
            sums,
            bands: 0,
        }
    }

    /// Whether the next band's sums are to be stored; otherwise they are to be added.
    #[inline(always)]
    pub(crate) fn begins(&self) -> bool {
        self.bands.is_multiple_of(BANDS_PER_SUM)
    }

    /// Where the next band's sums belong.
    #[inline(always)]
    pub(crate) fn sums(&mut self) -> &mut [T] {
        if self.bands < BANDS_PER_SUM {
            &mut *self.totals
        } else {
            &mut self.sums
        }
    }

    /// Ends a band, the last of all if `last`.
    #[inline(always)]
    pub(crate) fn end_band(&mut self, last: bool) {
        self.bands += 1;
        if self.bands > BANDS_PER_SUM && (last || self.begins()) {
            for (total, sum) in self.totals.iter_mut().zip(&self.sums[..]) {
                *total += *sum;
            }
        }
    }
}

/// One sum of many values. After [`BANDS_PER_SUM`] values, a new sum begins.
#[derive(Default)]
pub(crate) struct ChainSum<T> {
    total: T,
    sum: T,
    count: usize,
}

impl<T: Element> ChainSum<T> {
    #[inline(always)]
    pub(crate) fn add(&mut self, value: T) {
        self.sum += value;
        self.count += 1;
        if self.count == BANDS_PER_SUM {
            self.total += self.sum;
            (self.sum, self.count) = (T::default(), 0);
        }
    }

    #[inline(always)]
    pub(crate) fn total(self) -> T {
        self.total + self.sum
    }
}

/// The sum of some values: halves are summed one by one and added.
pub(crate) fn pairwise_sum<T: Element>(values: &[T]) -> T {
    /// Values that are summed in lanes.
    const BLOCK: usize = 1024;
    if values.len() <= BLOCK {
        return sum_in_lanes(values);
    }
    let half = values.len().div_ceil(BLOCK).div_ceil(2) * BLOCK;
    let (first, second) = values.split_at(half);
    pairwise_sum(first) + pairwise_sum(second)
}

fn sum_in_lanes<T: Element>(values: &[T]) -> T {
    let mut sums = [T::default(); 16];
    let chunks = values.chunks_exact(sums.len());
    for (sum, value) in sums.iter_mut().zip(chunks.remainder()) {
        *sum = *value;
    }
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += *value;
        }
    }
    fold(sums)
}

/// The sum of `N` values, a power of two: the upper half is added to the lower until one is left.
#[inline(always)]
pub(crate) fn fold<T: Element, const N: usize>(mut sums: [T; N]) -> T {
    let mut half = N / 2;
    while half > 0 {
        let (lower, upper) = sums.split_at_mut(half);
        for (sum, other) in lower.iter_mut().zip(upper) {
            *sum += *other;
        }
        half /= 2;
    }
    sums[0]
}
