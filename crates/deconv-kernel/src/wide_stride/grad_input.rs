//! The gradient of the input at a large stride: scalar products of kernels and windows.

use pulp::{Arch, Simd, WithSimd};

use super::turn;
use crate::buffer::Buffer;
use crate::dot::Dot;
use crate::element::Element;
use crate::long_sum::LongSum;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::{Registers, Step, Steps};
use crate::tuning::{L2_SHARE_BYTES, MAX_TILE_STEPS, UNITS_PER_THREAD};

/// The gradient of the input's operands, and their sizes.
struct GradInput<'a, T: Element> {
    problem: &'a Problem,
    grad_output: &'a [T],
    /// `[c_out, channel][k_h, k_w]`, turned.
    weights: Buffer<T>,
    /// A step for each vector of a kernel.
    steps: Steps,
    step_count: usize,
    /// Rows of the input's gradient in a unit.
    band: usize,
    /// From a line of the copied output's gradient to the next.
    line_stride: usize,
    /// Lines that a unit copies.
    lines: usize,
}

/// Some rows of all channels of a group.
struct GradRows<'a, T> {
    /// The index of the map and the group.
    group: usize,
    /// The first row.
    row: usize,
    /// For each channel.
    rows: Vec<&'a mut [T]>,
}

/// What a thread reuses from unit to unit.
#[derive(Default)]
struct Scratch<T: Element> {
    /// Lines of one channel of the output's gradient, zeros outside.
    lines: Buffer<T>,
    /// `[channel][row][column]`
    sums: Buffer<T>,
}

/// The gradient of the input.
pub(crate) fn grad_input<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let lanes = Registers::of::<T>(arch).lanes;
    let [height, width] = &problem.axes;
    let line_stride = width.full().next_multiple_of(lanes);
    let groups = problem.batch * problem.groups;
    let share = L2_SHARE_BYTES / size_of::<T>();
    let lines = |band: usize| (band - 1) * height.stride + height.kernel;
    let units = |band: usize| groups * height.input.div_ceil(band);
    let wanted = UNITS_PER_THREAD * threads.count();
    let mut band = height.input;
    while band > 1 && (lines(band) * line_stride > share || units(band) < wanted) {
        band = band.div_ceil(2);
    }
    let mut steps = Vec::new();
    for y in 0..height.kernel {
        for x in (0..width.kernel).step_by(lanes) {
            steps.push(Step {
                source: y * line_stride + x,
                weight: y * width.kernel + x,
            });
        }
    }
    let pass = GradInput {
        problem,
        grad_output,
        weights: turn(threads, problem, weight, width.kernel, width.kernel),
        step_count: steps.len(),
        steps: Steps::new(steps),
        band,
        line_stride,
        lines: lines(band),
    };

    let mut grad = vec![T::default(); problem.batch * problem.c_in * problem.input_plane()];
    let mut units: Vec<GradRows<T>> = Vec::new();
    let group_plane = problem.group_c_in() * problem.input_plane();
    for (group, planes) in grad.chunks_mut(group_plane).enumerate() {
        let first = units.len();
        units.extend((0..height.input).step_by(band).map(|row| GradRows {
            group,
            row,
            rows: Vec::with_capacity(problem.group_c_in()),
        }));
        for plane in planes.chunks_mut(problem.input_plane()) {
            let bands = plane.chunks_mut(band * width.input);
            for (unit, rows) in units[first..].iter_mut().zip(bands) {
                unit.rows.push(rows);
            }
        }
    }
    threads.each_with(units.into_iter(), Scratch::<T>::default, |scratch, unit| {
        if scratch.lines.is_empty() {
            scratch.lines = Buffer::new(pass.lines * pass.line_stride);
            scratch.sums = Buffer::new(problem.group_c_in() * band * width.input);
        }
        arch.dispatch(GradUnit {
            pass: &pass,
            unit,
            scratch,
        });
    });
    grad
}

/// The computation of a unit, with the machine's vector instructions.
struct GradUnit<'a, 't, T: Element> {
    pass: &'a GradInput<'a, T>,
    unit: GradRows<'t, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Element> WithSimd for GradUnit<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            pass,
            unit,
            scratch,
        } = self;
        let problem = pass.problem;
        let (c_in, c_out) = (problem.group_c_in(), problem.group_c_out());
        let [height, width] = &problem.axes;
        let rows = pass.band.min(height.input - unit.row);
        let starts: Vec<usize> = (0..width.input).map(|x| x * width.stride).collect();
        let channel_stride = rows * width.input;
        let totals = &mut scratch.sums[..c_in * channel_stride];
        let mut sums = LongSum::new(totals, c_out);
        let (map, group) = (unit.group / problem.groups, unit.group % problem.groups);
        for o in 0..c_out {
            let channel = group * c_out + o;
            pass.copy(map * problem.c_out + channel, unit.row, &mut scratch.lines);
            for row in 0..rows {
                for first in (0..pass.step_count).step_by(MAX_TILE_STEPS) {
                    let dot = Dot {
                        source: &scratch.lines[row * height.stride * pass.line_stride..],
                        weights: &pass.weights[channel * c_in * problem.taps()..],
                        row_stride: problem.taps(),
                        steps: &pass.steps,
                        range: first..pass.step_count.min(first + MAX_TILE_STEPS),
                        begin: sums.begins() && first == 0,
                    };
                    let sums = &mut sums.sums()[row * width.input..];
                    dot.run(simd, c_in, &starts, sums, channel_stride);
                }
            }
            sums.end_band(o + 1 == c_out);
        }
        let channels = scratch.sums.chunks(channel_stride);
        for (to, from) in unit.rows.into_iter().zip(channels) {
            to.copy_from_slice(from);
        }
    }
}

impl<T: Element> GradInput<'_, T> {
    /// Copies the lines of the full map that the band from `row` on reads, zeros where the output
    /// has been cropped.
    #[inline(always)]
    fn copy(&self, plane: usize, row: usize, to: &mut [T]) {
        let [height, width] = &self.problem.axes;
        let size = self.problem.output_plane();
        let plane = &self.grad_output[plane * size..][..size];
        let kept = width.kept();
        for (i, to) in to.chunks_exact_mut(self.line_stride).enumerate() {
            let full_row = row * height.stride + i;
            let y = full_row.checked_sub(height.crop_begin);
            let Some(y) = y.filter(|y| *y < height.output && full_row < height.full()) else {
                to.fill(T::default());
                continue;
            };
            let from = &plane[y * width.output..][..kept.len()];
            to[..kept.start].fill(T::default());
            to[kept.clone()].copy_from_slice(from);
            to[kept.end..].fill(T::default());
        }
    }
}
