//! From the sums of some cells to the lines of the output.

#![allow(unsafe_code)] // Loads and stores whose bounds `write_lines` checks once for a line.

use core::mem::MaybeUninit;

use pulp::Simd;

use super::{Cells, Lines, Part};
use crate::element::Element;
use crate::vectors::{fill, take_all_turns};

impl<T: Element> Lines<'_, T> {
    /// Writes some cells of `count` output channels, from channel `o` on. `target` begins with the first of the rows
    /// of cells of a part; what lies behind the part is written later.
    #[inline(always)]
    pub(super) fn write<S: Simd>(
        &self,
        simd: S,
        [o, count]: [usize; 2],
        part: &Part,
        cells: &Cells,
        sums: &[T],
        target: &mut [MaybeUninit<T>],
    ) {
        let lines = part.lines(self.problem);
        let (first_line, plane) = (lines.start, lines.len() * self.problem.axes[1].output);
        let whole_planes = self.has_whole_lines() && cells.rows == part.rows;
        let sums = sums.chunks(self.phases.len() * self.phase_stride);
        for (i, sums) in sums.enumerate().take(count) {
            let bias = self.bias_of(o + i);
            let target = &mut target[i * plane..];
            let space = if whole_planes { target.len() } else { plane };
            let target = &mut target[..space];
            match self.line_phases {
                1 => self.write_lines::<S, 1>(simd, first_line, cells, sums, target, bias),
                2 => self.write_lines::<S, 2>(simd, first_line, cells, sums, target, bias),
                3 => self.write_lines::<S, 3>(simd, first_line, cells, sums, target, bias),
                4 => self.write_lines::<S, 4>(simd, first_line, cells, sums, target, bias),
                8 => self.write_lines::<S, 8>(simd, first_line, cells, sums, target, bias),
                _ => self.write_lines::<S, 0>(simd, first_line, cells, sums, target, bias),
            }
        }
    }

    /// Whether the cells of a line are computed at once.
    fn has_whole_lines(&self) -> bool {
        self.columns == self.axes[1].cells
    }

    /// Writes a channel's lines: `N` phases by turns in vectors, or any number value by value if that is 0. A vector
    /// may reach behind a whole line, where the next ones are written after it.
    #[inline(always)]
    fn write_lines<S: Simd, const N: usize>(
        &self,
        simd: S,
        first_line: usize,
        cells: &Cells,
        sums: &[T],
        target: &mut [MaybeUninit<T>],
        bias: T,
    ) {
        let lanes = T::lanes::<S>();
        let [y, x] = &self.problem.axes;
        let first = cells.columns.start * x.stride;
        let length = (cells.columns.end * x.stride).min(x.output) - first;
        let whole_lines = self.has_whole_lines();
        // What the loads of the last line reach.
        let reach = (self.phases.len() - 1) * self.phase_stride
            + (cells.rows.len() - 1) * self.line_stride
            + cells.columns.len().next_multiple_of(lanes);
        assert!(reach <= sums.len());
        let mut line = cells.rows.start * y.stride;
        for cell in 0..cells.rows.len() {
            for (phase, is_reached) in self.reached.iter().enumerate() {
                if line == y.output {
                    return;
                }
                let mut at = (line - first_line) * x.output + first;
                let end = at + length;
                let space = if whole_lines { target.len() } else { end };
                assert!(end <= space && space <= target.len());
                line += 1;
                if !is_reached {
                    fill(simd, &mut target[..space], at..end, bias);
                    continue;
                }
                let mut from =
                    phase * self.line_phases * self.phase_stride + cell * self.line_stride;
                while N > 0 && at < end && at + N * lanes <= space {
                    let mut vectors = [T::splat(simd, bias); N];
                    for (phase, vector) in vectors.iter_mut().enumerate() {
                        let from = sums.as_ptr().wrapping_add(phase * self.phase_stride + from);
                        // SAFETY: in the sums, by the first assertion.
                        *vector = unsafe { from.cast::<T::Vector<S>>().read_unaligned() };
                    }
                    let turns = take_all_turns::<S, T, N>(simd, vectors);
                    for (i, vector) in turns.into_iter().enumerate() {
                        let at = at + i * lanes;
                        if i > 0 && at >= end {
                            break;
                        }
                        let to = target.as_mut_ptr().wrapping_add(at);
                        // SAFETY: in the space, by the condition of the loop.
                        unsafe { to.cast::<T::Vector<S>>().write_unaligned(vector) };
                    }
                    at += N * lanes;
                    from += lanes;
                }
                if at < end {
                    self.write_cells(&sums[from..], &mut target[at..end]);
                }
            }
        }
    }

    /// Writes the cells of a line value by value.
    #[inline(always)]
    fn write_cells(&self, sums: &[T], target: &mut [MaybeUninit<T>]) {
        let (columns, stride) = (self.line_phases, self.phase_stride);
        for (cell, to) in target.chunks_mut(columns).enumerate() {
            for (phase, to) in to.iter_mut().enumerate() {
                to.write(sums[phase * stride + cell]);
            }
        }
    }
}
