//! The same three results in plain loops: the readable reference of the other kernels, used for calls
//! that are too small to plan for, and where a number is infinite or NaN.
//!
//! The other kernels pad maps with zeros, and `0 * inf` is NaN. These loops multiply by no zero that
//! is not the caller's.

use crate::element::Element;
use crate::long_sum::{ChainSum, LongSum};
use crate::meetings::{each_tap, meetings};
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tuning::MAX_TILE_STEPS;

/// Adds the products of each channel to a plane by `add`. After [`MAX_TILE_STEPS`] products of one
/// value, a new sum begins.
#[inline(always)]
fn add_channels<T: Element>(
    problem: &Problem,
    channels: usize,
    plane: &mut [T],
    add: impl Fn(usize, &mut [T]),
) {
    // Products of one channel in one output or input.
    let products: usize = problem.axes.iter().map(products_per_value).product();
    let at_once = (MAX_TILE_STEPS / products).max(1);
    for channel in 0..channels.min(at_once) {
        add(channel, plane);
    }
    let mut sums = Vec::new();
    for first in (at_once..channels).step_by(at_once) {
        sums.clear();
        sums.resize(plane.len(), T::default());
        for channel in first..channels.min(first + at_once) {
            add(channel, &mut sums);
        }
        for (value, sum) in plane.iter_mut().zip(&sums) {
            *value += *sum;
        }
    }
}

/// The most taps that one input or output value meets on an axis.
fn products_per_value(axis: &Axis) -> usize {
    axis.kernel.min(axis.input.max(axis.output))
}

pub(crate) fn forward<T: Element>(
    threads: Threads,
    problem: &Problem,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let (c_in, c_out, taps) = (problem.group_c_in(), problem.c_out, problem.taps());
    let (input_plane, output_plane) = (problem.input_plane(), problem.output_plane());
    let meetings = problem.axes.each_ref().map(meetings);
    let mut output = vec![T::default(); problem.batch * c_out * output_plane];
    each_plane(threads, &mut output, output_plane, |plane, output| {
        let (map, o) = (plane / c_out, plane % c_out);
        let group = o / problem.group_c_out();
        add_channels(problem, c_in, output, |c, output| {
            let from = (map * problem.groups + group) * c_in + c;
            let input = &input[from * input_plane..][..input_plane];
            let kernel = &weight[(o * c_in + c) * taps..][..taps];
            each_tap(problem, &meetings, |tap, rows| {
                for row in rows {
                    let to = output[row.output..].iter_mut().step_by(row.output_step);
                    for (to, from) in to.zip(&input[row.input..][..row.count]) {
                        *to += *from * kernel[tap];
                    }
                }
            });
        });
        if let Some(bias) = bias {
            output.iter_mut().for_each(|value| *value += bias[o]);
        }
    });
    output
}

pub(crate) fn grad_input<T: Element>(
    threads: Threads,
    problem: &Problem,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let (c_in, c_out, taps) = (problem.group_c_in(), problem.group_c_out(), problem.taps());
    let (input_plane, output_plane) = (problem.input_plane(), problem.output_plane());
    let meetings = problem.axes.each_ref().map(meetings);
    let mut grad = vec![T::default(); problem.batch * problem.c_in * input_plane];
    each_plane(threads, &mut grad, input_plane, |plane, grad| {
        let (map, c) = (plane / problem.c_in, plane % problem.c_in);
        let (group, c) = (c / c_in, c % c_in);
        add_channels(problem, c_out, grad, |o, grad| {
            let o = group * c_out + o;
            let from = map * problem.c_out + o;
            let output = &grad_output[from * output_plane..][..output_plane];
            let kernel = &weight[(o * c_in + c) * taps..][..taps];
            each_tap(problem, &meetings, |tap, rows| {
                for row in rows {
                    let from = output[row.output..].iter().step_by(row.output_step);
                    for (to, from) in grad[row.input..][..row.count].iter_mut().zip(from) {
                        *to += *from * kernel[tap];
                    }
                }
            });
        });
    });
    grad
}

pub(crate) fn grad_weight<T: Element>(
    threads: Threads,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let (c_in, taps) = (problem.group_c_in(), problem.taps());
    let (input_plane, output_plane) = (problem.input_plane(), problem.output_plane());
    let meetings = problem.axes.each_ref().map(meetings);
    let mut grad = vec![T::default(); problem.c_out * c_in * taps];
    each_plane(threads, &mut grad, taps, |plane, grad| {
        let (o, c) = (plane / c_in, plane % c_in);
        let group = o / problem.group_c_out();
        let mut sums = LongSum::new(grad, problem.batch);
        for map in 0..problem.batch {
            if sums.begins() {
                sums.sums().fill(T::default());
            }
            let from = (map * problem.groups + group) * c_in + c;
            let input = &input[from * input_plane..][..input_plane];
            let from = map * problem.c_out + o;
            let output = &grad_output[from * output_plane..][..output_plane];
            let sums_of_taps = sums.sums();
            each_tap(problem, &meetings, |tap, rows| {
                let mut sum = ChainSum::default();
                for row in rows {
                    let from = output[row.output..].iter().step_by(row.output_step);
                    for (a, b) in input[row.input..][..row.count].iter().zip(from) {
                        sum.add(*a * *b);
                    }
                }
                sums_of_taps[tap] += sum.total();
            });
            sums.end_band(map + 1 == problem.batch);
        }
    });
    grad
}

/// Calls `f` with the index and the values of each plane.
fn each_plane<T: Element>(
    threads: Threads,
    values: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    threads.each(values.chunks_exact_mut(size).enumerate(), |(i, plane)| {
        f(i, plane)
    });
}
