//! The gradient of the weight.
//!
//! ```text
//! grad_weight[o, c, tap] = sum over the maps and positions i of
//!     input[c, i] * grad_output[o, i * s + the tap's place]
//! ```
//!
//! The input is transposed once: the channels of a position lie side by side and become the lanes
//! of a tile. The output's gradient is copied as for the gradient of the input: plane by plane,
//! lines that end in zeros, where every tap is a constant offset. The rows of a tile are pairs of
//! output channel and tap, its steps are the positions of a band. Each band is summed from zero and
//! added to the others' sums in a fixed order: no sum depends on how the work is cut.
//!
//! A group with one input channel, or a few, leaves most lanes idle; on all but small maps,
//! [`scalar_products`](crate::scalar_products) is faster.

use core::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::ahead::{Ahead, is_large};
use crate::buffer::Buffer;
use crate::class::Class;
use crate::copies::{BandCopy, SmallCopy};
use crate::cut::copies_at_once;
use crate::element::Element;
use crate::long_sum::LongSum;
use crate::plan::{Choices, Plan};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Fetching, Registers, Step, Steps, Sums, Tile, VECTORS};
use crate::transpose::{reorder, transpose};
use crate::tuning::{
    L2_SHARE_BYTES, MAX_L2_SHARES, MAX_SMALL_COPIES, MAX_TILE_STEPS, MIN_TILE_STEPS,
    UNITS_PER_THREAD,
};

/// The operands, and how they are cut.
struct Operands<'a, T: Element> {
    plan: &'a Plan,
    class: &'a Class,
    cut: Cut,
    /// `[group][block of channels][map, position][channel]`, anything past the last channel.
    input: Buffer<T>,
    /// `[batch, c_out, O_h, O_w]`
    grad_output: &'a [T],
    /// A step for each position of a band.
    steps: Steps,
    /// If a band has several small maps.
    small: Option<SmallCopy>,
}

/// How the work is cut.
#[derive(Clone, Copy)]
struct Cut {
    lanes: usize,
    /// Rows of a tile.
    rows: usize,
    /// Input channels of a block, and blocks of a group.
    block: usize,
    blocks: usize,
    /// Maps that are summed at once: one, or all rows of several small ones.
    maps: usize,
    /// Rows of input that are summed at once, of each map.
    band: usize,
    /// From a line of the copied output's gradient to the next, from a copy, from a channel.
    line_stride: usize,
    copy_stride: usize,
    channel_stride: usize,
    /// From a map to the next in a copy.
    map_stride: usize,
    /// Output channels that are copied at once.
    sweep_channels: usize,
    /// Copies of a channel that are there at once: all, or, of one channel, perhaps only some.
    sweep_copies: usize,
}

impl Cut {
    fn new<T>(plan: &Plan, registers: Registers) -> Self {
        let [height, width] = &plan.axes;
        let c_in = plan.problem.group_c_in();
        let lanes = registers.lanes;
        // No wider than a group's channels.
        let block = lanes * VECTORS.min(c_in.div_ceil(lanes));
        let band = (MAX_TILE_STEPS / width.cells).clamp(1, height.cells);
        let line_stride = width.cells + width.reach;
        let positions = height.cells * width.cells;
        let map_stride = (band + height.reach) * line_stride;
        let maps = if positions < MIN_TILE_STEPS && plan.copies() <= MAX_SMALL_COPIES {
            let fit = L2_SHARE_BYTES / size_of::<T>() / (plan.copies() * map_stride);
            (2 * MIN_TILE_STEPS / positions)
                .clamp(1, fit.max(1))
                .min(plan.problem.batch)
        } else {
            1
        };
        let copy_stride = maps * map_stride;
        let sweep_copies = copies_at_once::<T>(plan, copy_stride);
        let channel_stride = sweep_copies * copy_stride;
        let sweep_channels = if sweep_copies == plan.copies() {
            let most = MAX_L2_SHARES * L2_SHARE_BYTES / size_of::<T>();
            (most / channel_stride).max(1)
        } else {
            1
        };
        Self {
            lanes,
            // Weights that lie apart need registers of their own.
            rows: registers.rows / 3 * 2,
            block,
            blocks: c_in.div_ceil(block),
            maps,
            band,
            line_stride,
            copy_stride,
            channel_stride,
            map_stride,
            sweep_channels,
            sweep_copies,
        }
    }

    /// Channels of a group, with the lanes past its last.
    fn padded_channels(&self) -> usize {
        self.blocks * self.block
    }
}

/// Computes the gradient of the weight, `[c_out, c_in / groups, k_h, k_w]`; nothing, if a value of the input
/// is infinite or NaN.
pub(crate) fn grad_weight<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Option<Vec<T>> {
    let plan = Plan::grad_input(problem, Choices::default());
    let classes = plan.classes();
    let [class] = &classes[..] else {
        // There is one phase. Without a class, no tap meets a value.
        return Some(vec![
            T::default();
            problem.c_out * problem.group_c_in() * problem.taps()
        ]);
    };
    let cut = Cut::new::<T>(&plan, Registers::of::<T>(arch));
    let operands = Operands {
        plan: &plan,
        class,
        cut,
        input: transpose(arch, threads, problem, cut.block, input)?,
        grad_output,
        steps: steps(&plan, cut),
        small: (cut.maps > 1).then(|| SmallCopy::new(&plan)),
    };

    // A job takes some rows, pairs of output channel and tap, of a group.
    let padded = cut.padded_channels();
    let group_rows = problem.group_c_out() * class.taps.len();
    let jobs = (UNITS_PER_THREAD * threads.count()).div_ceil(problem.groups);
    let job_rows = group_rows
        .div_ceil(jobs)
        .next_multiple_of(cut.rows)
        .min(group_rows);
    let mut sums = Buffer::new(problem.groups * group_rows * padded);
    let mut jobs = Vec::new();
    for (group, sums) in sums.chunks_mut(group_rows * padded).enumerate() {
        for (i, sums) in sums.chunks_mut(job_rows * padded).enumerate() {
            let first = i * job_rows;
            jobs.push(Job {
                operands: &operands,
                group,
                rows: first..first + sums.len() / padded,
                sums,
            });
        }
    }
    threads.each(jobs.into_iter(), |job| arch.dispatch(job));
    let places = places(class, problem.taps(), padded);
    Some(reorder(arch, threads, problem, &places, &sums))
}

/// A step for each position of a band.
fn steps(plan: &Plan, cut: Cut) -> Steps {
    let mut steps = Vec::new();
    for map in 0..cut.maps {
        for y in 0..cut.band {
            for x in 0..plan.axes[1].cells {
                steps.push(Step {
                    source: steps.len() * cut.block,
                    weight: map * cut.map_stride + y * cut.line_stride + x,
                });
            }
        }
    }
    Steps::new(steps)
}

/// Where the sums of each tap of the kernel begin, of those that meet values.
fn places(class: &Class, taps: usize, padded: usize) -> Vec<Option<usize>> {
    let mut places = vec![None; taps];
    for (place, weight) in class.phases[0].taps.iter().enumerate() {
        places[weight.taps()[0]] = Some(place * padded);
    }
    places
}

/// The sums of some rows of a group.
struct Job<'a, 't, T: Element> {
    operands: &'a Operands<'a, T>,
    group: usize,
    rows: Range<usize>,
    /// `[row][channel]`, with whole blocks of channels.
    sums: &'t mut [T],
}

/// Rows whose copies are there at once: those of some output channels, or, of one channel, those
/// that read some of its copies.
struct Sweep {
    /// In the group.
    channels: Range<usize>,
    copies: Range<usize>,
    /// The index of its first row in the job.
    first_row: usize,
    /// Where each row's values are in the copies.
    offsets: Vec<usize>,
}

/// Positions that are summed from zero.
struct Band {
    /// The first map.
    map: usize,
    maps: usize,
    row: usize,
    rows: usize,
    /// Those of the rows that are summed; all but in lines that are longer than a tile's steps.
    positions: Range<usize>,
    /// Whether it is the last of all.
    last: bool,
}

/// What is copied and multiplied at once.
#[derive(Clone, Copy)]
struct Part<'a> {
    group: usize,
    band: &'a Band,
    sweep: &'a Sweep,
}

impl<T: Element> WithSimd for Job<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            operands,
            group,
            rows,
            sums,
        } = self;
        let cut = &operands.cut;
        let sweeps = operands.sweeps(rows);
        let channels = sweeps.iter().map(|sweep| sweep.channels.len()).max();
        let mut copies = Buffer::new(channels.unwrap_or(0) * cut.channel_stride);
        let bands = operands.bands();
        let mut sums = LongSum::new(sums, bands.len());
        let part = |band, sweep| Part { group, band, sweep };
        let parts = |band| sweeps.iter().map(move |sweep| part(band, sweep));
        let mut following = bands.iter().flat_map(parts).skip(1);
        for band in &bands {
            for part in parts(band) {
                // The copies of a long line serve all its bands.
                if band.positions.start == 0 || sweeps.len() > 1 {
                    operands.copy(part, &mut copies);
                }
                let ahead = operands.ahead(part, following.next());
                operands.multiply(simd, part, &copies, ahead, &mut sums);
            }
            sums.end_band(band.last);
        }
    }
}

impl<T: Element> Operands<'_, T> {
    /// All positions, in the order of their sums.
    #[inline(always)]
    fn bands(&self) -> Vec<Band> {
        let problem = &self.plan.problem;
        let (height, most) = (problem.axes[0].input, self.cut.band);
        let mut bands = Vec::new();
        for map in (0..problem.batch).step_by(self.cut.maps) {
            let maps = self.cut.maps.min(problem.batch - map);
            for row in (0..height).step_by(most) {
                let rows = most.min(height - row);
                let all = maps * rows * problem.axes[1].input;
                for first in (0..all).step_by(MAX_TILE_STEPS) {
                    let end = all.min(first + MAX_TILE_STEPS);
                    bands.push(Band {
                        map,
                        maps,
                        row,
                        rows,
                        positions: first..end,
                        last: map + maps == problem.batch && row + rows == height && end == all,
                    });
                }
            }
        }
        bands
    }

    /// Divides rows into those whose copies are there at once.
    #[inline(always)]
    fn sweeps(&self, rows: Range<usize>) -> Vec<Sweep> {
        let (cut, taps) = (&self.cut, self.class.taps.len());
        let all = self.plan.copies();
        let mut sweeps = Vec::new();
        let channels = rows.start / taps..rows.end.div_ceil(taps);
        for channel in channels.clone().step_by(cut.sweep_channels) {
            let channels = channel..channels.end.min(channel + cut.sweep_channels);
            for copy in (0..all).step_by(cut.sweep_copies) {
                let copies = copy..all.min(copy + cut.sweep_copies);
                // Several channels with all their taps, or one with some.
                let taps_read = self.class.taps_of(copies.clone());
                let first = (channels.start * taps + taps_read.start).max(rows.start);
                let end = ((channels.end - 1) * taps + taps_read.end).min(rows.end);
                if first < end {
                    let offset = |row: usize| {
                        let place = &self.class.taps[row % taps];
                        let [y, x] = place.ahead;
                        (row / taps - channels.start) * cut.channel_stride
                            + (place.copy - copies.start) * cut.copy_stride
                            + y * cut.line_stride
                            + x
                    };
                    sweeps.push(Sweep {
                        first_row: first - rows.start,
                        offsets: (first..end).map(offset).collect(),
                        channels: channels.clone(),
                        copies,
                    });
                }
            }
        }
        sweeps
    }

    /// Copies what a sweep reads of the output's gradient.
    #[inline(always)]
    fn copy(&self, part: Part, to: &mut [T]) {
        let Part { group, band, sweep } = part;
        let problem = &self.plan.problem;
        let copy = BandCopy {
            plan: self.plan,
            first_row: band.row,
            rows: band.rows,
            line_stride: self.cut.line_stride,
            copy_stride: self.cut.copy_stride,
        };
        let plane = problem.output_plane();
        let first = (band.map * problem.groups + group) * problem.group_c_out();
        let to = to.chunks_exact_mut(self.cut.channel_stride);
        for (channel, to) in sweep.channels.clone().zip(to) {
            let source = &self.grad_output[(first + channel) * plane..];
            let copies = sweep.copies.clone();
            if let Some(small) = &self.small {
                let stride = problem.c_out * plane;
                small.write(source, stride, band.maps, copies, to, self.cut.copy_stride);
            } else {
                copy.write(&source[..plane], copies, to);
            }
        }
    }

    /// What is copied next of the output's gradient, if that is large, for the tiles of a part.
    fn ahead(&self, part: Part, next: Option<Part>) -> Ahead<T> {
        let Some(Part { group, band, sweep }) = next else {
            return Ahead::nothing();
        };
        if !is_large::<T>(self.grad_output.len()) {
            return Ahead::nothing();
        }
        let problem = &self.plan.problem;
        let height = &problem.axes[0];
        let (plane, width) = (problem.output_plane(), problem.axes[1].output);
        let row = |row: usize| (row * height.stride).min(height.output) * width;
        let (begin, end) = (row(band.row), row(band.row + band.rows));
        let runs = (band.map..band.map + band.maps).flat_map(|map| {
            let first = (map * problem.groups + group) * problem.group_c_out();
            sweep.channels.clone().map(move |channel| {
                let at = (first + channel) * plane + begin;
                (self.grad_output[at..].as_ptr(), end - begin)
            })
        });
        let tiles = self.cut.blocks * part.sweep.offsets.len().div_ceil(self.cut.rows);
        Ahead::new(runs, tiles)
    }

    /// Adds a part's products to the sums of its rows, or stores them.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        part: Part,
        copies: &[T],
        mut ahead: Ahead<T>,
        sums: &mut LongSum<T>,
    ) {
        let Part { group, band, sweep } = part;
        let (problem, cut) = (&self.plan.problem, &self.cut);
        let begin = sums.begins();
        let sums = &mut sums.sums()[sweep.first_row * cut.padded_channels()..];
        let width = problem.axes[1].input;
        let positions = band.maps * band.rows * width;
        for block in 0..cut.blocks {
            let map = (group * cut.blocks + block) * problem.batch + band.map;
            let first = map * problem.input_plane() + band.row * width;
            let source = &self.input[first * cut.block..][..positions * cut.block];
            let channels = problem.group_c_in() - block * cut.block;
            let vectors = channels.div_ceil(cut.lanes).min(cut.block / cut.lanes);
            let starts = &[0, cut.lanes][..vectors];
            let tiles = sums.chunks_mut(cut.rows * cut.padded_channels());
            for (sums, rows) in tiles.zip(sweep.offsets.chunks(cut.rows)) {
                let tile = Tile {
                    source,
                    weights: copies,
                    rows,
                    steps: &self.steps,
                    range: band.positions.clone(),
                };
                let sums = Sums {
                    values: &mut sums[block * cut.block..],
                    stride: cut.padded_channels(),
                    begin,
                };
                if let [a, b] = *starts {
                    let places = Fetching(ahead.next(tile.range.len()));
                    tile.run_beside(simd, [a, b], sums, places);
                } else {
                    tile.run(simd, starts, sums);
                }
            }
        }
    }
}
