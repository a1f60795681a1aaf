//! The sums of some cells.

#![allow(unsafe_code)] // Loads and stores whose bounds `vectors` asserts once for all steps.

use pulp::Simd;

use crate::element::Element;
use crate::tile::Steps;

/// The most vectors of cells of one output channel whose sums are computed at once.
pub(super) const MAX_VECTORS: usize = 8;

/// What a phase of some output channels is computed from.
pub(super) struct Operands<'a, T, const N: usize> {
    pub(super) steps: &'a Steps,
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
        let lanes = T::lanes::<S>();
        let mut at = 0;
        while at < count {
            let left = (count - at).div_ceil(lanes);
            let vectors = if N == 1 && left > 4 {
                self.vectors::<S, MAX_VECTORS>(simd, at, sums, stride);
                MAX_VECTORS
            } else if N <= 2 && left > 2 {
                self.vectors::<S, 4>(simd, at, sums, stride);
                4
            } else if left > 1 {
                self.vectors::<S, 2>(simd, at, sums, stride);
                2
            } else {
                self.vectors::<S, 1>(simd, at, sums, stride);
                1
            };
            at += vectors * lanes;
        }
    }

    #[inline(always)]
    fn vectors<S: Simd, const V: usize>(&self, simd: S, at: usize, sums: &mut [T], stride: usize) {
        let lanes = T::lanes::<S>();
        let mut tile = self.biases.map(|bias| [T::splat(simd, bias); V]);
        let list = self.steps.all();
        if let Some(last) = list.len().checked_sub(1) {
            let most = self.steps.most(last);
            assert!(at + most.source + V * lanes <= self.values.len());
            assert!((N - 1) * self.kernel_stride + most.weight < self.weights.len());
        }
        assert!(at + (N - 1) * stride + V * lanes <= sums.len());
        let (values, weights) = (self.values.as_ptr(), self.weights.as_ptr());
        for step in list {
            let mut vectors = [T::splat(simd, T::default()); V];
            for (v, vector) in vectors.iter_mut().enumerate() {
                // SAFETY: in the slice, by the first assertion.
                *vector = unsafe {
                    let from = values.add(at + step.source + v * lanes);
                    from.cast::<T::Vector<S>>().read_unaligned()
                };
            }
            for (n, row) in tile.iter_mut().enumerate() {
                // SAFETY: in the slice, by the second assertion.
                let weight = unsafe { *weights.add(n * self.kernel_stride + step.weight) };
                let weight = T::splat(simd, weight);
                for (sum, vector) in row.iter_mut().zip(vectors) {
                    *sum = T::mul_add(simd, weight, vector, *sum);
                }
            }
        }
        for (n, row) in tile.iter().enumerate() {
            for (v, sum) in row.iter().enumerate() {
                // SAFETY: in the slice, by the third assertion.
                unsafe {
                    let to = sums.as_mut_ptr().add(at + n * stride + v * lanes);
                    to.cast::<T::Vector<S>>().write_unaligned(*sum);
                }
            }
        }
    }
}
