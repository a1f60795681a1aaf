//! The copies of a panel: values of the source, and differences of neighbours.

#![allow(clippy::needless_range_loop)] // With iterators, the vectors go through memory.
#![allow(unsafe_code)] // Loads whose bounds `list_loads` asserts once for all channels.

use core::array;
use core::ops::Range;

use pulp::Simd;

use super::{Lists, Panels, Scratch, Segment};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::plan::{AxisPlan, Copied};
use crate::tile::VECTORS;
use crate::tuning::{MAX_COPIED_BYTES, MAX_PANEL_READS};
use crate::vectors::{as_uninit, load, prefetch, store, take_apart};

/// What the copies of one axis read.
pub(super) struct Reads {
    /// The places that are read, from the cell's first value on.
    places: Vec<isize>,
    /// The lowest place of each group of `step` neighbours that has such a place.
    windows: Vec<isize>,
    copies: Vec<Copy>,
}

/// What a copy is made of: a value, or the difference of two. By their index among the places, or, on
/// lines, among all neighbours of all windows.
struct Copy {
    value: usize,
    minus: Option<usize>,
}

impl Reads {
    /// `by_windows` says what the copies' indices are.
    pub(super) fn new(axis: &AxisPlan, by_windows: bool) -> Self {
        let step = axis.source.step as isize;
        let place = |copy: &Copied| copy.shift * step + copy.plane as isize;
        let next = |copy: &Copied| copy.difference.then_some(place(copy) + step / 2);
        let mut places: Vec<isize> = axis.copies.iter().map(place).collect();
        places.extend(axis.copies.iter().filter_map(next));
        places.sort_unstable();
        places.dedup();
        let mut windows: Vec<isize> = Vec::new();
        for place in &places {
            if windows.last().is_none_or(|last| *place >= last + step) {
                windows.push(*place);
            }
        }
        let index = |place: isize| {
            if by_windows {
                let window = windows.partition_point(|first| *first <= place) - 1;
                window * axis.source.step + (place - windows[window]) as usize
            } else {
                places.partition_point(|other| *other < place)
            }
        };
        let copies = axis.copies.iter().map(|copy| Copy {
            value: index(place(copy)),
            minus: next(copy).map(index),
        });
        Self {
            copies: copies.collect(),
            places,
            windows,
        }
    }

    /// The values of all windows.
    pub(super) fn values(&self, axis: &AxisPlan) -> usize {
        self.windows.len() * axis.source.step
    }
}

/// Some lanes of a vector that lie side by side in the source.
#[derive(Clone, Copy)]
pub(super) struct Load {
    /// Where lane 0 would be, in the group's first channel.
    at: isize,
    /// The first lane and the one after the last.
    lanes: [usize; 2],
}

/// What some vectors of cells, one after the other, read of one row and window of a channel.
pub(super) struct Run {
    vectors: Range<usize>,
    /// Where the first of them begins in the channel, if all their values are there side by side.
    whole: Option<isize>,
    /// Otherwise, the first of the only vector's `N` lists of loads.
    loads: usize,
    row: usize,
    window: usize,
}

impl<T: Element> Panels<'_, T> {
    /// Writes the copies of some vectors of cells, for all source channels: `[panel][copy][channel][cell]`.
    /// `N` is the source's step.
    #[inline(always)]
    pub(super) fn copy<S: Simd, const N: usize>(
        &self,
        simd: S,
        group: usize,
        scratch: &mut Scratch<T>,
    ) {
        let lanes = T::lanes::<S>();
        scratch.loads.clear();
        for vector in 0..scratch.segments.count() {
            let segments = scratch.segments.list(vector);
            self.list_loads::<N>(group, lanes, segments, &mut scratch.loads);
        }
        let panels = scratch.segments.count().div_ceil(VECTORS);
        assert!(scratch.copies.len() >= panels * self.panel_copies());
        let vector_start = |vector: usize| {
            let list = self.first_loads::<N>(vector, 0);
            let at = whole::<N>(lanes, list, &scratch.loads);
            at.filter(|_| N == 1 && self.source_steps.is_some())
        };
        let panel_starts = |panel: usize| {
            let [a, b] = array::from_fn(|i| vector_start(panel * VECTORS + i));
            Some([a? as usize, b? as usize])
        };
        scratch.starts.clear();
        scratch.starts.extend((0..panels).map(panel_starts));
        if !self.plan.has_pairs() {
            self.list_runs::<N>(lanes, scratch);
            self.copy_planes::<S, N>(simd, scratch);
        } else if N < 4 {
            self.copy_pairs::<S, N, 8>(simd, scratch);
        } else {
            self.copy_pairs::<S, N, 4>(simd, scratch);
        }
    }

    /// What the vectors read of a channel, `[some panels][row][window][vector]`.
    fn list_runs<const N: usize>(&self, lanes: usize, scratch: &mut Scratch<T>) {
        let windows = self.reads[1].windows.len();
        scratch.runs.clear();
        let at_once = MAX_COPIED_BYTES / (self.panel_copies() * size_of::<T>());
        let at_once = at_once.max(1) * VECTORS;
        let vectors = scratch.segments.count();
        for first in (0..vectors).step_by(at_once) {
            let vectors = first..vectors.min(first + at_once);
            for (row, copy) in self.reads[0].copies.iter().enumerate() {
                for window in 0..windows {
                    let mut last: Option<Run> = None;
                    for vector in vectors.clone() {
                        // Beyond the last cell, or copied later.
                        if scratch.segments.list(vector).is_empty()
                            || scratch.starts[vector / VECTORS].is_some()
                        {
                            continue;
                        }
                        let loads = self.first_loads::<N>(vector, copy.value) + window * N;
                        let whole = whole::<N>(lanes, loads, &scratch.loads);
                        if let Some(run) = &mut last
                            && let (Some(begin), Some(at)) = (run.whole, whole)
                            && at == begin + (run.vectors.len() * N * lanes) as isize
                        {
                            run.vectors.end += 1;
                            continue;
                        }
                        scratch.runs.all.extend(last.replace(Run {
                            vectors: vector..vector + 1,
                            whole,
                            loads,
                            row,
                            window,
                        }));
                    }
                    scratch.runs.all.extend(last);
                }
            }
            scratch.runs.end_list();
        }
    }

    /// The first list of loads of a vector's row, of those of its windows.
    fn first_loads<const N: usize>(&self, vector: usize, row: usize) -> usize {
        let [height, width] = &self.reads;
        (vector * height.places.len() + row) * width.windows.len() * N
    }

    /// The copies without minimal filtering: the source's planes. One channel after the other, since the
    /// processor fetches ahead what is read in order. The part of a later channel is asked for: 14 layers and
    /// gradients took 0.99 to 1.06 times less time, most on large maps.
    #[inline(always)]
    fn copy_planes<S: Simd, const N: usize>(&self, simd: S, scratch: &mut Scratch<T>) {
        let lanes = T::lanes::<S>();
        let columns = &self.reads[1].copies;
        let copies = &mut scratch.copies[..];
        let ahead = 2 * self.plan.source_plane();
        let lists = (0..scratch.runs.count()).map(|list| scratch.runs.list(list));
        let channels = 0..self.plan.source.count;
        for (runs, channel) in lists.flat_map(|runs| channels.clone().map(move |c| (runs, c))) {
            let plane = (channel * self.plan.source_plane()) as isize;
            for run in runs {
                // Where the vectors of a panel go.
                let first = run.row * columns.len() * self.copy_stride + channel * self.panel;
                let mut to = [None; N];
                for (i, column) in columns.iter().enumerate() {
                    if column.value / N == run.window {
                        to[column.value % N] = Some(first + i * self.copy_stride);
                    }
                }
                for vector in run.vectors.clone() {
                    let panel = vector / VECTORS * self.panel_copies() + vector % VECTORS * lanes;
                    let mut vectors = [T::splat(simd, T::default()); N];
                    if let Some(at) = run.whole {
                        let at = (plane + at) as usize + (vector - run.vectors.start) * N * lanes;
                        for n in 0..N {
                            let at = at + n * lanes;
                            vectors[n] = load::<S, T>(simd, self.source, at);
                            prefetch(self.source.as_ptr().wrapping_add(at + ahead));
                        }
                    } else {
                        for n in 0..N {
                            let loads = scratch.loads.list(run.loads + n);
                            [vectors[n]] = self.gather(simd, [plane], loads);
                            for load in loads {
                                let at = plane + load.at + ahead as isize;
                                prefetch(self.source.as_ptr().wrapping_offset(at));
                            }
                        }
                    }
                    let apart = take_apart::<S, T, N>(simd, vectors);
                    for n in 0..N {
                        if let Some(to) = to[n] {
                            store::<S, T>(simd, as_uninit(copies), panel + to, apart[n]);
                        }
                    }
                }
            }
        }
    }

    /// The copies with minimal filtering. So many channels are copied at once, since to find out what a copy is
    /// made of takes longer than to make it. The differences on each line come first, then those of lines.
    #[inline(always)]
    fn copy_pairs<S: Simd, const N: usize, const CHANNELS: usize>(
        &self,
        simd: S,
        scratch: &mut Scratch<T>,
    ) {
        let lanes = T::lanes::<S>();
        let [height, width] = &self.reads;
        let columns = &width.copies;
        let (loads, copies) = (&scratch.loads, &mut scratch.copies);
        let channels = self.plan.source.count;
        assert!(channels.next_multiple_of(CHANNELS) * self.panel <= self.copy_stride);
        // `[row][column][channel][lane]`
        let lines = height.places.len() * columns.len() * CHANNELS * lanes;
        if scratch.lines.len() < lines {
            scratch.lines = Buffer::new(lines);
        }
        let lines = &mut scratch.lines[..lines];
        // What a line is made of, for some channels.
        let mut values = [[T::splat(simd, T::default()); CHANNELS]; MAX_PANEL_READS];
        for first in (0..channels).step_by(CHANNELS) {
            // The last channel fills up.
            let planes: [isize; CHANNELS] = array::from_fn(|i| {
                let channel = (first + i).min(channels - 1);
                (channel * self.plan.source_plane()) as isize
            });
            for vector in 0..scratch.segments.count() {
                if scratch.segments.list(vector).is_empty() {
                    continue; // Beyond the last cell.
                }
                let mut to = 0;
                for row in 0..height.places.len() {
                    let mut list = self.first_loads::<N>(vector, row);
                    for values in values.chunks_exact_mut(N).take(width.windows.len()) {
                        for n in 0..N {
                            values[n] = self.gather(simd, planes, loads.list(list + n));
                        }
                        list += N;
                        for i in 0..CHANNELS {
                            let mut apart = [values[0][i]; N];
                            for n in 0..N {
                                apart[n] = values[n][i];
                            }
                            let apart = take_apart::<S, T, N>(simd, apart);
                            for n in 0..N {
                                values[n][i] = apart[n];
                            }
                        }
                    }
                    for column in columns {
                        let mut vectors = values[column.value];
                        if let Some(minus) = column.minus {
                            for i in 0..CHANNELS {
                                vectors[i] = T::sub_vectors(simd, vectors[i], values[minus][i]);
                            }
                        }
                        for i in 0..CHANNELS {
                            store::<S, T>(simd, as_uninit(lines), to + i * lanes, vectors[i]);
                        }
                        to += CHANNELS * lanes;
                    }
                }
                let mut to = vector / VECTORS * self.panel_copies()
                    + first * self.panel
                    + vector % VECTORS * lanes;
                for row in &height.copies {
                    for column in 0..columns.len() {
                        let place = |row: usize| (row * columns.len() + column) * CHANNELS * lanes;
                        let line = &lines[place(row.value)..][..CHANNELS * lanes];
                        let mut vectors = values[0];
                        for i in 0..CHANNELS {
                            vectors[i] = load::<S, T>(simd, line, i * lanes);
                        }
                        if let Some(minus) = row.minus {
                            let line = &lines[place(minus)..][..CHANNELS * lanes];
                            for i in 0..CHANNELS {
                                let minus = load::<S, T>(simd, line, i * lanes);
                                vectors[i] = T::sub_vectors(simd, vectors[i], minus);
                            }
                        }
                        // SAFETY: the copies of all channels are in the slice, by the assertions, and the last
                        // vector is the panel's last.
                        let first = unsafe { copies.as_mut_ptr().add(to) };
                        for i in 0..CHANNELS {
                            let to = first.wrapping_add(i * VECTORS * lanes);
                            // SAFETY: as above.
                            unsafe { to.cast::<T::Vector<S>>().write_unaligned(vectors[i]) };
                        }
                        to += self.copy_stride;
                    }
                }
            }
        }
    }

    /// A vector of some channels.
    #[inline(always)]
    fn gather<S: Simd, const CHANNELS: usize>(
        &self,
        simd: S,
        planes: [isize; CHANNELS],
        loads: &[Load],
    ) -> [T::Vector<S>; CHANNELS] {
        let mut all = [T::splat(simd, T::default()); CHANNELS];
        for load in loads {
            for i in 0..CHANNELS {
                let part = self.load(simd, planes[i], *load);
                all[i] = T::add_vectors(simd, all[i], part);
            }
        }
        all
    }

    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, plane: isize, Load { at, lanes }: Load) -> T::Vector<S> {
        let from = self.source.as_ptr().wrapping_offset(plane + at);
        // SAFETY: the lanes are in the source, by the assertion in `list_loads`.
        unsafe { T::load_lanes(simd, from, lanes[0], lanes[1]) }
    }

    /// The loads of a vector's cells: a list for each row, window and `N`.
    fn list_loads<const N: usize>(
        &self,
        group: usize,
        lanes: usize,
        segments: &[Segment],
        loads: &mut Lists<Load>,
    ) {
        let [height, width] = self.plan.axes.each_ref().map(|axis| axis.source);
        let plane = self.plan.source_plane();
        let maps = self.plan.problem.groups * self.plan.source.count;
        let last = ((self.plan.source.count - 1) * plane) as isize;
        for row in &self.reads[0].places {
            for window in &self.reads[1].windows {
                for n in 0..N {
                    for segment in segments {
                        let y = (segment.y * height.step) as isize + row;
                        let map = segment.map * maps + group * self.plan.source.count;
                        let line = (map * plane) as isize + y * width.length as isize;
                        // Where the segment's first value is on the line, and in the first vector.
                        let x = (segment.x * N) as isize + window;
                        let lane = (segment.lane * N) as isize;
                        let (first, end) = (0.max(-x), width.length as isize - x);
                        let (first, end) = (first, end.min((segment.length * N) as isize));
                        let skipped = lane - (n * lanes) as isize;
                        let [from, to] =
                            [first, end].map(|at| (at + skipped).clamp(0, lanes as isize) as usize);
                        if !(0..height.length as isize).contains(&y) || from >= to {
                            continue;
                        }
                        let at = line + x - skipped;
                        assert!(
                            at + from as isize >= 0
                                && at + last + to as isize <= self.source.len() as isize
                                && to <= lanes
                        );
                        loads.all.push(Load {
                            at,
                            lanes: [from, to],
                        });
                    }
                    loads.end_list();
                }
            }
        }
    }
}

/// Where `N` vectors begin that lie side by side in the source, if their loads are all of them.
fn whole<const N: usize>(lanes: usize, first: usize, loads: &Lists<Load>) -> Option<isize> {
    let at = loads.list(first).first()?.at;
    let is_whole = |n: usize| {
        let parts = loads.list(first + n);
        let count: usize = parts.iter().map(|load| load.lanes[1] - load.lanes[0]).sum();
        count == lanes
            && parts
                .iter()
                .all(|load| load.at == at + (n * lanes) as isize)
    };
    (0..N).all(is_whole).then_some(at)
}
