//! Copies of a map in which every tap is a constant offset.
//!
//! A large kernel at a large stride has thousands of copies of one channel. They are written in
//! parts, each of which stays in the cache until its taps have been multiplied.

use core::ops::Range;

use crate::ahead::is_large;
use crate::element::Element;
use crate::plan::{AxisPlan, Copied, Plan};
use crate::tuning::{CACHE_LINE_BYTES, MAX_SINGLE_COPIES, MIN_FETCHED_LINE_BYTES};
use crate::vectors::prefetch;

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
    /// Writes some of the copies of a map.
    #[inline(always)]
    pub(crate) fn write<T: Element>(&self, map: &[T], copies: Range<usize>, to: &mut [T]) {
        let [height, width] = &self.plan.axes;
        let problem = &self.plan.problem;
        let maps = problem.batch * problem.groups * self.plan.source.count;
        let fetches = is_large::<T>(maps * map.len())
            && width.source.length * size_of::<T>() >= MIN_FETCHED_LINE_BYTES;
        for (r, row) in height.copies.iter().enumerate() {
            let first = r * width.copies.len();
            let begin = copies.start.max(first);
            let end = copies.end.min(first + width.copies.len());
            if begin >= end {
                continue;
            }
            let columns = &width.copies[begin - first..end - first];
            let to = &mut to[(begin - copies.start) * self.copy_stride..];
            if columns.len() <= MAX_SINGLE_COPIES {
                let copies = columns.iter().zip(to.chunks_mut(self.copy_stride));
                for (copy, (column, to)) in copies.enumerate() {
                    let lines = to.chunks_exact_mut(self.line_stride);
                    for (i, to) in lines.take(self.rows + height.reach).enumerate() {
                        let from = self.source_line(map, *row, i);
                        if copy == 0 && fetches {
                            fetch(from, map.len());
                        }
                        spread(from, width.source.step, *column, to);
                    }
                }
            } else {
                for i in 0..self.rows + height.reach {
                    let from = self.source_line(map, *row, i);
                    if fetches {
                        fetch(from, map.len());
                    }
                    for (column, to) in columns.iter().zip(to.chunks_mut(self.copy_stride)) {
                        let to = &mut to[i * self.line_stride..][..self.line_stride];
                        spread(from, width.source.step, *column, to);
                    }
                }
            }
        }
    }

    /// What line `i` of a copy is made of; nothing outside the map.
    #[inline(always)]
    fn source_line<'a, T>(&self, map: &'a [T], row: Copied, i: usize) -> &'a [T] {
        let [height, width] = &self.plan.axes;
        let y = (self.first_row + i) as isize + row.shift;
        match usize::try_from(y).map(|y| y * height.source.step + row.plane) {
            Ok(y) if y < height.source.length => {
                &map[y * width.source.length..][..width.source.length]
            }
            _ => &[],
        }
    }
}

/// The copies of several small maps, value by value.
pub(crate) struct SmallCopy {
    /// Where the values of a map's copies come from, `[copy][line][cells + reach]`: the index in the map,
    /// or nothing where there is a zero.
    origins: Vec<Option<usize>>,
    /// Values of a copy of a map.
    values: usize,
}

impl SmallCopy {
    /// For maps of which all rows are copied.
    pub(crate) fn new(plan: &Plan) -> Self {
        let [height, width] = &plan.axes;
        let origin = |axis: &AxisPlan, copy: &Copied, cell: usize| {
            let cell = cell.checked_add_signed(copy.shift)?;
            let place = cell * axis.source.step + copy.plane;
            (place < axis.source.length).then_some(place)
        };
        let values = [height, width].map(|axis| axis.cells + axis.reach);
        let mut origins = Vec::with_capacity(plan.copies() * values[0] * values[1]);
        for row in &height.copies {
            for column in &width.copies {
                for (y, x) in (0..values[0]).flat_map(|y| (0..values[1]).map(move |x| (y, x))) {
                    let (y, x) = (origin(height, row, y), origin(width, column, x));
                    origins.push(y.zip(x).map(|(y, x)| y * width.source.length + x));
                }
            }
        }
        Self {
            origins,
            values: values[0] * values[1],
        }
    }

    /// Writes some of the copies, `[copy][map][line][cells + reach]`, of a channel of `maps` maps that
    /// lie `stride` values apart.
    #[inline(always)]
    pub(crate) fn write<T: Element>(
        &self,
        source: &[T],
        stride: usize,
        maps: usize,
        copies: Range<usize>,
        to: &mut [T],
        copy_stride: usize,
    ) {
        let origins = &self.origins[copies.start * self.values..copies.end * self.values];
        let to = to.chunks_mut(copy_stride);
        for (to, origins) in to.zip(origins.chunks_exact(self.values)) {
            if maps < self.values {
                for (map, to) in to.chunks_exact_mut(self.values).take(maps).enumerate() {
                    let source = &source[map * stride..];
                    for (to, origin) in to.iter_mut().zip(origins) {
                        *to = origin.map_or(T::default(), |at| source[at]);
                    }
                }
                continue;
            }
            // The inner loop is the longer one.
            for (at, origin) in origins.iter().enumerate() {
                let to = to[at..].iter_mut().step_by(self.values).take(maps);
                match origin {
                    Some(origin) => {
                        let from = source[*origin..].iter().step_by(stride);
                        to.zip(from).for_each(|(to, from)| *to = *from);
                    }
                    None => to.for_each(|to| *to = T::default()),
                }
            }
        }
    }
}

/// Asks for what lies so far behind a line: that of the next map, which is copied next.
#[inline(always)]
fn fetch<T>(line: &[T], distance: usize) {
    for at in (0..line.len()).step_by(CACHE_LINE_BYTES / size_of::<T>()) {
        prefetch(line.as_ptr().wrapping_add(at + distance));
    }
}

/// Copies a plane of a row, zeros where it has no value.
#[inline(always)]
fn spread<T: Element>(row: &[T], step: usize, column: Copied, to: &mut [T]) {
    let (row, low) = (row.get(column.plane..).unwrap_or(&[]), column.shift);
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
