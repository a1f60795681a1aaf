//! The products of few positions: less than the lanes or the rows of a tile.
//!
//! A tile has positions as its rows and two output channels as its vectors. With one position, each of its two sums
//! waits for the product before it, and few taps leave most lanes idle. Here up to eight output channels are
//! multiplied at once, and a vector holds the taps of several input channels, as they lie in the weight:
//!
//! ```text
//! weights, k 1x4:   w[c][0] w[c][1] w[c][2] w[c][3]   w[c+1][0] w[c+1][1] ..
//! values:           x[c]    x[c]    x[c]    x[c]      x[c+1]    x[c+1]    ..
//! ```
//!
//! At the end, the lanes of each tap are added up.

#![allow(unsafe_code)] // Loads whose bounds `take` asserts once for all vectors.

use pulp::Simd;

use crate::buffer::Buffer;
use crate::element::Element;
use crate::tile::rows;
use crate::tuning::MAX_TILE_STEPS;
use crate::vectors::{as_uninit, store};

/// The most output channels that are multiplied at once.
pub(super) const CHANNELS: usize = 8;

/// Input values at some positions.
pub(super) struct FewPositions<'a, T> {
    /// `[position][vector]`: each value repeated for all taps, if a vector has several channels. Lanes behind the last
    /// tap are any numbers.
    pub(super) repeated: &'a [T],
    /// Otherwise the input itself, where each position is in its first channel, and from a channel to the next.
    pub(super) input: &'a [T],
    pub(super) positions: &'a [usize],
    pub(super) plane: usize,
    /// `[output channel][input channel][tap]`, and a vector behind the last.
    pub(super) weights: &'a [T],
    pub(super) channels: usize,
    pub(super) taps: usize,
    /// Input channels of a vector.
    pub(super) at_once: usize,
}

/// Input channels whose taps are in one vector: a power of two, so that lanes are added up by halves. For two channels,
/// to repeat the values takes longer than it saves.
pub(super) fn channels_at_once(channels: usize, taps: usize, lanes: usize) -> usize {
    let room = 1 << (lanes / taps).ilog2();
    let at_once = room.min(1 << channels.trailing_zeros());
    if at_once > 2 { at_once } else { 1 }
}

/// Repeats the values at some positions for `vectors` vectors of `at_once` input channels.
#[inline(always)]
pub(super) fn repeat<S: Simd, T: Element>(
    simd: S,
    input: &[T],
    positions: &[usize],
    [vectors, at_once, plane, taps]: [usize; 4],
    repeated: &mut Buffer<T>,
) {
    let lanes = T::lanes::<S>();
    let length = (positions.len() * vectors + 1) * lanes;
    if repeated.len() < length {
        *repeated = Buffer::new(length);
    }
    let repeated = as_uninit(repeated);
    let mut at = 0;
    for position in positions {
        let mut values = input[*position..].iter().step_by(plane);
        for _ in 0..vectors {
            for (c, value) in values.by_ref().take(at_once).enumerate() {
                // What it writes behind its taps is written again.
                store(simd, repeated, at + c * taps, T::splat(simd, *value));
            }
            at += lanes;
        }
    }
}

impl<T: Element> FewPositions<'_, T> {
    /// Writes the products of `count` output channels, in the first lanes of a vector each; a position's are `stride`
    /// apart.
    #[inline(always)]
    pub(super) fn run<S: Simd>(&self, simd: S, count: usize, products: &mut [T], stride: usize) {
        let mut first = 0;
        while first < count {
            let products = &mut products[first * T::lanes::<S>()..];
            let left = count - first;
            first += match (self.positions.len(), self.at_once > 1) {
                (1, true) => self.run_some::<S, 1, true>(simd, [first, left], products, stride),
                (1, false) => self.run_some::<S, 1, false>(simd, [first, left], products, stride),
                (2, true) => self.run_some::<S, 2, true>(simd, [first, left], products, stride),
                (2, false) => self.run_some::<S, 2, false>(simd, [first, left], products, stride),
                (positions, _) => panic!("{positions} positions"),
            };
        }
    }

    /// Writes the products of some of `left` output channels from `first` on. Returns how many.
    #[inline(always)]
    fn run_some<S: Simd, const P: usize, const REPEATS: bool>(
        &self,
        simd: S,
        [first, left]: [usize; 2],
        products: &mut [T],
        stride: usize,
    ) -> usize {
        match left {
            // So many sums need 32 registers.
            CHANNELS.. if const { rows::<S>() == 12 } => {
                self.take::<S, P, CHANNELS, REPEATS>(simd, first, products, stride)
            }
            4.. => self.take::<S, P, 4, REPEATS>(simd, first, products, stride),
            2.. => self.take::<S, P, 2, REPEATS>(simd, first, products, stride),
            _ => self.take::<S, P, 1, REPEATS>(simd, first, products, stride),
        }
    }

    /// Writes the products of `N` output channels. Returns `N`.
    #[inline(always)]
    fn take<S: Simd, const P: usize, const N: usize, const REPEATS: bool>(
        &self,
        simd: S,
        first: usize,
        products: &mut [T],
        stride: usize,
    ) -> usize {
        let lanes = T::lanes::<S>();
        let (step, vectors) = (self.at_once * self.taps, self.channels / self.at_once);
        let kernel = self.channels * self.taps;
        let weights = &self.weights[first * kernel..];
        assert!(N * kernel - step + lanes <= weights.len());
        let positions: [usize; P] = self.positions.try_into().expect("so many positions");
        let most = positions.iter().max().expect("a position");
        assert!(REPEATS || most + (vectors - 1) * self.plane < self.input.len());
        assert!(!REPEATS || P * vectors * lanes <= self.repeated.len());
        let mut totals = [[T::splat(simd, T::default()); N]; P];
        for begin in (0..vectors).step_by(MAX_TILE_STEPS) {
            let mut sums = [[T::splat(simd, T::default()); N]; P];
            for v in begin..vectors.min(begin + MAX_TILE_STEPS) {
                let mut kernels = [T::splat(simd, T::default()); N];
                for (n, vector) in kernels.iter_mut().enumerate() {
                    // SAFETY: in the slice, by the first assertion.
                    *vector = unsafe {
                        let from = weights.as_ptr().add(n * kernel + v * step);
                        from.cast::<T::Vector<S>>().read_unaligned()
                    };
                }
                for (p, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: in the slices, by the other assertions.
                    let value = unsafe {
                        if REPEATS {
                            let from = self.repeated.as_ptr().add((p * vectors + v) * lanes);
                            from.cast::<T::Vector<S>>().read_unaligned()
                        } else {
                            let at = positions[p] + v * self.plane;
                            T::splat(simd, *self.input.get_unchecked(at))
                        }
                    };
                    for (sum, vector) in sums.iter_mut().zip(kernels) {
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
                let products = &mut products[p * stride + n * lanes..][..lanes];
                store::<S, T>(simd, as_uninit(products), 0, total);
                let mut width = step;
                while width > self.taps {
                    width /= 2;
                    let (sums, others) = products.split_at_mut(width);
                    for (sum, other) in sums.iter_mut().zip(&others[..width]) {
                        *sum += *other;
                    }
                }
            }
        }
        N
    }
}
