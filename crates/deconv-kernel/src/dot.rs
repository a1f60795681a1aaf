//! The other register tile: scalar products of vectors, for kernels whose rows are whole vectors.
//!
//! A tile holds `N` times `V` vectors of sums in registers. Each step loads one vector of `N` rows of
//! weights and of `V` windows of the source, and adds all their products. Finally the lanes of each
//! sum are added up.

#![allow(unsafe_code)] // Loads whose bounds `take` asserts once for all steps.

use core::ops::Range;

use pulp::Simd;

use crate::element::Element;
use crate::tile::{Steps, rows};

/// The operands of a tile of scalar products.
pub(crate) struct Dot<'a, T> {
    pub(crate) source: &'a [T],
    pub(crate) weights: &'a [T],
    /// From a row of weights to the next.
    pub(crate) row_stride: usize,
    /// Where each step finds its vectors, after a window's start and after a row's.
    pub(crate) steps: &'a Steps,
    /// Which of the steps are taken.
    pub(crate) range: Range<usize>,
    /// Whether the sums are stored; otherwise they are added to those that are there.
    pub(crate) begin: bool,
}

impl<T: Element> Dot<'_, T> {
    /// Computes the products of `count` rows of weights with the windows at `starts`; row `r`'s are at
    /// `r * stride` of `sums`.
    ///
    /// # Panics
    ///
    /// For no steps, and where a step leaves a slice.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(
        &self,
        simd: S,
        count: usize,
        starts: &[usize],
        sums: &mut [T],
        stride: usize,
    ) {
        let mut row = 0;
        while row < count {
            let sums = &mut sums[row * stride..];
            // 4 rows of 4 sums need 32 registers.
            if const { rows::<S>() == 12 } && count - row >= 4 {
                self.take_rows::<S, 4>(simd, row, starts, sums, stride);
                row += 4;
            } else if count - row >= 2 {
                self.take_rows::<S, 2>(simd, row, starts, sums, stride);
                row += 2;
            } else {
                self.take_rows::<S, 1>(simd, row, starts, sums, stride);
                row += 1;
            }
        }
    }

    #[inline(always)]
    fn take_rows<S: Simd, const N: usize>(
        &self,
        simd: S,
        row: usize,
        starts: &[usize],
        sums: &mut [T],
        stride: usize,
    ) {
        let (fours, rest) = starts.as_chunks::<4>();
        let mut column = 0;
        for starts in fours {
            self.take::<S, N, 4>(simd, row, *starts, &mut sums[column..], stride);
            column += 4;
        }
        for start in rest {
            self.take::<S, N, 1>(simd, row, [*start], &mut sums[column..], stride);
            column += 1;
        }
    }

    #[inline(always)]
    fn take<S: Simd, const N: usize, const V: usize>(
        &self,
        simd: S,
        row: usize,
        starts: [usize; V],
        sums: &mut [T],
        stride: usize,
    ) {
        let lanes = T::lanes::<S>();
        let most = self.steps.most(self.range.end - 1);
        for start in starts {
            assert!(start + most.source + lanes <= self.source.len());
        }
        let last_row = (row + N - 1) * self.row_stride;
        assert!(last_row + most.weight + lanes <= self.weights.len());

        let (from, weights) = (self.source.as_ptr(), self.weights.as_ptr());
        let mut tile = [[T::splat(simd, T::default()); V]; N];
        for step in self.steps.list(self.range.clone()) {
            let mut windows = [T::splat(simd, T::default()); V];
            for (window, start) in windows.iter_mut().zip(starts) {
                // SAFETY: `step.source <= most.source`: `lanes` numbers from there on are in the
                // slice, by the first assertion.
                *window = unsafe {
                    let at = from.add(start + step.source);
                    at.cast::<T::Vector<S>>().read_unaligned()
                };
            }
            for (r, sums) in tile.iter_mut().enumerate() {
                // SAFETY: `step.weight <= most.weight` and `row + r` is at most the last row:
                // `lanes` numbers from there on are in the slice, by the second assertion.
                let weight = unsafe {
                    let at = weights.add((row + r) * self.row_stride + step.weight);
                    at.cast::<T::Vector<S>>().read_unaligned()
                };
                for (sum, window) in sums.iter_mut().zip(windows) {
                    *sum = T::mul_add(simd, weight, window, *sum);
                }
            }
        }
        for (r, row) in tile.into_iter().enumerate() {
            for (sum, vector) in sums[r * stride..][..V].iter_mut().zip(row) {
                let product = T::sum_lanes(simd, vector);
                *sum = if self.begin { product } else { *sum + product };
            }
        }
    }
}
