//! The weights of a pass, in the order in which its tiles read them.

use crate::buffer::Buffer;
use crate::cut::{self, Block, Channels};
use crate::plan::{Class, Plan};
use crate::threads::Threads;
use crate::tile::{Element, Step, Steps};

/// A class with its packed weights.
pub(crate) struct Packed<T: Element> {
    pub(crate) class: Class,
    /// `[group][unit's target channels][block of rows][channel of the source, tap][row]`, where a
    /// target channel's phases are rows side by side; zeros past the last row.
    pub(crate) weights: Buffer<T>,
    /// Blocks of rows of a unit.
    pub(crate) blocks: usize,
    /// One for each channel of a source block and tap.
    pub(crate) steps: Steps,
    /// Where the vectors of a full band start in the source's lines.
    pub(crate) starts: Vec<usize>,
    /// From a line of the class's sums to the next.
    pub(crate) line: usize,
    /// Rows of a tile.
    pub(crate) rows: usize,
}

impl<T: Element> Packed<T> {
    /// The weights are yet to be packed.
    pub(crate) fn new(
        class: Class,
        plan: &Plan,
        channels: Channels,
        block: &Block,
        most_rows: usize,
    ) -> Self {
        let [height, width] = &plan.axes;
        let all_rows = class.phases.len() * block.targets;
        let blocks = all_rows.div_ceil(most_rows);
        let rows = all_rows.div_ceil(blocks);
        let copy = (block.band + height.reach) * block.line;
        let steps = (0..block.depth).flat_map(|channel| {
            let taps = class.taps.iter().enumerate();
            let count = class.taps.len();
            taps.map(move |(i, (at, [y, x]))| Step {
                source: channel * block.channel + at * copy + y * block.line + x,
                weight: (channel * count + i) * rows,
            })
        });
        let steps = Steps::new(steps.collect());

        let lines = block.band + class.lead[0];
        let cells = width.cells + class.lead[1];
        let (count, line) = cut::vectors(lines, cells, block.line, block.lanes);
        let start = |vector: usize| match line == block.line {
            true => vector * block.lanes,
            false => vector * block.lanes / line * block.line + vector * block.lanes % line,
        };
        let starts = (0..count).map(start).collect();
        let units = channels.groups * channels.target.0.div_ceil(block.targets);
        let size = rows * channels.source.0 * class.taps.len();
        let weights = Buffer::new(units * blocks * size);
        Self {
            class,
            weights,
            blocks,
            steps,
            starts,
            line,
            rows,
        }
    }

    /// The vectors that cover `lines` lines.
    pub(crate) fn vectors(&self, lines: usize, cells: usize, lanes: usize) -> usize {
        ((lines - 1) * self.line + cells).div_ceil(lanes)
    }
}

/// Packs the classes' weights as [`Packed::weights`].
pub(crate) fn pack<T: Element>(
    threads: Threads,
    classes: &mut [Packed<T>],
    channels: Channels,
    block: &Block,
    weight: &[T],
) {
    let mut jobs = Vec::new();
    for packed in classes {
        let (class, blocks, rows) = (&packed.class, packed.blocks, packed.rows);
        let size = rows * channels.source.0 * class.taps.len();
        let weights = packed.weights.chunks_exact_mut(size).enumerate();
        jobs.extend(weights.map(|(i, packed)| Job {
            class,
            blocks,
            rows,
            i,
            packed,
        }));
    }
    // As many at once as make a job worth a thread.
    let all: usize = jobs.iter().map(|job| job.packed.len()).sum();
    let some = (jobs.len() * 16_384).div_ceil(all.max(1));
    let jobs = jobs.chunks_mut(some.max(1));
    threads.each(jobs, |jobs| {
        jobs.iter_mut()
            .for_each(|job| job.pack(channels, block, weight));
    });
}

/// Block of rows `i` of a class.
struct Job<'a, T> {
    class: &'a Class,
    blocks: usize,
    rows: usize,
    i: usize,
    packed: &'a mut [T],
}

impl<T: Element> Job<'_, T> {
    fn pack(&mut self, channels: Channels, block: &Block, weight: &[T]) {
        let (targets, target_stride) = channels.target;
        let units = targets.div_ceil(block.targets);
        let (unit, first_row) = (self.i / self.blocks, self.i % self.blocks * self.rows);
        let (group, first) = (unit / units * channels.group, unit % units * block.targets);

        // Where each row's kernel is in the first channel of the source, and its taps in a kernel.
        let phases = self.class.phases.len();
        let row = |row: usize| {
            let (target, phase) = (row / phases, row % phases);
            let exists = target < block.targets && first + target < targets;
            exists.then(|| (group + (first + target) * target_stride, phase))
        };
        let rows: Vec<_> = (first_row..first_row + self.rows).map(row).collect();
        let taps = self.class.phases.iter().map(|phase| {
            let taps = phase.taps.iter().map(|[y, x]| y * channels.columns + x);
            taps.collect()
        });
        let taps: Vec<Vec<usize>> = taps.collect();

        let size = self.class.taps.len() * self.rows;
        for (r, row) in rows.iter().enumerate() {
            let Some((kernel, phase)) = row else {
                let row = self.packed[r..].iter_mut().step_by(self.rows);
                row.for_each(|packed| *packed = T::default());
                continue;
            };
            let kernels = weight[*kernel..].chunks(channels.source.1);
            let packed = self.packed.chunks_exact_mut(size).zip(kernels);
            let taps = &taps[*phase][..];
            match taps.len() {
                1 => pack_row::<T, 1>(packed, r, self.rows, taps),
                2 => pack_row::<T, 2>(packed, r, self.rows, taps),
                4 => pack_row::<T, 4>(packed, r, self.rows, taps),
                9 => pack_row::<T, 9>(packed, r, self.rows, taps),
                16 => pack_row::<T, 16>(packed, r, self.rows, taps),
                _ => packed.for_each(|(packed, kernel)| {
                    let packed = packed[r..].iter_mut().step_by(self.rows);
                    packed
                        .zip(taps)
                        .for_each(|(packed, tap)| *packed = kernel[*tap]);
                }),
            }
        }
    }
}

/// Packs a row; a constant number of taps takes half the time.
#[inline(always)]
fn pack_row<'a, T: Element, const N: usize>(
    packed: impl Iterator<Item = (&'a mut [T], &'a [T])>,
    row: usize,
    rows: usize,
    taps: &[usize],
) {
    let taps: [usize; N] = core::array::from_fn(|i| taps[i]);
    for (packed, kernel) in packed {
        for (i, tap) in taps.into_iter().enumerate() {
            packed[i * rows + row] = kernel[tap];
        }
    }
}
