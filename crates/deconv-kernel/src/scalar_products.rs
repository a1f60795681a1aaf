//! The gradient of the weight where a group has one input channel, or a few on large maps.
//!
//! The input is copied line by line, as the output's gradient is: lines that end in zeros. The
//! gradient of a tap is then the scalar product of the two copies, the tap's offset apart.

use pulp::{Arch, Simd, WithSimd};

use crate::buffer::Buffer;
use crate::copies::BandCopy;
use crate::cut::copies_at_once;
use crate::element::Element;
use crate::long_sum::{LongSum, fold};
use crate::plan::{Choices, Plan};
use crate::problem::Problem;
use crate::threads::Threads;
use crate::tuning::SCALAR_PRODUCT_VALUES;

/// Computes the gradient of the weight, `[c_out, c_in / groups, k_h, k_w]`.
pub(crate) fn grad_weight<T: Element>(
    arch: Arch,
    threads: Threads,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let plan = Plan::grad_input(problem, Choices::default());
    let mut grad = vec![T::default(); problem.weight_shape().iter().product()];
    let channels = grad.chunks_exact_mut(problem.group_c_in() * problem.taps());
    threads.each_with(
        channels.enumerate(),
        Copies::default,
        |copies, (channel, grad)| {
            arch.dispatch(Products {
                plan: &plan,
                input,
                grad_output,
                channel,
                copies,
                grad,
            });
        },
    );
    grad
}

/// What a thread reuses from channel to channel.
#[derive(Default)]
struct Copies<T: Element> {
    input: Buffer<T>,
    grad_output: Buffer<T>,
}

/// The gradients of one output channel's weights, `[c_in / groups, k_h, k_w]`.
struct Products<'a, 't, T: Element> {
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
            plan,
            input,
            grad_output,
            channel,
            copies,
            grad,
        } = self;
        let problem = &plan.problem;
        let (c_in, taps) = (problem.group_c_in(), problem.taps());
        let group = channel / problem.group_c_out();
        let [height, width] = [problem.axes[0].input, problem.axes[1].input];
        let classes = plan.classes();
        let Some(class) = classes.first() else { return };

        let line_stride = width + plan.axes[1].reach;
        let most_rows = (SCALAR_PRODUCT_VALUES / line_stride).clamp(1, height);
        let copy_stride = (most_rows + plan.axes[0].reach) * line_stride;
        let (all, at_once) = (plan.copies(), copies_at_once::<T>(plan, copy_stride));
        if copies.grad_output.len() < at_once * copy_stride {
            copies.input = Buffer::new(most_rows * line_stride);
            copies.input.fill(T::default());
            copies.grad_output = Buffer::new(at_once * copy_stride);
        }

        let (input_plane, output_plane) = (problem.input_plane(), problem.output_plane());
        let bands = problem.batch * height.div_ceil(most_rows);
        let mut sums = LongSum::new(grad, bands);
        for band in 0..bands {
            let (map, row) = (
                band / height.div_ceil(most_rows),
                band % height.div_ceil(most_rows) * most_rows,
            );
            let band_copy = BandCopy {
                plan,
                first_row: row,
                rows: most_rows.min(height - row),
                line_stride,
                copy_stride,
            };
            if sums.begins() {
                sums.sums().fill(T::default());
            }
            let first = (map * problem.c_out + channel) * output_plane;
            let grad_output = &grad_output[first..][..output_plane];
            for copy in (0..all).step_by(at_once) {
                let range = copy..all.min(copy + at_once);
                band_copy.write(grad_output, range.clone(), &mut copies.grad_output);
                for c in 0..c_in {
                    let first = ((map * problem.groups + group) * c_in + c) * input_plane;
                    let lines = input[first + row * width..].chunks_exact(width);
                    let to = copies.input.chunks_exact_mut(line_stride);
                    for (to, from) in to.zip(lines.take(band_copy.rows)) {
                        to[..width].copy_from_slice(from);
                    }
                    // The last line's zeros are no part of it.
                    let input = &copies.input[..(band_copy.rows - 1) * line_stride + width];
                    let sums = &mut sums.sums()[c * taps..];
                    for i in class.taps_of(range.clone()) {
                        let (place, tap) = (&class.taps[i], class.phases[0].taps[i].taps()[0]);
                        let [y, x] = place.ahead;
                        let first = (place.copy - range.start) * copy_stride + y * line_stride + x;
                        sums[tap] += scalar_product(input, &copies.grad_output[first..]);
                    }
                }
            }
            sums.end_band(band + 1 == bands);
        }
    }
}

/// The sum of the products, in an order that vectors of any length can keep.
#[inline(always)]
fn scalar_product<T: Element>(a: &[T], b: &[T]) -> T {
    let b = &b[..a.len()];
    let mut sums = [T::default(); 64];
    let (whole_a, whole_b) = (a.chunks_exact(64), b.chunks_exact(64));
    let rest = whole_a.remainder().iter().zip(whole_b.remainder());
    for (sum, (a, b)) in sums.iter_mut().zip(rest) {
        *sum = *a * *b;
    }
    for (a, b) in whole_a.zip(whole_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += *a * *b;
        }
    }
    fold(sums)
}
