//! The weights for minimal filtering: sums of taps, in the order in which the tiles read them.

#![allow(clippy::needless_range_loop)] // With iterators, the vectors go through memory.

use core::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::class::Class;
use crate::cut::even_part;
use crate::element::Element;
use crate::plan::{Plan, TapSum};
use crate::threads::Threads;
use crate::tile::Registers;
use crate::tuning::{
    FETCHED_WEIGHT_VECTORS, MAX_BY_BLOCKS_BYTES, MAX_BY_BLOCKS_CELLS, MAX_OWN_WEIGHTS_BYTES,
    MIN_BY_BLOCKS_TARGETS, MIN_OWN_WEIGHTS_CELLS,
};
use crate::vectors::{as_uninit, load_part, prefetch, store_part, take_all_turns, take_apart};

/// How the weights of all classes are packed, and the packed weights if the threads share them.
pub(super) struct Weights<T: Element> {
    /// `[group][block of target channels][class][source channel, tap][row]`; anything past the last row. Nothing if
    /// each thread packs what it reads.
    values: Buffer<T>,
    /// Target channels of a block, and blocks of a group.
    pub(super) rows: usize,
    pub(super) blocks: usize,
    /// Whether a thread takes some of the blocks with all panels, so nobody else needs what it packs.
    pub(super) by_blocks: bool,
    sums: Vec<PackedSum>,
    /// Where each class begins in a block, and where the last ends.
    classes: Vec<usize>,
}

/// The packed weights of one thread.
#[derive(Default)]
pub(super) struct OwnWeights<T: Element> {
    values: Buffer<T>,
    /// The block of all groups that is packed in each place: in the only place, or in its own.
    packed: Vec<Option<usize>>,
}

impl<T: Element> Weights<T> {
    /// The copies of all panels are so many values.
    pub(super) fn pack(
        arch: Arch,
        threads: Threads,
        registers: Registers,
        plan: &Plan,
        classes: &[Class],
        weight: &[T],
        copies: usize,
    ) -> Self {
        let cells = plan.cells();
        let count = threads.count();
        let by_blocks = count > 1
            && plan.has_pairs()
            && cells <= MAX_BY_BLOCKS_CELLS
            && copies * size_of::<T>() <= MAX_BY_BLOCKS_BYTES
            && plan.target.count >= MIN_BY_BLOCKS_TARGETS * count;
        let parts = if by_blocks { count } else { 1 };
        let rows = even_part(plan.target.count.div_ceil(parts), registers.rows);
        let blocks = plan.target.count.div_ceil(rows);
        let mut starts = vec![0];
        let mut sums = Vec::new();
        for class in classes {
            let start = starts[starts.len() - 1];
            let taps = &class.phases[0].taps;
            for (i, sum) in taps.iter().enumerate() {
                sums.push(PackedSum {
                    sum: *sum,
                    first: start + i * rows,
                    stride: taps.len() * rows,
                });
            }
            // Without the place of one channel more, all classes would fall on the same sets of the cache.
            starts.push(start + (plan.source.count + 1) * taps.len() * rows);
        }
        let mut weights = Self {
            values: Buffer::default(),
            rows,
            blocks,
            by_blocks,
            sums,
            classes: starts,
        };
        let length = plan.problem.groups * blocks * weights.block_length();
        let is_cheap = length * size_of::<T>() <= MAX_OWN_WEIGHTS_BYTES
            && cells >= MIN_OWN_WEIGHTS_CELLS * count;
        if count == 1 || !is_cheap && !by_blocks {
            let mut values = Buffer::new(length);
            let jobs = values.chunks_exact_mut(weights.block_length()).enumerate();
            threads.each(jobs, |(index, to)| {
                arch.dispatch(weights.pack_block(plan, weight, index, to));
            });
            weights.values = values;
        }
        weights
    }

    fn block_length(&self) -> usize {
        self.classes[self.classes.len() - 1]
    }

    /// How to pack one block; `index` counts the blocks of all groups.
    fn pack_block<'a>(
        &'a self,
        plan: &'a Plan,
        weight: &'a [T],
        index: usize,
        to: &'a mut [T],
    ) -> Pack<'a, T> {
        let (group, first) = (index / self.blocks, index % self.blocks * self.rows);
        Pack {
            plan,
            sums: &self.sums,
            weight: &weight[group * plan.problem.group_weights()..],
            first,
            rows: self.rows.min(plan.target.count - first),
            to,
        }
    }

    /// Packs a block for one thread, unless the threads share it or it was packed before.
    #[inline(always)]
    pub(super) fn prepare<S: Simd>(
        &self,
        simd: S,
        plan: &Plan,
        weight: &[T],
        [group, block]: [usize; 2],
        own: &mut OwnWeights<T>,
    ) {
        if !self.values.is_empty() {
            return;
        }
        let length = self.block_length();
        if own.packed.is_empty() {
            let kept = self.own_place(plan.problem.groups * self.blocks - 1) + 1;
            own.packed = vec![None; kept];
            own.values = Buffer::new(kept * length);
        }
        let index = group * self.blocks + block;
        let place = self.own_place(index);
        if own.packed[place] != Some(index) {
            let to = &mut own.values[place * length..][..length];
            simd.vectorize(self.pack_block(plan, weight, index, to));
            own.packed[place] = Some(index);
        }
    }

    /// Where a thread keeps a block that it packs for itself: if it needs each once, all in the same place.
    #[inline(always)]
    fn own_place(&self, index: usize) -> usize {
        if self.by_blocks { 0 } else { index }
    }

    /// From a class to the next, if both have as many taps.
    pub(super) fn class_stride(&self, class: usize) -> usize {
        self.classes[class + 1] - self.classes[class]
    }

    /// Those of some classes of a block, which are [prepared](Self::prepare).
    #[inline(always)]
    pub(super) fn of<'a>(
        &'a self,
        own: &'a OwnWeights<T>,
        [group, block]: [usize; 2],
        classes: Range<usize>,
    ) -> &'a [T] {
        let index = group * self.blocks + block;
        let (values, place) = if self.values.is_empty() {
            (&own.values, self.own_place(index))
        } else {
            (&self.values, index)
        };
        let first = place * self.block_length();
        &values[first..][self.classes[classes.start]..self.classes[classes.end]]
    }
}

/// A sum of taps and where it is packed.
struct PackedSum {
    sum: TapSum,
    /// The first source channel's, and from there to the next's.
    first: usize,
    stride: usize,
}

/// Packs a block of target channels.
struct Pack<'a, T> {
    plan: &'a Plan,
    sums: &'a [PackedSum],
    /// The group's.
    weight: &'a [T],
    /// The first target channel, and how many there are.
    first: usize,
    rows: usize,
    to: &'a mut [T],
}

impl<T: Element> WithSimd for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match T::lanes::<S>() {
            16 => self.pack::<S, 16>(simd),
            8 => self.pack::<S, 8>(simd),
            4 => self.pack::<S, 4>(simd),
            2 => self.pack::<S, 2>(simd),
            _ => self.pack::<S, 1>(simd),
        }
    }
}

impl<T: Element> Pack<'_, T> {
    /// `N` numbers are a vector.
    #[inline(always)]
    fn pack<S: Simd, const N: usize>(mut self, simd: S) {
        let (taps, channels) = (self.plan.problem.taps(), self.plan.source.count);
        let [source, target] = [self.plan.source, self.plan.target].map(|c| c.weight_stride);
        // Where target channels are neighbours, few taps are taken apart faster than kernels turned.
        match taps {
            1 if target == taps => return self.take_apart::<S, 1>(simd, channels, source),
            2 if target == taps => return self.take_apart::<S, 2>(simd, channels, source),
            4 if target == taps => return self.take_apart::<S, 4>(simd, channels, source),
            _ => (),
        }
        // Channels whose weights lie side by side, of a kernel smaller than a vector.
        let at_once = if source == taps { (N / taps).max(1) } else { 1 };
        // Of `N` target channels, `[source channel][tap]`, with whole vectors of taps.
        let zeros = T::splat(simd, T::default());
        let mut kernels = vec![zeros; (at_once * taps).next_multiple_of(N)];
        for channel in (0..channels).step_by(at_once) {
            let some = at_once.min(channels - channel);
            for first in (0..self.rows).step_by(N) {
                let rows = N.min(self.rows - first);
                for i in (0..some * taps).step_by(N) {
                    let lanes = [0, N.min(some * taps - i)];
                    let mut vectors = [zeros; N];
                    for (row, vector) in vectors.iter_mut().enumerate().take(rows) {
                        let kernel = (self.first + first + row) * target + channel * source;
                        let at = (kernel + i) as isize;
                        let ahead = kernel + i + FETCHED_WEIGHT_VECTORS * N;
                        prefetch(self.weight.as_ptr().wrapping_add(ahead));
                        *vector = load_part::<S, T>(simd, self.weight, at, lanes);
                    }
                    let turns = take_all_turns::<S, T, N>(simd, vectors);
                    kernels[i..i + N].copy_from_slice(&turns);
                }
                for (i, kernel) in kernels.chunks_exact(taps).take(some).enumerate() {
                    self.store_sums(simd, kernel, channel + i, first..first + rows);
                }
            }
        }
    }

    /// The same for kernels of `TAPS`, those of a source channel side by side.
    #[inline(always)]
    fn take_apart<S: Simd, const TAPS: usize>(mut self, simd: S, channels: usize, stride: usize) {
        let lanes = T::lanes::<S>();
        let mut kernel = [T::splat(simd, T::default()); TAPS];
        for channel in 0..channels {
            for first in (0..self.rows).step_by(lanes) {
                let rows = lanes.min(self.rows - first);
                let at = channel * stride + (self.first + first) * TAPS;
                for i in 0..TAPS {
                    let end = (rows * TAPS).saturating_sub(i * lanes).min(lanes);
                    // Beyond the last row, a vector that is not used.
                    if end > 0 {
                        let at = (at + i * lanes) as isize;
                        kernel[i] = load_part::<S, T>(simd, self.weight, at, [0, end]);
                    }
                }
                let taps = take_apart::<S, T, TAPS>(simd, kernel);
                self.store_sums(simd, &taps, channel, first..first + rows);
            }
        }
    }

    /// Stores the sums of a source channel's taps for some rows. `kernel` has a vector for each tap.
    #[inline(always)]
    fn store_sums<S: Simd>(
        &mut self,
        simd: S,
        kernel: &[T::Vector<S>],
        channel: usize,
        rows: Range<usize>,
    ) {
        for packed in self.sums {
            let at = packed.first + channel * packed.stride;
            let to = &mut self.to[at + rows.start..at + rows.end];
            store_part::<S, T>(simd, as_uninit(to), 0, packed.sum.of::<S, T>(simd, kernel));
        }
    }
}

impl TapSum {
    /// The sum of some vectors of taps.
    #[inline(always)]
    fn of<S: Simd, T: Element>(&self, simd: S, taps: &[T::Vector<S>]) -> T::Vector<S> {
        let mut sum = T::splat(simd, T::default());
        for tap in self.taps() {
            sum = T::add_vectors(simd, sum, taps[*tap]);
        }
        if self.negative {
            sum = T::sub_vectors(simd, T::splat(simd, T::default()), sum);
        }
        sum
    }
}
