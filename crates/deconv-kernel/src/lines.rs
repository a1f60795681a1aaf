//! The forward pass for short sums: few input channels and taps, or few products in all.
//!
//! A [pass](crate::pass) packs the weights, and its sums go through the second-level cache. Where an output
//! value is a sum of few products, that costs more than the products. Here some cells are computed from
//! beginning to end before the next: what they read is copied to lines that end in zeros (a few channels of
//! a kernel without overlap are read in place), every tap is a constant offset in them, the weights are read
//! where they are, and the sums of all phases stay in the first-level cache until they are interleaved:
//!
//! ```text
//! for each map and group, some cells:
//!     copy the lines that they read
//!     for up to four output channels:
//!         for each phase:
//!             sums = bias
//!             for each input channel and tap of the phase:  sums += weight * line[cell + offset]
//!         write the lines of the output
//! ```

#![allow(unsafe_code)] // The output's values, all of which `Unit` writes.

mod cut;
mod read;
mod sums;
mod write;

use core::mem::MaybeUninit;
use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::element::Element;
use crate::output::Fresh;
use crate::plan::{Tap, forward_taps};
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tile::{Registers, Step, Steps};
use crate::tuning::{
    CACHE_SETS_BYTES, L2_SHARE_BYTES, MAX_UNCOPIED_CHANNELS, SMALL_PAGE_BYTES, UNITS_PER_THREAD,
};

use self::cut::{Part, parts};
pub(crate) use self::cut::{as_one_line, block};
use self::sums::{MAX_VECTORS, Operands};

/// One axis.
pub(crate) struct Line {
    /// The taps that reach each phase of the output.
    pub(crate) phases: Vec<Vec<Tap>>,
    /// The lowest shift of a tap, and how many more there are up to the highest.
    pub(crate) low: isize,
    pub(crate) reach: usize,
    /// Cells of the longest phase.
    pub(crate) cells: usize,
}

impl Line {
    pub(crate) fn new(axis: &Axis) -> Self {
        let phases: Vec<Vec<Tap>> = (0..axis.stride.min(axis.output))
            .map(|phase| forward_taps(axis, phase))
            .collect();
        let shifts = || phases.iter().flatten().map(|tap| tap.shift);
        let (low, high) = (shifts().min().unwrap_or(0), shifts().max().unwrap_or(0));
        Self {
            low,
            reach: (high - low) as usize,
            cells: axis.output.div_ceil(axis.stride),
            phases,
        }
    }

    /// Whether the taps read the input's values and nothing beside them.
    fn reads_all_of(&self, axis: &Axis) -> bool {
        self.low == 0 && self.reach == 0 && self.cells == axis.input
    }
}

/// The operands, and how they are cut.
struct Lines<'a, T> {
    problem: &'a Problem,
    input: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    axes: [Line; 2],
    /// A step for each tap of a phase, in one input channel, `[phase_h][phase_w]`.
    phases: Vec<Steps>,
    /// Of each row of phases, whether taps reach it.
    reached: Vec<bool>,
    /// The number of phases of a line of the output.
    line_phases: usize,
    /// Rows and columns of cells that are computed at once.
    rows: usize,
    columns: usize,
    /// From a line of what is read to the next, from a channel to the next.
    line_stride: usize,
    channel_stride: usize,
    /// Whether the input is read in place.
    in_place: bool,
    /// From the sums of a phase to the next.
    phase_stride: usize,
    /// Output channels whose sums are there at once.
    targets: usize,
}

/// The transposed convolution.
pub(crate) fn forward<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let lanes = Registers::of::<T>(arch).lanes;
    let problem = &if problem.batch * problem.c_out < threads.count() {
        *problem // Its rows are shared.
    } else {
        as_one_line(problem)
    };
    let lines = Lines::new(problem, lanes, input, weight, bias);
    let parts = parts(problem, &lines, threads);
    let at_once = parts
        .len()
        .div_ceil(2 * UNITS_PER_THREAD * threads.count())
        .max(1);
    Fresh::build(
        problem.batch * problem.c_out * problem.output_plane(),
        |target| {
            let written = AtomicUsize::new(0);
            let mut units = Vec::new();
            let mut rest = target;
            for parts in parts.chunks(at_once) {
                let values = parts.iter().map(|part| part.values(problem)).sum();
                let (target, after) = rest.split_at(values);
                units.push((parts, target));
                rest = after;
            }
            threads.each_with(
                units.into_iter(),
                Scratch::default,
                |scratch, (parts, target)| {
                    let values = target.len();
                    arch.dispatch(Unit {
                        lines: &lines,
                        parts,
                        // SAFETY: each line of each plane of the parts is written, and counted after that.
                        target: unsafe { target.into_values() },
                        scratch,
                    });
                    written.fetch_add(values, Ordering::Relaxed);
                },
            );
            written.into_inner()
        },
    )
}

impl<'a, T: Element> Lines<'a, T> {
    fn new(
        problem: &'a Problem,
        lanes: usize,
        input: &'a [T],
        weight: &'a [T],
        bias: Option<&'a [T]>,
    ) -> Self {
        let axes = problem.axes.each_ref().map(Line::new);
        let [height, width] = &axes;
        let channels = problem.group_c_in();
        let cells = [height.cells, width.cells].map(|cells| cells.max(1));
        let cut::Block {
            cells: [rows, columns],
            targets,
        } = block::<T>(problem, lanes, cells, [height.reach, width.reach]);
        let line_stride = columns + width.reach;
        let plane = size_of::<T>() * problem.input_plane();
        let is_fast = channels <= MAX_UNCOPIED_CHANNELS
            || !plane.is_multiple_of(CACHE_SETS_BYTES)
                && (channels <= 8 * MAX_UNCOPIED_CHANNELS || plane < SMALL_PAGE_BYTES);
        // The last maps are copied after all, since vectors reach behind them.
        let in_place = is_fast
            && channels * plane <= L2_SHARE_BYTES
            && columns == cells[1]
            && problem
                .axes
                .iter()
                .zip(&axes)
                .all(|(axis, line)| line.reads_all_of(axis));
        let channel_stride = if in_place {
            problem.input_plane()
        } else {
            (rows + height.reach) * line_stride
        };
        let mut steps = Vec::with_capacity(height.phases.len() * width.phases.len());
        for y in &height.phases {
            for x in &width.phases {
                let tap = |a: &Tap, b: &Tap| Step {
                    source: (a.shift - height.low) as usize * line_stride
                        + (b.shift - width.low) as usize,
                    weight: a.tap * problem.axes[1].kernel + b.tap,
                };
                let list = y.iter().flat_map(|a| x.iter().map(move |b| tap(a, b)));
                steps.push(Steps::new(list.collect()));
            }
        }
        let line_phases = width.phases.len();
        let is_reached = |row: &[Steps]| row.iter().any(|steps| !steps.all().is_empty());
        Self {
            problem,
            input,
            weight,
            bias,
            reached: steps.chunks(line_phases.max(1)).map(is_reached).collect(),
            line_phases,
            phases: steps,
            rows,
            columns,
            line_stride,
            channel_stride,
            in_place,
            targets,
            phase_stride: (rows * line_stride).next_multiple_of(lanes) + MAX_VECTORS / 2 * lanes,
            axes,
        }
    }
}

/// Some parts, one behind the other.
struct Unit<'a, 't, T: Element> {
    lines: &'a Lines<'a, T>,
    parts: &'a [Part],
    target: &'t mut [MaybeUninit<T>],
    scratch: &'a mut Scratch<T>,
}

/// What a thread reuses from unit to unit.
#[derive(Default)]
struct Scratch<T: Element> {
    copies: Buffer<T>,
    sums: Buffer<T>,
}

impl<T: Element> WithSimd for Unit<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            lines,
            parts,
            target,
            scratch,
        } = self;
        let (problem, lanes) = (lines.problem, T::lanes::<S>());
        let channels = problem.group_c_in();
        // Vectors reach behind the last values.
        let length = channels * lines.channel_stride + MAX_VECTORS * lanes;
        if scratch.copies.len() < length {
            scratch.copies = Buffer::new(length);
        }
        let length = lines.targets * lines.phases.len() * lines.phase_stride + MAX_VECTORS * lanes;
        if scratch.sums.len() < length {
            scratch.sums = Buffer::new(length);
        }
        let plane = problem.output_plane();
        let mut planes = target;
        for part in parts {
            let group = part.map_and_group % problem.groups;
            let first = group * problem.group_c_out() + part.first;
            let input = &lines.input[part.map_and_group * channels * problem.input_plane()..];
            for cells in lines.blocks(&part.rows) {
                let values = lines.read(simd, input, &cells, &mut scratch.copies);
                let sums = &mut scratch.sums;
                for i in (0..part.channels).step_by(lines.targets) {
                    let (o, count) = (first + i, lines.targets.min(part.channels - i));
                    match count {
                        4 => lines.add_up::<S, 4>(simd, o, values, &cells, sums),
                        3 => lines.add_up::<S, 3>(simd, o, values, &cells, sums),
                        2 => lines.add_up::<S, 2>(simd, o, values, &cells, sums),
                        _ => lines.add_up::<S, 1>(simd, o, values, &cells, sums),
                    }
                    let target = &mut planes[i * plane..];
                    lines.write(simd, [o, count], part, &cells, sums, target);
                }
            }
            planes = planes.split_at_mut(part.values(problem)).1;
        }
    }
}

impl<T: Element> Lines<'_, T> {
    /// The cells of some rows, in the order of the output's lines.
    #[inline(always)]
    fn blocks(&self, rows: &Range<usize>) -> impl Iterator<Item = Cells> {
        let (end, width) = (rows.end, self.axes[1].cells);
        rows.clone().step_by(self.rows).flat_map(move |row| {
            (0..width).step_by(self.columns).map(move |column| Cells {
                rows: row..end.min(row + self.rows),
                columns: column..width.min(column + self.columns),
            })
        })
    }

    /// The sums of some rows of cells of `N` output channels, from channel `o` on.
    #[inline(always)]
    fn add_up<S: Simd, const N: usize>(
        &self,
        simd: S,
        o: usize,
        values: &[T],
        cells: &Cells,
        sums: &mut [T],
    ) {
        let kernel_stride = self.problem.group_c_in() * self.problem.taps();
        let channel_stride = self.phases.len() * self.phase_stride;
        let biases = core::array::from_fn(|i| self.bias_of(o + i));
        // Up to the last cell of the last row.
        let count = (cells.rows.len() - 1) * self.line_stride + cells.columns.len();
        for (phase, steps) in self.phases.iter().enumerate() {
            if !self.reached[phase / self.line_phases] {
                continue;
            }
            let operands = Operands::<T, N> {
                channels: self.problem.group_c_in(),
                taps: steps,
                channel: Step {
                    source: self.channel_stride,
                    weight: self.problem.taps(),
                },
                values,
                weights: &self.weight[o * kernel_stride..],
                kernel_stride,
                biases,
            };
            let sums = &mut sums[phase * self.phase_stride..];
            operands.add_up(simd, count, sums, channel_stride);
        }
    }

    fn bias_of(&self, channel: usize) -> T {
        self.bias.map_or(T::default(), |bias| bias[channel])
    }
}

/// Cells whose sums are there at once.
struct Cells {
    rows: Range<usize>,
    columns: Range<usize>,
}
