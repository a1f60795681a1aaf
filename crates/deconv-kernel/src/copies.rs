//! Copies of a map in which every tap is a constant offset.
//!
//! A large kernel at a large stride has thousands of copies of one channel. They are written in
//! parts, each of which stays in the cache until its taps have been multiplied.

use core::ops::Range;

use crate::element::Element;
use crate::plan::Plan;

/// The copies of a band of one map: `[copy][line][cells + reach]`.
pub(crate) struct BandCopy<'a> {
    pub(crate) plan: &'a Plan,
    /// The band's first row of cells, and how many rows it has.
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// From a line to the next.
    pub(crate) line_stride: usize,
    /// From a copy to the next.
    pub(crate) copy_stride: usize,
}

impl BandCopy<'_> {
    /// Writes some of the copies of a map. A line of the source is read for all columns' copies
    /// before the next.
    #[inline(always)]
    pub(crate) fn write<T: Element>(&self, map: &[T], copies: Range<usize>, to: &mut [T]) {
        let [height, width] = &self.plan.axes;
        for (r, row) in height.copies.iter().enumerate() {
            let first = r * width.copies.len();
            let end = copies.end.min(first + width.copies.len());
            let begin = copies.start.max(first);
            if begin >= end {
                continue;
            }
            for i in 0..self.rows + height.reach {
                let y = (self.first_row + i) as isize + row.shift;
                let y = usize::try_from(y).map(|y| y * height.source.step + row.plane);
                let from = match y {
                    Ok(y) if y < height.source.length => {
                        &map[y * width.source.length..][..width.source.length]
                    }
                    _ => &[],
                };
                for copy in begin..end {
                    let column = &width.copies[copy - first];
                    let from = from.get(column.plane..).unwrap_or(&[]);
                    let at = (copy - copies.start) * self.copy_stride + i * self.line_stride;
                    let to = &mut to[at..][..self.line_stride];
                    spread(from, width.source.step, column.shift, to);
                }
            }
        }
    }
}

/// Copies every `step`th value of a row, from value `low` of them on, zeros where there are none.
#[inline(always)]
fn spread<T: Element>(row: &[T], step: usize, low: isize, to: &mut [T]) {
    let zeros = to.len().min(low.min(0).unsigned_abs());
    let (before, to) = to.split_at_mut(zeros);
    before.fill(T::default());
    let skip = low.max(0) as usize;
    let count = row.len().div_ceil(step).saturating_sub(skip).min(to.len());
    let (values, after) = to.split_at_mut(count);
    after.fill(T::default());
    if count > 0 {
        let row = &row[skip * step..];
        match step {
            1 => values.copy_from_slice(&row[..count]),
            2 => every::<T, 2>(row, values),
            3 => every::<T, 3>(row, values),
            4 => every::<T, 4>(row, values),
            _ => {
                for (value, from) in values.iter_mut().zip(row.iter().step_by(step)) {
                    *value = *from;
                }
            }
        }
    }
}

/// Every `N`th value of a row. With a constant distance, the compiler uses vector shuffles.
#[inline(always)]
fn every<T: Element, const N: usize>(row: &[T], to: &mut [T]) {
    let whole = (row.len() / N).min(to.len());
    for (value, from) in to[..whole].iter_mut().zip(row.chunks_exact(N)) {
        *value = from[0];
    }
    if let Some(last) = to.get_mut(whole) {
        *last = row[whole * N];
    }
}
