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
//! output channel and tap, its steps are the positions, which it sums in their order. No sum
//! depends on how the work is cut.
//!
//! A group with few input channels would leave most lanes idle: see
//! [`scalar_products`](crate::scalar_products).

use core::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::copies::BandCopy;
use crate::element::Element;
use crate::plan::{Choices, Class, Plan};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Registers, Step, Steps, Tile, VECTORS};
use crate::tuning::{MAX_TILE_STEPS, MIN_VALUES_PER_JOB, UNITS_PER_THREAD};

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
    /// Rows of input that are summed at once.
    band: usize,
    /// From a line of the copied output's gradient to the next, from a copy, from a channel.
    line_stride: usize,
    copy_stride: usize,
    channel_stride: usize,
}

impl Cut {
    fn new(plan: &Plan, registers: Registers) -> Self {
        let [height, width] = &plan.axes;
        let c_in = plan.problem.group_c_in();
        let lanes = registers.lanes;
        // No wider than a group's channels.
        let block = lanes * VECTORS.min(c_in.div_ceil(lanes));
        let band = (MAX_TILE_STEPS / width.cells).clamp(1, height.cells);
        let line_stride = width.cells + width.reach;
        let copy_stride = (band + height.reach) * line_stride;
        Self {
            lanes,
            // Weights that lie apart need registers of their own.
            rows: registers.rows / 3 * 2,
            block,
            blocks: c_in.div_ceil(block),
            band,
            line_stride,
            copy_stride,
            channel_stride: plan.copies() * copy_stride,
        }
    }

    /// Channels of a group, with the lanes past its last.
    fn padded_channels(&self) -> usize {
        self.blocks * self.block
    }
}

/// Computes the gradient of the weight, `[c_out, c_in / groups, k_h, k_w]`.
pub(crate) fn grad_weight<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let plan = Plan::grad_input(problem, Choices::default());
    let cut = Cut::new(&plan, Registers::of::<T>(arch));
    let classes = plan.classes();
    let [class] = &classes[..] else {
        unreachable!("the gradient of the input has one phase");
    };
    let operands = Operands {
        plan: &plan,
        class,
        cut,
        input: transpose(arch, threads, problem, cut, input),
        grad_output,
        steps: steps(&plan, cut),
    };

    // A job takes some rows, pairs of output channel and tap, of a group.
    let padded = cut.padded_channels();
    let group_rows = problem.group_c_out() * problem.taps();
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
    reorder(threads, problem, padded, &sums)
}

/// A step for each position of a band.
fn steps(plan: &Plan, cut: Cut) -> Steps {
    let mut steps = Vec::new();
    for y in 0..cut.band {
        for x in 0..plan.axes[1].cells {
            steps.push(Step {
                source: steps.len() * cut.block,
                weight: y * cut.line_stride + x,
            });
        }
    }
    Steps::new(steps)
}

/// From `[o, tap][c]` with `padded` channels to `[o][c][tap]`.
fn reorder<T: Element>(threads: Threads, problem: &Problem, padded: usize, sums: &[T]) -> Vec<T> {
    let taps = problem.taps();
    let channel = problem.group_c_in() * taps;
    let mut grad = vec![T::default(); problem.c_out * channel];
    let at_once = 1 + MIN_VALUES_PER_JOB / channel;
    let jobs = grad.chunks_mut(at_once * channel);
    let jobs = jobs.zip(sums.chunks(at_once * taps * padded));
    threads.each(jobs, |(grad, sums)| {
        let channels = grad.chunks_mut(channel).zip(sums.chunks(taps * padded));
        for (grad, sums) in channels {
            for (c, grad) in grad.chunks_exact_mut(taps).enumerate() {
                let from = sums[c..].iter().step_by(padded);
                grad.iter_mut()
                    .zip(from)
                    .for_each(|(grad, sum)| *grad = *sum);
            }
        }
    });
    grad
}

/// Transposes the input to [`Operands::input`].
fn transpose<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    cut: Cut,
    input: &[T],
) -> Buffer<T> {
    let (plane, c_in) = (problem.input_plane(), problem.group_c_in());
    let Cut { block, blocks, .. } = cut;
    let mut transposed = Buffer::new(problem.groups * blocks * problem.batch * plane * block);
    let positions = MIN_VALUES_PER_JOB / block;
    let mut jobs = Vec::new();
    for (i, to) in transposed.chunks_mut(plane * block).enumerate() {
        let (block_index, map) = (i / problem.batch, i % problem.batch);
        let (group, channel) = (block_index / blocks, block_index % blocks * block);
        let first = (map * problem.groups + group) * c_in + channel;
        for (piece, to) in to.chunks_mut(positions * block).enumerate() {
            jobs.push(Transpose {
                planes: &input[first * plane..],
                plane,
                channels: block.min(c_in - channel),
                position: piece * positions,
                block,
                to,
            });
        }
    }
    threads.each(jobs.into_iter(), |job| arch.dispatch(job));
    transposed
}

/// Writes some planes position by position.
struct Transpose<'a, T> {
    planes: &'a [T],
    /// Values of a plane.
    plane: usize,
    channels: usize,
    /// The first position.
    position: usize,
    /// From a position to the next.
    block: usize,
    /// `[position][block]`
    to: &'a mut [T],
}

impl<T: Element> WithSimd for Transpose<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        /// Positions of a cache line of `f32`.
        const AT_ONCE: usize = 16;
        let Self {
            planes,
            plane,
            channels,
            position,
            block,
            to,
        } = self;
        for (i, to) in to.chunks_mut(AT_ONCE * block).enumerate() {
            let at = position + i * AT_ONCE;
            let positions = to.len() / block;
            for channel in 0..channels {
                let from = &planes[channel * plane + at..][..positions];
                let to = to[channel..].iter_mut().step_by(block);
                for (to, from) in to.zip(from) {
                    *to = *from;
                }
            }
        }
    }
}

/// The sums of some rows of a group.
struct Job<'a, 't, T: Element> {
    operands: &'a Operands<'a, T>,
    group: usize,
    rows: Range<usize>,
    /// `[row][channel]`, with whole blocks of channels.
    sums: &'t mut [T],
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
        let Operands { plan, cut, .. } = operands;
        let problem = &plan.problem;
        let [height, width] = [problem.axes[0].input, problem.axes[1].input];

        let channels = rows.start / problem.taps()..rows.end.div_ceil(problem.taps());
        let offsets = operands.row_offsets(rows, channels.start);
        let mut copies = Buffer::new(channels.len() * cut.channel_stride);
        let output_plane = problem.output_plane();
        for map in 0..problem.batch {
            let first = (map * problem.groups + group) * problem.group_c_out() + channels.start;
            let maps = operands.grad_output[first * output_plane..].chunks_exact(output_plane);
            for row in (0..height).step_by(cut.band) {
                let band = BandCopy {
                    plan,
                    first_row: row,
                    rows: cut.band.min(height - row),
                    line_stride: cut.line_stride,
                    copy_stride: cut.copy_stride,
                };
                let to = copies.chunks_exact_mut(cut.channel_stride);
                for (map, copies) in maps.clone().zip(to) {
                    band.write(map, copies);
                }
                let positions = band.rows * width;
                for block in 0..cut.blocks {
                    let map = (group * cut.blocks + block) * problem.batch + map;
                    let position = (map * height + row) * width;
                    let source = &operands.input[position * cut.block..][..positions * cut.block];
                    let channels = problem.group_c_in() - block * cut.block;
                    let vectors = channels.div_ceil(cut.lanes).min(cut.block / cut.lanes);
                    let starts = &[0, cut.lanes][..vectors];
                    let tiles = sums.chunks_mut(cut.rows * cut.padded_channels());
                    for (sums, rows) in tiles.zip(offsets.chunks(cut.rows)) {
                        let tile = Tile {
                            source,
                            weights: &copies,
                            rows,
                            steps: &operands.steps,
                            range: 0..positions,
                            begin: map == 0 && row == 0,
                        };
                        let sums = &mut sums[block * cut.block..];
                        tile.run(simd, starts, sums, cut.padded_channels());
                    }
                }
            }
        }
    }
}

impl<T: Element> Operands<'_, T> {
    /// Where each row's values are in the copies of the output's gradient, which begin with channel
    /// `first_channel`.
    #[inline(always)]
    fn row_offsets(&self, rows: Range<usize>, first_channel: usize) -> Vec<usize> {
        let (cut, class) = (&self.cut, self.class);
        let taps = class.taps.len();
        let mut offsets = vec![0; taps];
        for (tap, place) in class.phases[0].taps.iter().zip(&class.taps) {
            let [y, x] = place.ahead;
            offsets[*tap] = place.copy * cut.copy_stride + y * cut.line_stride + x;
        }
        rows.map(|row| (row / taps - first_channel) * cut.channel_stride + offsets[row % taps])
            .collect()
    }
}
