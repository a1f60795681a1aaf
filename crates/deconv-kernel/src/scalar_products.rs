//! The gradient of the weight where a group has few input channels.
//!
//! The input is copied line by line, as the output's gradient is: lines that end in zeros. The
//! gradient of a tap is then the scalar product of the two copies, the tap's offset apart.

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::copies::copy_map;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tile::Element;

/// Values of a copy that are multiplied at once.
const BAND: usize = 2048;

/// Computes the gradient of the weight, `[c_out, c_in / groups, k_h, k_w]`.
pub(crate) fn grad_weight<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let plan = Plan::grad_input(problem, false);
    let [_, c_in, k_h, k_w] = problem.weight_shape();
    let mut grad = vec![T::default(); problem.weight_shape().iter().product()];
    let channels = grad.chunks_exact_mut(c_in * k_h * k_w).enumerate();
    threads.each_with(channels, Copies::default, |copies, (channel, grad)| {
        arch.dispatch(Products {
            problem,
            plan: &plan,
            input,
            grad_output,
            channel,
            copies,
            grad,
        });
    });
    grad
}

/// What a thread reuses from channel to channel.
#[derive(Default)]
struct Copies<T: Element> {
    input: Buffer<T>,
    grad_output: Buffer<T>,
}

/// The gradients of one output channel's weights, `[c_in, k_h, k_w]`.
struct Products<'a, 't, T: Element> {
    problem: &'a Problem,
    plan: &'a Plan,
    input: &'a [T],
    grad_output: &'a [T],
    channel: usize,
    copies: &'t mut Copies<T>,
    grad: &'t mut [T],
}

impl<T: Element> WithSimd for Products<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self {
            problem,
            plan,
            input,
            grad_output,
            channel,
            copies,
            grad,
        } = self;
        let [c_out, c_in, k_h, k_w] = problem.weight_shape();
        let group = channel / (c_out / problem.groups);
        let [height, width] = &plan.axes;
        let [h, w] = problem.axes.map(|axis| axis.input);
        let classes = plan.classes();
        let Some(class) = classes.first() else { return };

        let line = width.cells + width.reach;
        let band = (BAND / line).clamp(1, h);
        let copy = (band + height.reach) * line;
        let length = height.copies.len() * width.copies.len() * copy;
        if copies.grad_output.len() < length {
            copies.input = Buffer::new(band * line);
            copies.input.fill(T::default());
            copies.grad_output = Buffer::new(length);
        }

        let [o_h, o_w] = [height.source, width.source];
        for map in 0..problem.batch {
            let first = (map * c_out + channel) * o_h * o_w;
            let grad_output = &grad_output[first..][..o_h * o_w];
            for row in (0..h).step_by(band) {
                let rows = band.min(h - row);
                copy_map(
                    plan,
                    grad_output,
                    row,
                    rows,
                    copy,
                    line,
                    &mut copies.grad_output,
                );
                for c in 0..c_in {
                    let first = ((map * problem.groups + group) * c_in + c) * h * w;
                    let lines = input[first + row * w..].chunks_exact(w).take(rows);
                    for (to, from) in copies.input.chunks_exact_mut(line).zip(lines) {
                        to[..w].copy_from_slice(from);
                    }
                    // The last line's zeros are no part of it.
                    let input = &copies.input[..rows * line - (line - w)];
                    let grad = &mut grad[c * k_h * k_w..];
                    for ((at, [y, x]), [a, b]) in class.taps.iter().zip(&class.phases[0].taps) {
                        let grad_output = &copies.grad_output[at * copy + y * line + x..];
                        grad[a * k_w + b] += scalar_product(input, grad_output);
                    }
                }
            }
        }
    }
}

/// The sum of the products, in an order that vectors of any length can keep.
#[inline(always)]
fn scalar_product<T: Element>(a: &[T], b: &[T]) -> T {
    let b = &b[..a.len()];
    let mut sums = [T::default(); 64];
    let ([whole_a, whole_b], [rest_a, rest_b]) = {
        let (a, b) = (a.chunks_exact(64), b.chunks_exact(64));
        ([a.clone(), b.clone()], [a.remainder(), b.remainder()])
    };
    for (a, b) in whole_a.zip(whole_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += *a * *b;
        }
    }
    let rest = rest_a
        .iter()
        .zip(rest_b)
        .fold(T::default(), |sum, (a, b)| sum + *a * *b);
    sums.into_iter().fold(rest, |sum, next| sum + next)
}
