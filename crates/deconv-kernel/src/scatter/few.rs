//! The products of few positions: less than the sums that a processor adds to at once.
//!
//! A tile has positions as its rows and two output channels as its vectors. With one position, each of its two sums
//! waits for the product before it. Here eight output channels are multiplied at once.

#![allow(unsafe_code)] // Loads whose bounds `take` asserts once for all channels.

use pulp::Simd;

use crate::element::Element;
use crate::tile::rows;
use crate::tuning::MAX_TILE_STEPS;
use crate::vectors::{as_uninit, store};

/// Output channels that are multiplied at once.
pub(super) const CHANNELS: usize = 8;

/// The operands. Lanes are the taps of an output channel.
pub(super) struct FewPositions<'a, T> {
    pub(super) input: &'a [T],
    /// Where each position is in the first input channel, and from a channel to the next.
    pub(super) positions: &'a [usize],
    pub(super) plane: usize,
    /// `[output channel][input channel][tap]`, and a vector behind the last.
    pub(super) weights: &'a [T],
    pub(super) channels: usize,
    pub(super) taps: usize,
}

impl<T: Element> FewPositions<'_, T> {
    /// Writes the products of `count` output channels, a vector each; a position's are `stride` apart.
    #[inline(always)]
    pub(super) fn run<S: Simd>(&self, simd: S, count: usize, products: &mut [T], stride: usize) {
        match *self.positions {
            [a] => self.run_with(simd, [a], count, products, stride),
            [a, b] => self.run_with(simd, [a, b], count, products, stride),
            _ => panic!("{} positions", self.positions.len()),
        }
    }

    #[inline(always)]
    fn run_with<S: Simd, const P: usize>(
        &self,
        simd: S,
        positions: [usize; P],
        count: usize,
        products: &mut [T],
        stride: usize,
    ) {
        let mut first = 0;
        while first < count {
            first += match count - first {
                // So many sums need 32 registers.
                CHANNELS.. if const { rows::<S>() == 12 } => {
                    self.take::<S, P, CHANNELS>(simd, positions, first, products, stride)
                }
                4.. => self.take::<S, P, 4>(simd, positions, first, products, stride),
                2.. => self.take::<S, P, 2>(simd, positions, first, products, stride),
                _ => self.take::<S, P, 1>(simd, positions, first, products, stride),
            };
        }
    }

    /// Writes the products of `N` output channels. Returns `N`.
    #[inline(always)]
    fn take<S: Simd, const P: usize, const N: usize>(
        &self,
        simd: S,
        positions: [usize; P],
        first: usize,
        products: &mut [T],
        stride: usize,
    ) -> usize {
        let lanes = T::lanes::<S>();
        let kernel = self.channels * self.taps;
        let weights = &self.weights[first * kernel..];
        assert!(N * kernel - self.taps + lanes <= weights.len());
        let last = (self.channels - 1) * self.plane;
        let most = positions.iter().max().expect("a position");
        assert!(most + last < self.input.len());
        let mut totals = [[T::splat(simd, T::default()); N]; P];
        for begin in (0..self.channels).step_by(MAX_TILE_STEPS) {
            let mut sums = [[T::splat(simd, T::default()); N]; P];
            for channel in begin..self.channels.min(begin + MAX_TILE_STEPS) {
                let mut vectors = [T::splat(simd, T::default()); N];
                for (n, vector) in vectors.iter_mut().enumerate() {
                    // SAFETY: in the slice, by the first assertion.
                    *vector = unsafe {
                        let from = weights.as_ptr().add(n * kernel + channel * self.taps);
                        from.cast::<T::Vector<S>>().read_unaligned()
                    };
                }
                for (sums, position) in sums.iter_mut().zip(positions) {
                    let at = position + channel * self.plane;
                    // SAFETY: in the slice, by the second assertion.
                    let value = T::splat(simd, unsafe { *self.input.get_unchecked(at) });
                    for (sum, vector) in sums.iter_mut().zip(vectors) {
                        *sum = T::mul_add(simd, value, vector, *sum);
                    }
                }
            }
            for (totals, sums) in totals.iter_mut().zip(sums) {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = T::add_vectors(simd, *total, sum);
                }
            }
        }
        for (p, totals) in totals.into_iter().enumerate() {
            for (n, total) in totals.into_iter().enumerate() {
                let at = p * stride + (first + n) * lanes;
                store::<S, T>(simd, as_uninit(products), at, total);
            }
        }
        N
    }
}
