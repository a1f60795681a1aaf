//! The sums of some cells.

#![allow(unsafe_code)] // Loads and stores whose bounds `vectors` asserts once for all steps.

use core::ops::Range;

use pulp::Simd;

use crate::element::Element;
use crate::tile::{Step, Steps};

/// The most vectors of cells of one output channel whose sums are computed at once.
pub(super) const MAX_VECTORS: usize = 8;

/// What a phase of some output channels is computed from.
pub(super) struct Operands<'a, T, const N: usize> {
    /// Input channels, a step for each tap of one, and from a channel's values and weights to the next.
    pub(super) channels: usize,
    pub(super) taps: &'a Steps,
    pub(super) channel: Step,
    pub(super) values: &'a [T],
    /// From the first channel's on.
    pub(super) weights: &'a [T],
    /// From a channel's weights to the next.
    pub(super) kernel_stride: usize,
    pub(super) biases: [T; N],
}

impl<T: Element, const N: usize> Operands<'_, T, N> {
    /// The sums of `count` cells and of some behind them, the channels `stride` apart. With 8 sums at a time,
    /// no multiply-add waits for the one before.
    #[inline(always)]
    pub(super) fn add_up<S: Simd>(&self, simd: S, count: usize, sums: &mut [T], stride: usize) {
        match self.taps.all() {
            [_] => self.add_up_taps::<S, true>(simd, count, sums, stride),
            _ => self.add_up_taps::<S, false>(simd, count, sums, stride),
        }
    }

    /// A loop over one tap is a loop too many.
    #[inline(always)]
    fn add_up_taps<S: Simd, const IS_ONE: bool>(
        &self,
        simd: S,
        count: usize,
        sums: &mut [T],
        stride: usize,
    ) {
        let lanes = T::lanes::<S>();
        let taps = self.taps.all();
        // Cells for which the last channel's taps find their values too.
        let mut cells = self.values.len();
        if let Some(last) = taps.len().checked_sub(1) {
            let (most, channels) = (self.taps.most(last), self.channels - 1);
            let weight = most.weight + channels * self.channel.weight;
            assert!((N - 1) * self.kernel_stride + weight < self.weights.len());
            cells -= (most.source + channels * self.channel.source).min(cells);
        }
        let mut at = 0;
        while at < count {
            let left = (count - at).div_ceil(lanes);
            let cells = at..cells;
            let vectors = if N == 1 && left > 4 {
                self.vectors::<S, MAX_VECTORS, IS_ONE>(simd, taps, cells, sums, stride);
                MAX_VECTORS
            } else if N <= 2 && left > 2 {
                self.vectors::<S, 4, IS_ONE>(simd, taps, cells, sums, stride);
                4
            } else if left > 1 {
                self.vectors::<S, 2, IS_ONE>(simd, taps, cells, sums, stride);
                2
            } else {
                self.vectors::<S, 1, IS_ONE>(simd, taps, cells, sums, stride);
                1
            };
            at += vectors * lanes;
        }
    }

    /// The sums of the first of the cells.
    #[inline(always)]
    fn vectors<S: Simd, const V: usize, const IS_ONE: bool>(
        &self,
        simd: S,
        taps: &[Step],
        cells: Range<usize>,
        sums: &mut [T],
        stride: usize,
    ) {
        let (lanes, at) = (T::lanes::<S>(), cells.start);
        let mut tile = self.biases.map(|bias| [T::splat(simd, bias); V]);
        assert!(at + V * lanes <= cells.end);
        assert!(at + (N - 1) * stride + V * lanes <= sums.len());
        let mut values = self.values.as_ptr().wrapping_add(at);
        let mut weights = self.weights.as_ptr();
        for _ in 0..self.channels {
            for step in if IS_ONE { &taps[..1] } else { taps } {
                let mut vectors = [T::splat(simd, T::default()); V];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    // SAFETY: in the slice, by the first assertion: `cells` end where the last channel's taps do.
                    *vector = unsafe {
                        let from = values.add(step.source + v * lanes);
                        from.cast::<T::Vector<S>>().read_unaligned()
                    };
                }
                for (n, row) in tile.iter_mut().enumerate() {
                    // SAFETY: in the slice, by the assertion in `add_up_taps`.
                    let weight = unsafe { *weights.add(n * self.kernel_stride + step.weight) };
                    let weight = T::splat(simd, weight);
                    for (sum, vector) in row.iter_mut().zip(vectors) {
                        *sum = T::mul_add(simd, weight, vector, *sum);
                    }
                }
            }
            values = values.wrapping_add(self.channel.source);
            weights = weights.wrapping_add(self.channel.weight);
        }
        for (n, row) in tile.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                // SAFETY: in the slice, by the second assertion.
                unsafe {
                    let to = sums.as_mut_ptr().add(at + n * stride + v * lanes);
                    to.cast::<T::Vector<S>>().write_unaligned(*sum);
                }
            }
        }
    }
}
