//! What the taps of some cells read: lines of the input, copied or in place.

use pulp::Simd;

use super::sums::MAX_VECTORS;
use super::{Cells, Lines};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::vectors::{as_uninit, copy, fill};

impl<T: Element> Lines<'_, T> {
    /// What the taps read for some cells.
    #[inline(always)]
    pub(super) fn read<'b, S: Simd>(
        &self,
        simd: S,
        input: &'b [T],
        cells: &Cells,
        copies: &'b mut Buffer<T>,
    ) -> &'b [T] {
        let (problem, plane) = (self.problem, self.problem.input_plane());
        let (channels, lanes) = (problem.group_c_in(), T::lanes::<S>());
        if self.in_place {
            let input = &input[cells.rows.start * self.line_stride..];
            // Vectors reach behind the last row.
            let length =
                (channels - 1) * plane + cells.rows.len() * self.line_stride + MAX_VECTORS * lanes;
            if length <= input.len() {
                return input;
            }
            let there = input.len().min(length);
            copies[..there].copy_from_slice(&input[..there]);
            return copies;
        }
        let [height, width] = &self.axes;
        let columns = problem.axes[1].input;
        // Columns of zeros before the input's, and of the input's that are read.
        let low = cells.columns.start as isize + width.low;
        let before = low.min(0).unsigned_abs().min(self.line_stride);
        let skip = low.max(0) as usize;
        let count = columns.saturating_sub(skip).min(self.line_stride - before);
        let rows = cells.rows.len() + height.reach;
        // Lines that follow each other in the input as they do in the copy.
        let whole = (cells.rows.start as isize + height.low) as usize;
        let is_whole = columns == self.line_stride
            && count == columns
            && whole.saturating_add(rows) <= problem.axes[0].input;
        let zero = T::default();
        for channel in 0..channels {
            let map = &input[channel * plane..];
            let to = &mut copies[channel * self.channel_stride..];
            if is_whole {
                copy(simd, &map[whole * columns..], to, rows * columns);
                continue;
            }
            for i in 0..rows {
                let to = &mut to[i * self.line_stride..];
                let from = (cells.rows.start + i).checked_add_signed(height.low);
                let from = from.filter(|y| *y < problem.axes[0].input);
                let Some(y) = from else {
                    fill(simd, as_uninit(to), 0..self.line_stride, zero);
                    continue;
                };
                fill(simd, as_uninit(to), 0..before, zero);
                if count > 0 {
                    copy(simd, &map[y * columns + skip..], &mut to[before..], count);
                }
                fill(simd, as_uninit(to), before + count..self.line_stride, zero);
            }
        }
        copies
    }
}
