//! The forward pass for groups of one input channel, stride 2 and a kernel of 3 or 4, such as bilinear
//! upsampling: from the input to the output without a buffer between.
//!
//! ```text
//! for each output channel of each map, for each vector of columns of cells:
//!     for each row of cells:
//!         keep the values that the cells read: three rows by three shifts, each one vector
//!         for each of the two rows of phases:
//!             sums of both phases = bias + their taps times the values
//!             interleave the sums into a line of the output
//! ```

#![allow(unsafe_code)] // The output's values, all of which `Unit` writes; loads that `plane` checks.

use core::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::element::Element;
use crate::lines::Line;
use crate::output::Fresh;
use crate::plan::Tap;
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tuning::UNITS_PER_THREAD;
use crate::vectors::{store, store_part, take_all_turns};

/// For both phases of an axis: the first shift that it reads, from the lowest on, and how many.
type Pattern = [(usize, usize); 2];

/// Kernel 4, cropped in the middle; kernel 3, cropped at the end.
const PATTERNS: [Pattern; 2] = [[(0, 2), (1, 2)], [(0, 2), (1, 1)]];

/// The operands.
struct Depthwise<'a, T> {
    problem: &'a Problem,
    input: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    /// The taps of both phases of each axis, by their shift, and the lowest shift.
    taps: [[Vec<Tap>; 2]; 2],
    low: [isize; 2],
}

/// Whether the forward pass can be computed this way.
pub(crate) fn suits(problem: &Problem) -> bool {
    let [height, width] = problem.axes.each_ref().map(pattern);
    problem.group_c_in() == 1 && height.is_some() && height == width
}

/// Whether there are planes for all threads. [`lines`](crate::lines) adds in the same order, and cuts planes too.
pub(crate) fn has_planes_for(threads: Threads, problem: &Problem) -> bool {
    problem.batch * problem.c_out >= UNITS_PER_THREAD * threads.count()
}

/// The index of the axis' pattern.
fn pattern(axis: &Axis) -> Option<usize> {
    let is_small = axis.stride == 2 && axis.kernel <= 4 && axis.output >= 2;
    let (taps, low) = is_small.then(|| taps(axis))?;
    let shifts = taps.map(|taps| taps.iter().map(|tap| tap.shift - low).collect::<Vec<_>>());
    PATTERNS.iter().position(|pattern| {
        let has_shifts = |(shifts, (first, count)): (&Vec<isize>, &(usize, usize))| {
            let all = (*first..first + count).map(|shift| shift as isize);
            shifts.iter().copied().eq(all)
        };
        shifts.iter().zip(pattern).all(has_shifts)
    })
}

/// The taps of both phases, by their shift, and the lowest shift.
fn taps(axis: &Axis) -> ([Vec<Tap>; 2], isize) {
    let line = Line::new(axis);
    let taps = [0, 1].map(|phase| {
        let mut taps = line.phases[phase].clone();
        taps.sort_unstable_by_key(|tap| tap.shift);
        taps
    });
    (taps, line.low)
}

/// The transposed convolution, if it [`suits`].
pub(crate) fn forward<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let pattern = pattern(&problem.axes[0]).expect("a pattern");
    let [(y, low_y), (x, low_x)] = problem.axes.each_ref().map(taps);
    let depthwise = Depthwise {
        problem,
        input,
        weight,
        bias,
        taps: [y, x],
        low: [low_y, low_x],
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
                pattern,
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
    pattern: usize,
    /// The first plane, among those of all maps.
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
            match self.pattern {
                0 => depthwise.plane::<S, 0>(simd, self.first + i, target),
                _ => depthwise.plane::<S, 1>(simd, self.first + i, target),
            }
        }
    }
}

/// The lanes of a vector that lie in a line, and where lane 0 is on it.
#[derive(Clone, Copy, Default)]
struct Shift {
    at: isize,
    first: usize,
    end: usize,
}

impl<T: Element> Depthwise<'_, T> {
    /// Computes an output channel of a map. `P` is the index of the pattern.
    #[inline(always)]
    fn plane<S: Simd, const P: usize>(&self, simd: S, index: usize, target: &mut [MaybeUninit<T>]) {
        let lanes = T::lanes::<S>();
        let problem = self.problem;
        let [height, width] = &problem.axes;
        let (map, channel) = (index / problem.c_out, index % problem.c_out);
        let group = channel / problem.group_c_out();
        let input = &self.input[(map * problem.groups + group) * problem.input_plane()..];
        let input = &input[..problem.input_plane()];
        let kernel = &self.weight[channel * problem.taps()..][..problem.taps()];
        let zero = T::splat(simd, T::default());
        let bias = T::splat(simd, self.bias.map_or(T::default(), |bias| bias[channel]));
        // `[phase_h][tap][phase_w][tap]`
        let mut weights = [[[[zero; 2]; 2]; 2]; 2];
        for (weights, y) in weights.iter_mut().zip(&self.taps[0]) {
            for (weights, a) in weights.iter_mut().zip(y) {
                for (weights, x) in weights.iter_mut().zip(&self.taps[1]) {
                    for (weight, b) in weights.iter_mut().zip(x) {
                        *weight = T::splat(simd, kernel[a.tap * width.kernel + b.tap]);
                    }
                }
            }
        }
        let [_, (last, count)] = PATTERNS[P];
        let reach = last + count - 1;
        for column in (0..width.output.div_ceil(2)).step_by(lanes) {
            let mut shifts = [Shift::default(); 3];
            for (i, shift) in shifts.iter_mut().enumerate().take(reach + 1) {
                let at = (column + i) as isize + self.low[1];
                let within = |lane: isize| lane.clamp(0, lanes as isize) as usize;
                let (first, end) = (within(-at), within(width.input as isize - at));
                if first < end {
                    assert!(at + first as isize >= 0 && at + end as isize <= width.input as isize);
                    *shift = Shift { at, first, end };
                }
            }
            let mut values = [[zero; 3]; 3];
            for step in 0..height.output.div_ceil(2) + reach {
                // The next row of values, below the others.
                [values[0], values[1]] = [values[1], values[2]];
                let row = (step as isize + self.low[0]) as usize;
                if row < height.input {
                    let line = input[row * width.input..][..width.input].as_ptr();
                    for (value, shift) in values[reach].iter_mut().zip(shifts).take(reach + 1) {
                        let from = line.wrapping_offset(shift.at);
                        // SAFETY: the lanes lie in the line, by the assertion.
                        *value = unsafe { T::load_lanes(simd, from, shift.first, shift.end) };
                    }
                } else {
                    values[reach] = [zero; 3];
                }
                if step < reach {
                    continue;
                }
                for phase in 0..2 {
                    let row = 2 * (step - reach) + phase;
                    if row >= height.output {
                        break;
                    }
                    let mut sums = [bias; 2];
                    let (y, rows) = PATTERNS[P][phase];
                    // In the order of `lines`, which takes over where planes are fewer than threads.
                    for a in (0..rows).rev() {
                        for column in 0..2 {
                            let (x, columns) = PATTERNS[P][column];
                            for b in (0..columns).rev() {
                                let weight = weights[phase][a][column][b];
                                let value = values[y + a][x + b];
                                sums[column] = T::mul_add(simd, weight, value, sums[column]);
                            }
                        }
                    }
                    let sums = take_all_turns::<S, T, 2>(simd, sums);
                    let line = &mut target[row * width.output..][..width.output];
                    let line = &mut line[2 * column..];
                    if let Some(line) = line.get_mut(..2 * lanes) {
                        store::<S, T>(simd, line, 0, sums[0]);
                        store::<S, T>(simd, line, lanes, sums[1]);
                    } else {
                        store_part::<S, T>(simd, line, 0, sums[0]);
                        store_part::<S, T>(simd, line, lanes as isize, sums[1]);
                    }
                }
            }
        }
    }
}
