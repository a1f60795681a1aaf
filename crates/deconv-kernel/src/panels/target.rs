//! From the sums of classes to the target.

#![allow(clippy::needless_range_loop)] // With iterators, the vectors go through memory.
#![allow(unsafe_code)] // The target's values, each of which one unit writes.

use core::array;
use core::ops::Range;

use pulp::Simd;

use super::{Block, Lists, Panels, Segment};
use crate::class::Class;
use crate::element::Element;
use crate::output::Places;
use crate::plan::Plan;
use crate::tile::{MAX_ROWS, VECTORS};
use crate::vectors::{load, take_all_turns};

/// The phases of a row and its neighbour, whose classes have a phase in common.
pub(super) struct RowPhases {
    pub(super) classes: Range<usize>,
    rows: Vec<Row>,
}

/// The phases of one row.
struct Row {
    row: usize,
    columns: Vec<Phase>,
}

/// A phase: the sum of one, two or four classes, by where their sums are.
#[derive(Clone, Copy, Default)]
struct Phase {
    sums: [usize; 4],
    count: usize,
}

/// The phases that a class belongs to, by row and column.
fn phases(class: &Class) -> &[[usize; 2]] {
    &class.phases[0].phases
}

impl RowPhases {
    /// The row, or the first of two.
    pub(super) fn first_row(&self) -> usize {
        self.rows[0].row
    }

    /// Whether it is one of these rows.
    pub(super) fn contains(&self, row: usize) -> bool {
        self.rows.iter().any(|other| other.row == row)
    }

    /// All rows that taps reach. The sums of one class take `values`.
    pub(super) fn all(plan: &Plan, classes: &[Class], values: usize) -> Vec<Self> {
        let [height, width] = plan.axes.each_ref().map(|axis| axis.target.step);
        // The rows of a class are one and half a step further on, or one of them.
        let pairs = if plan.axes[0].paired {
            height / 2
        } else {
            height
        };
        let pair_of = |class: &Class| phases(class)[0][0] % pairs;
        (0..pairs)
            .map(|pair| {
                // They are sorted by rows.
                let first = classes.partition_point(|class| pair_of(class) < pair);
                let end = classes.partition_point(|class| pair_of(class) <= pair);
                let rows = (pair..height).step_by(pairs).map(|row| {
                    let phase = |column: usize| {
                        let mut phase = Phase::default();
                        for (i, class) in classes[first..end].iter().enumerate() {
                            if phases(class).contains(&[row, column]) {
                                phase.sums[phase.count] = i * values;
                                phase.count += 1;
                            }
                        }
                        phase
                    };
                    Row {
                        row,
                        columns: (0..width).map(phase).collect(),
                    }
                });
                Self {
                    classes: first..end,
                    rows: rows.collect(),
                }
            })
            .filter(|rows| !rows.classes.is_empty())
            .collect()
    }
}

/// Some lanes of a vector that lie side by side in the target.
#[derive(Clone, Copy)]
pub(super) struct Store {
    /// Where lane 0 would be, in the group's first target channel.
    at: isize,
    /// The first lane and the one after the last.
    lanes: [usize; 2],
}

impl Store {
    fn values(&self) -> usize {
        self.lanes[1] - self.lanes[0]
    }
}

/// Where a vector goes, if it is stored as a whole.
pub(super) fn whole(stores: &[Store], lanes: usize) -> Option<isize> {
    match stores {
        [store] if store.values() == lanes => Some(store.at),
        _ => None,
    }
}

impl<T: Element> Panels<'_, T> {
    /// What is stored of each vector of cells, `[vector][row of phases][turn]`. `N` is the target's step.
    pub(super) fn list_stores<const N: usize>(
        &self,
        group: usize,
        lanes: usize,
        segments: &Lists<Segment>,
        target: &Places<T>,
        stores: &mut Lists<Store>,
    ) {
        let [height, width] = self.plan.axes.each_ref().map(|axis| axis.target);
        let (count, plane) = (self.plan.target.count, self.plan.target_plane());
        stores.clear();
        for vector in 0..segments.count() {
            for row in 0..height.step {
                if self.empty_rows.contains(&row) {
                    (0..N).for_each(|_| stores.end_list());
                    continue;
                }
                // The lanes of this turn begin here, among those of all.
                for begin in (0..N).map(|turn| turn * lanes) {
                    for segment in segments.list(vector) {
                        let (y, x) = (segment.y * height.step + row, segment.x * N);
                        if y >= height.length {
                            continue;
                        }
                        let map = segment.map * self.plan.problem.groups + group;
                        let first = map * count * plane + y * width.length + x;
                        let length = (segment.length * N).min(width.length - x);
                        assert!(first + (count - 1) * plane + length <= target.length());
                        let lane = segment.lane * N;
                        let lanes =
                            [lane, lane + length].map(|at| at.saturating_sub(begin).min(lanes));
                        if lanes[0] < lanes[1] {
                            let at = (first + begin) as isize - lane as isize;
                            stores.all.push(Store { at, lanes });
                        }
                    }
                    stores.end_list();
                }
            }
        }
    }

    /// The places of rows that no tap reaches, in the group's first target channel, as far as they are neighbours.
    pub(super) fn list_empty_places(
        &self,
        group: usize,
        segments: &Lists<Segment>,
        target: &Places<T>,
        places: &mut Vec<Range<usize>>,
    ) {
        let [height, width] = self.plan.axes.each_ref().map(|axis| axis.target);
        let (count, plane) = (self.plan.target.count, self.plan.target_plane());
        places.clear();
        for row in &self.empty_rows {
            for segment in &segments.all {
                let (y, x) = (segment.y * height.step + row, segment.x * width.step);
                if y >= height.length {
                    continue;
                }
                let map = segment.map * self.plan.problem.groups + group;
                let first = map * count * plane + y * width.length + x;
                let end = first + (segment.length * width.step).min(width.length - x);
                assert!(end + (count - 1) * plane <= target.length());
                match places.last_mut() {
                    Some(last) if last.end == first => last.end = end,
                    _ => places.push(first..end),
                }
            }
        }
    }
}

impl<T: Element> Block<'_, T> {
    /// Writes the bias, or zeros, to the rows that no tap reaches. Returns the number of values.
    #[inline(always)]
    pub(super) fn write_empty_rows<S: Simd>(&self, simd: S) -> usize {
        let (panels, lanes) = (self.panels, T::lanes::<S>());
        let [first, count] = self.channels();
        let all = self.group * panels.plan.target.count + first;
        let mut written = 0;
        for channel in 0..count {
            let bias = panels.bias.map_or(T::default(), |bias| bias[all + channel]);
            let bias = T::splat(simd, bias);
            let to = self
                .target
                .at((first + channel) * panels.plan.target_plane());
            for places in &self.scratch.empty_places {
                let mut at = places.start;
                while at + lanes <= places.end {
                    let to = to.wrapping_add(at).cast::<T::Vector<S>>();
                    // SAFETY: in the target, by the assertion in `list_empty_places`; a cell is in one unit only, and
                    // so is a channel.
                    unsafe { to.write_unaligned(bias) };
                    at += lanes;
                }
                if at < places.end {
                    // SAFETY: as above.
                    unsafe { T::store_lanes(simd, to.wrapping_add(at), 0, places.end - at, bias) };
                }
                written += places.len();
            }
        }
        written
    }

    /// Adds the sums of a block up to phases, interleaves them, and adds the bias. Returns the number of
    /// values. `N` is the target's step.
    #[inline(always)]
    pub(super) fn write<S: Simd, const N: usize>(
        &self,
        simd: S,
        panel: usize,
        phases: &RowPhases,
    ) -> usize {
        let scratch = &*self.scratch;
        let mut written = 0;
        for row in &phases.rows {
            let mut columns = [Phase::default(); N];
            columns.copy_from_slice(&row.columns);
            let are_single = columns.iter().all(|phase| phase.count == 1);
            for index in 0..VECTORS {
                let vector = panel * VECTORS + index;
                let list = (vector * self.panels.plan.axes[0].target.step + row.row) * N;
                let stores = array::from_fn(|turn| scratch.stores.list(list + turn));
                let sums = &scratch.sums[index * T::lanes::<S>()..];
                written += if are_single {
                    self.write_vectors::<S, N, true>(simd, &columns, sums, stores)
                } else {
                    self.write_vectors::<S, N, false>(simd, &columns, sums, stores)
                };
            }
        }
        written
    }

    /// Writes the phases of a vector of cells for each channel of a block.
    #[inline(always)]
    fn write_vectors<S: Simd, const N: usize, const ARE_SINGLE: bool>(
        &self,
        simd: S,
        columns: &[Phase; N],
        sums: &[T],
        stores: [&[Store]; N],
    ) -> usize {
        let lanes = T::lanes::<S>();
        let panels = self.panels;
        let [first, count] = self.channels();
        let zeros = [T::default(); MAX_ROWS];
        let bias = panels.bias.map_or(&zeros[..count], |bias| {
            &bias[self.group * panels.plan.target.count + first..][..count]
        });
        let whole = stores.map(|stores| whole(stores, lanes));
        let (plane, panel) = (panels.plan.target_plane(), panels.panel);
        let mut to = self.target.at(first * plane);
        for (channel, bias) in bias.iter().enumerate() {
            let mut vectors = [T::splat(simd, *bias); N];
            for (vector, phase) in vectors.iter_mut().zip(columns) {
                // A place that no tap reaches has no sums.
                let count = if ARE_SINGLE { 1 } else { phase.count };
                for first in &phase.sums[..count] {
                    let sum = load::<S, T>(simd, sums, first + channel * panel);
                    *vector = T::add_vectors(simd, *vector, sum);
                }
            }
            let turns = take_all_turns::<S, T, N>(simd, vectors);
            for turn in 0..N {
                if let Some(at) = whole[turn] {
                    let to = to.wrapping_offset(at).cast::<T::Vector<S>>();
                    // SAFETY: in the target, by the assertion in `list_stores`; a cell is in one unit only, and
                    // so is a channel.
                    unsafe { to.write_unaligned(turns[turn]) };
                    continue;
                }
                for store in stores[turn] {
                    let to = to.wrapping_offset(store.at);
                    let [from, end] = store.lanes;
                    // SAFETY: as above.
                    unsafe { T::store_lanes(simd, to, from, end, turns[turn]) };
                }
            }
            to = to.wrapping_add(plane);
        }
        let mut values = 0;
        for stores in stores {
            for store in stores {
                values += store.values();
            }
        }
        count * values
    }
}
