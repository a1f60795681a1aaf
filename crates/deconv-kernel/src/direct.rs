//! The same three results in plain loops: for calls that are too small to plan for, and where a
//! number is infinite or not a number.
//!
//! The other kernels pad maps with zeros, and `0 * inf` is not a number. These loops multiply by
//! no zero that is not the caller's.

use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tile::Element;

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

/// Calls `f` with the tap, the input's and the output's index, for each pair of a row of one map
/// and a tap; and the number of pairs of values from there on, with the output's stride.
#[inline(always)]
fn each_row(problem: &Problem, mut f: impl FnMut(usize, usize, usize, usize)) {
    let [height, width] = &problem.axes;
    for y in meetings(height) {
        for x in meetings(width) {
            for i in 0..y.count {
                let tap = y.tap * width.kernel + x.tap;
                let input = (y.input + i) * width.input + x.input;
                let output = (y.output + i * height.stride) * width.output + x.output;
                if x.count > 0 {
                    f(tap, input, output, x.count);
                }
            }
        }
    }
}

/// The sizes that all three share.
struct Sizes {
    c_in: usize,
    c_out: usize,
    groups: usize,
    input: usize,
    output: usize,
    taps: usize,
    stride: usize,
}

impl Sizes {
    fn new(problem: &Problem) -> Self {
        let [height, width] = &problem.axes;
        let (c_in, c_out) = (problem.c_in, problem.c_out);
        let groups = problem.groups;
        Self {
            c_in: c_in / groups,
            c_out: c_out / groups,
            groups,
            input: height.input * width.input,
            output: height.output * width.output,
            taps: height.kernel * width.kernel,
            stride: width.stride,
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
    let sizes = Sizes::new(problem);
    let all = sizes.groups * sizes.c_out;
    let mut output = vec![T::default(); problem.batch * all * sizes.output];
    for_each_plane(threads, &mut output, sizes.output, |plane, output| {
        let (map, o) = (plane / all, plane % all);
        let group = o / sizes.c_out;
        for c in 0..sizes.c_in {
            let map = (map * sizes.groups + group) * sizes.c_in + c;
            let input = &input[map * sizes.input..][..sizes.input];
            let kernel = &weight[(o * sizes.c_in + c) * sizes.taps..][..sizes.taps];
            each_row(problem, |tap, i, o, count| {
                let to = output[o..].iter_mut().step_by(sizes.stride);
                for (to, from) in to.zip(&input[i..][..count]) {
                    *to += *from * kernel[tap];
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
    let sizes = Sizes::new(problem);
    let all = sizes.groups * sizes.c_in;
    let mut grad = vec![T::default(); problem.batch * all * sizes.input];
    for_each_plane(threads, &mut grad, sizes.input, |plane, grad| {
        let (map, c) = (plane / all, plane % all);
        let (group, c) = (c / sizes.c_in, c % sizes.c_in);
        for o in group * sizes.c_out..(group + 1) * sizes.c_out {
            let map = map * sizes.groups * sizes.c_out + o;
            let output = &grad_output[map * sizes.output..][..sizes.output];
            let kernel = &weight[(o * sizes.c_in + c) * sizes.taps..][..sizes.taps];
            each_row(problem, |tap, i, o, count| {
                let from = output[o..].iter().step_by(sizes.stride);
                for (to, from) in grad[i..][..count].iter_mut().zip(from) {
                    *to += *from * kernel[tap];
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
    let sizes = Sizes::new(problem);
    let mut grad = vec![T::default(); sizes.groups * sizes.c_out * sizes.c_in * sizes.taps];
    for_each_plane(threads, &mut grad, sizes.taps, |plane, grad| {
        let (o, c) = (plane / sizes.c_in, plane % sizes.c_in);
        let group = o / sizes.c_out;
        for map in 0..problem.batch {
            let from = (map * sizes.groups + group) * sizes.c_in + c;
            let input = &input[from * sizes.input..][..sizes.input];
            let from = map * sizes.groups * sizes.c_out + o;
            let output = &grad_output[from * sizes.output..][..sizes.output];
            each_row(problem, |tap, i, o, count| {
                let from = output[o..].iter().step_by(sizes.stride);
                for (a, b) in input[i..][..count].iter().zip(from) {
                    grad[tap] += *a * *b;
                }
            });
        }
    });
    grad
}

/// Calls `f` with the index and the values of each plane.
fn for_each_plane<T: Element>(
    threads: Threads,
    values: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    threads.each(values.chunks_exact_mut(size).enumerate(), |(i, plane)| {
        f(i, plane)
    });
}
