//! The same three results in plain loops: for calls that are too small to plan for, and where a
//! number is infinite or not a number.
//!
//! The other kernels pad maps with zeros, and `0 * inf` is not a number. These loops multiply by
//! no zero that is not the caller's.

use crate::element::Element;
use crate::problem::{Axis, Problem};
use crate::threads::Threads;

/// One tap on one axis: `count` inputs from `input` on meet it, and the outputs from `output` on, a
/// stride apart.
struct Meeting {
    tap: usize,
    input: usize,
    output: usize,
    count: usize,
}

fn meetings(axis: &Axis) -> impl Iterator<Item = Meeting> + Clone + '_ {
    (0..axis.kernel).map(|tap| {
        // Input `i` stands at `at + i * stride` of the output.
        let at = (axis.kernel - 1 - tap) * axis.dilation;
        let (begin, stride) = (axis.crop_begin, axis.stride);
        let input = begin.saturating_sub(at).div_ceil(stride).min(axis.input);
        let end = (begin + axis.output)
            .saturating_sub(at)
            .div_ceil(stride)
            .min(axis.input);
        Meeting {
            tap,
            input,
            output: (at + input * stride).saturating_sub(begin),
            count: end.saturating_sub(input),
        }
    })
}

/// A row of one map and a tap: `count` inputs from `input` on meet the tap, and reach every
/// `output_step`th output from `output` on.
struct Row {
    tap: usize,
    input: usize,
    output: usize,
    count: usize,
    output_step: usize,
}

/// Calls `f` for each row of a map and each tap that meet.
#[inline(always)]
fn each_row(problem: &Problem, mut f: impl FnMut(Row)) {
    let [height, width] = &problem.axes;
    for y in meetings(height) {
        for x in meetings(width) {
            for i in 0..y.count {
                if x.count > 0 {
                    f(Row {
                        tap: y.tap * width.kernel + x.tap,
                        input: (y.input + i) * width.input + x.input,
                        output: (y.output + i * height.stride) * width.output + x.output,
                        count: x.count,
                        output_step: width.stride,
                    });
                }
            }
        }
    }
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
    let mut output = vec![T::default(); problem.batch * c_out * output_plane];
    each_plane(threads, &mut output, output_plane, |plane, output| {
        let (map, o) = (plane / c_out, plane % c_out);
        let group = o / problem.group_c_out();
        for c in 0..c_in {
            let from = (map * problem.groups + group) * c_in + c;
            let input = &input[from * input_plane..][..input_plane];
            let kernel = &weight[(o * c_in + c) * taps..][..taps];
            each_row(problem, |row| {
                let to = output[row.output..].iter_mut().step_by(row.output_step);
                for (to, from) in to.zip(&input[row.input..][..row.count]) {
                    *to += *from * kernel[row.tap];
                }
            });
        }
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
    let mut grad = vec![T::default(); problem.batch * problem.c_in * input_plane];
    each_plane(threads, &mut grad, input_plane, |plane, grad| {
        let (map, c) = (plane / problem.c_in, plane % problem.c_in);
        let (group, c) = (c / c_in, c % c_in);
        for o in group * c_out..(group + 1) * c_out {
            let from = map * problem.c_out + o;
            let output = &grad_output[from * output_plane..][..output_plane];
            let kernel = &weight[(o * c_in + c) * taps..][..taps];
            each_row(problem, |row| {
                let from = output[row.output..].iter().step_by(row.output_step);
                for (to, from) in grad[row.input..][..row.count].iter_mut().zip(from) {
                    *to += *from * kernel[row.tap];
                }
            });
        }
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
    let mut grad = vec![T::default(); problem.c_out * c_in * taps];
    each_plane(threads, &mut grad, taps, |plane, grad| {
        let (o, c) = (plane / c_in, plane % c_in);
        let group = o / problem.group_c_out();
        for map in 0..problem.batch {
            let from = (map * problem.groups + group) * c_in + c;
            let input = &input[from * input_plane..][..input_plane];
            let from = map * problem.c_out + o;
            let output = &grad_output[from * output_plane..][..output_plane];
            each_row(problem, |row| {
                let from = output[row.output..].iter().step_by(row.output_step);
                for (a, b) in input[row.input..][..row.count].iter().zip(from) {
                    grad[row.tap] += *a * *b;
                }
            });
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
