//! The forward pass for groups of one input channel whose taps reach no further than two cells, such as
//! bilinear upsampling: from the input to the output without a buffer between.
//!
//! ```text
//! for each output channel of each map, for each vector of columns of cells:
//!     for each row of cells:
//!         keep the values that the cells read: up to three rows by three shifts, each one vector
//!         for each row of phases:
//!             sum of each phase = bias + its taps times the values
//!             interleave the sums into a line of the output
//! ```

#![allow(unsafe_code)] // The output's values, all of which `Unit` writes.

use core::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::element::Element;
use crate::lines::Line;
use crate::output::Fresh;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tuning::{MAX_PANEL_STEP, UNITS_PER_THREAD};
use crate::vectors::{load_part, store, store_part, take_all_turns};

/// Rows and shifts of values that a cell reads.
const MAX_VALUES: usize = 3;

/// The operands, and what each phase is made of.
struct Depthwise<'a, T> {
    problem: &'a Problem,
    input: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    axes: [Line; 2],
    /// `[phase_h][phase_w]`: each tap's place in the kernel, and that of the value that it meets.
    phases: Vec<Vec<[usize; 2]>>,
}

/// Whether the forward pass can be computed this way, and there are planes for all threads.
pub(crate) fn suits(problem: &Problem, threads: Threads) -> bool {
    let [_, width] = &problem.axes;
    problem.group_c_in() == 1
        && width.stride <= MAX_PANEL_STEP
        && width.stride.is_power_of_two()
        && problem.axes.iter().all(|axis| {
            axis.output >= axis.stride
                && axis.extent() <= MAX_VALUES * axis.stride
                && Line::new(axis).reach < MAX_VALUES
        })
        && problem.batch * problem.c_out >= UNITS_PER_THREAD * threads.count()
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
    let axes = problem.axes.each_ref().map(Line::new);
    let [height, width] = &axes;
    let mut phases = Vec::new();
    for y in &height.phases {
        for x in &width.phases {
            let taps = y.iter().flat_map(|a| x.iter().map(move |b| (a, b)));
            let taps = taps.map(|(a, b)| {
                let value = (a.shift - height.low) * MAX_VALUES as isize + b.shift - width.low;
                [a.tap * problem.axes[1].kernel + b.tap, value as usize]
            });
            phases.push(taps.collect());
        }
    }
    let depthwise = Depthwise {
        problem,
        input,
        weight,
        bias,
        axes,
        phases,
    };
    let (planes, plane) = (problem.batch * problem.c_out, problem.output_plane());
    let at_once = planes.div_ceil(2 * UNITS_PER_THREAD * threads.count());
    Fresh::build(planes * plane, |target| {
        let written = AtomicUsize::new(0);
        let mut units = Vec::new();
        let mut rest = target;
        for first in (0..planes).step_by(at_once) {
            let (target, after) = rest.split_at(at_once.min(planes - first) * plane);
            units.push((first, target));
            rest = after;
        }
        threads.each(units.into_iter(), |(first, target)| {
            let values = target.len();
            arch.dispatch(Unit {
                depthwise: &depthwise,
                first,
                // SAFETY: each line of each plane is written, and counted after that.
                target: unsafe { target.into_values() },
            });
            written.fetch_add(values, Ordering::Relaxed);
        });
        written.into_inner()
    })
}

/// Some planes of the output.
struct Unit<'a, 't, T: Element> {
    depthwise: &'a Depthwise<'a, T>,
    /// The first, among those of all maps.
    first: usize,
    target: &'t mut [MaybeUninit<T>],
}

impl<T: Element> WithSimd for Unit<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let depthwise = self.depthwise;
        let planes = self
            .target
            .chunks_exact_mut(depthwise.problem.output_plane());
        for (i, target) in planes.enumerate() {
            match depthwise.problem.axes[1].stride {
                1 => depthwise.plane::<S, 1>(simd, self.first + i, target),
                2 => depthwise.plane::<S, 2>(simd, self.first + i, target),
                4 => depthwise.plane::<S, 4>(simd, self.first + i, target),
                stride => panic!("a stride of {stride}"),
            }
        }
    }
}

impl<T: Element> Depthwise<'_, T> {
    /// Computes an output channel of a map. `N` is the stride of columns.
    #[inline(always)]
    fn plane<S: Simd, const N: usize>(&self, simd: S, index: usize, target: &mut [MaybeUninit<T>]) {
        let lanes = T::lanes::<S>();
        let problem = self.problem;
        let [y_axis, x_axis] = &problem.axes;
        let [height, width] = &self.axes;
        let (map, channel) = (index / problem.c_out, index % problem.c_out);
        let group = channel / problem.group_c_out();
        let input = &self.input[(map * problem.groups + group) * problem.input_plane()..];
        let input = &input[..problem.input_plane()];
        let kernel = &self.weight[channel * problem.taps()..][..problem.taps()];
        let zero = T::splat(simd, T::default());
        let bias = T::splat(simd, self.bias.map_or(T::default(), |bias| bias[channel]));
        for column in (0..width.cells).step_by(lanes) {
            // The lanes of each shift that are in the input.
            let mut shifts = [(0, [0; 2]); MAX_VALUES];
            for (i, shift) in shifts.iter_mut().enumerate().take(width.reach + 1) {
                let at = (column + i) as isize + width.low;
                let within = |lane: isize| lane.clamp(0, lanes as isize) as usize;
                let [first, end] = [within(-at), within(x_axis.input as isize - at)];
                if first < end {
                    *shift = (at, [first, end]);
                }
            }
            let mut values = [zero; MAX_VALUES * MAX_VALUES];
            for step in 0..height.cells + height.reach {
                // The next row of values, below the others.
                values.copy_within(MAX_VALUES.., 0);
                let row = step.checked_add_signed(height.low);
                let row = row.filter(|row| *row < y_axis.input);
                let last = &mut values[height.reach * MAX_VALUES..][..width.reach + 1];
                for (value, (at, lanes)) in last.iter_mut().zip(shifts) {
                    *value = row.map_or(zero, |row| {
                        let at = (row * x_axis.input) as isize + at;
                        load_part::<S, T>(simd, input, at, lanes)
                    });
                }
                let Some(cell) = step.checked_sub(height.reach) else {
                    continue;
                };
                for (phase, phases) in self.phases.chunks_exact(N).enumerate() {
                    let row = cell * y_axis.stride + phase;
                    if row >= y_axis.output {
                        break;
                    }
                    let mut sums = [bias; N];
                    for (sum, taps) in sums.iter_mut().zip(phases) {
                        for [tap, value] in taps {
                            let weight = T::splat(simd, kernel[*tap]);
                            *sum = T::mul_add(simd, weight, values[*value], *sum);
                        }
                    }
                    let sums = take_all_turns::<S, T, N>(simd, sums);
                    let line = &mut target[row * x_axis.output..][..x_axis.output];
                    let line = &mut line[column * N..];
                    if line.len() >= N * lanes {
                        for (i, sums) in sums.into_iter().enumerate() {
                            store::<S, T>(simd, line, i * lanes, sums);
                        }
                    } else {
                        for (i, sums) in sums.into_iter().enumerate() {
                            store_part::<S, T>(simd, line, (i * lanes) as isize, sums);
                        }
                    }
                }
            }
        }
    }
}
