//! Copies of a map in which every tap is a constant offset.

use crate::plan::Plan;
use crate::tile::Element;

/// Copies what `band` rows of cells, from `cell` on, read of a map: `[copy][line][cells + reach]`.
#[inline(always)]
pub(crate) fn copy_map<T: Element>(
    plan: &Plan,
    map: &[T],
    cell: usize,
    band: usize,
    copy: usize,
    line: usize,
    to: &mut [T],
) {
    let [height, width] = &plan.axes;
    let mut copies = to.chunks_exact_mut(copy);
    for column in &width.copies {
        for row in &height.copies {
            let Some(to) = copies.next() else { return };
            let lines = to.chunks_exact_mut(line).take(band + height.reach);
            for (i, to) in lines.enumerate() {
                let y = (cell + i) as isize + row.shift;
                let y = usize::try_from(y).map(|y| y * height.source_step + row.plane);
                let from = match y {
                    Ok(y) if y < height.source => &map[y * width.source..][..width.source],
                    _ => &[],
                };
                let from = from.get(column.plane..).unwrap_or(&[]);
                spread(from, width.source_step, column.shift, to);
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

/// Every `N`th value of a row; with a constant distance, by vector shuffles.
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
