//! Native CPU kernels: the transposed convolution and its gradients over slices.
//!
//! All maps are `[n, channels, height, width]` without gaps, the weight is
//! `[c_out, c_in / groups, k_h, k_w]`; all sizes are the [`Problem`]'s.
//!
//! | file | what |
//! |---|---|
//! | `problem.rs` | the sizes, the only vocabulary for them |
//! | `plan.rs` | which taps meet which values |
//! | `pass.rs` | the forward pass and the gradient of the input, which are one computation |
//! | `cut.rs`, `pack.rs` | how a pass is cut into parts, and the order of its weights |
//! | `output.rs` | the result, which is written once |
//! | `grad_weight.rs` | the gradient of the weight |
//! | `scalar_products.rs` | the same for groups of few input channels |
//! | `copies.rs` | copies of maps in which a tap is a constant offset |
//! | `tile.rs`, `element.rs` | the inner loop of all, with the machine's vectors of `f32` or `f64` |
//! | `direct.rs` | plain loops, for small calls and for numbers that are not finite |
//! | `threads.rs`, `buffer.rs` | the threads and the memory that calls share |
//! | `tuning.rs` | the constants that measurements choose |

#![deny(unsafe_code, unsafe_op_in_unsafe_fn, missing_docs)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod buffer;
mod copies;
mod cut;
mod direct;
mod element;
mod grad_weight;
mod long_sum;
mod output;
mod pack;
mod pass;
mod plan;
mod problem;
mod scalar_products;
mod threads;
mod tile;
mod tuning;

#[cfg(test)]
mod draw;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

pub use pulp::Arch;

pub use self::element::Element;
use self::long_sum::pairwise_sum;
pub use self::problem::{Axis, Problem};
use self::threads::Threads;
use self::tuning::{
    FINITE_CHECK_VALUES, MAX_COPY_GROWTH, MAX_SCALAR_PRODUCT_CHANNELS, MIN_PLANNED_PRODUCTS,
};

/// The transposed convolution.
///
/// ```text
/// output[n, o, y, x] = bias[o] + sum over c, a, b, i, j of input[n, c, i, j] * weight[o, c, a, b]
///     where y = i * stride_h + (k_h - 1 - a) * dilation_h - crop_begin_h, and so for x, j, b
/// ```
///
/// # Shapes
///
/// - input: `[batch, c_in, h, w]`
/// - weight: `[c_out, c_in / groups, k_h, k_w]`
/// - bias: `[c_out]`
/// - output: `[batch, c_out, O_h, O_w]`
///
/// # Panics
///
/// If a slice has not as many values as its shape, `groups` does not divide the channels, or a size
/// other than the batch is zero.
///
/// # Example
///
/// A kernel of two taps at stride 2 on one axis: each value is spread over two places.
///
/// ```
/// use deconv_kernel::{Arch, Axis, Problem, forward};
///
/// let height = Axis { input: 1, kernel: 1, stride: 1, dilation: 1, crop_begin: 0, output: 1 };
/// let width = Axis { input: 2, kernel: 2, stride: 2, dilation: 1, crop_begin: 0, output: 4 };
/// let problem = Problem { batch: 1, groups: 1, c_in: 1, c_out: 1, axes: [height, width] };
/// // The kernel is turned: the last tap comes first.
/// let output = forward(Arch::new(), &problem, &[1.0, 2.0], &[10.0, 1.0], Some(&[0.5]));
/// assert_eq!(output, [1.5, 10.5, 2.5, 20.5]);
/// ```
pub fn forward<T: Element>(
    arch: Arch,
    problem: &Problem,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    problem.check("input", &problem.input_shape(), input.len());
    problem.check("weight", &problem.weight_shape(), weight.len());
    if let Some(bias) = bias {
        problem.check("bias", &[problem.c_out], bias.len());
    }
    let threads = Threads::worth(problem.products());
    if is_plain(problem) || !is_finite(weight) {
        direct::forward(threads, problem, input, weight, bias)
    } else {
        pass::forward(arch, threads, problem, input, weight, bias)
    }
}

/// The gradient of the input.
///
/// ```text
/// grad_input[n, c, i, j] = sum over o, a, b of weight[o, c, a, b] * grad_output[n, o, y, x]
///     with y and x as in [`forward`]
/// ```
///
/// # Shapes
///
/// - weight: `[c_out, c_in / groups, k_h, k_w]`
/// - `grad_output`: `[batch, c_out, O_h, O_w]`
/// - result: `[batch, c_in, h, w]`
///
/// # Panics
///
/// As [`forward`].
///
/// # Example
///
/// ```
/// use deconv_kernel::{Arch, Axis, Problem, grad_input};
///
/// let height = Axis { input: 1, kernel: 1, stride: 1, dilation: 1, crop_begin: 0, output: 1 };
/// let width = Axis { input: 2, kernel: 2, stride: 2, dilation: 1, crop_begin: 0, output: 4 };
/// let problem = Problem { batch: 1, groups: 1, c_in: 1, c_out: 1, axes: [height, width] };
/// let grad = grad_input(Arch::new(), &problem, &[10.0, 1.0], &[1.0, 2.0, 3.0, 4.0]);
/// assert_eq!(grad, [1.0 * 1.0 + 10.0 * 2.0, 1.0 * 3.0 + 10.0 * 4.0]);
/// ```
pub fn grad_input<T: Element>(
    arch: Arch,
    problem: &Problem,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    problem.check("weight", &problem.weight_shape(), weight.len());
    problem.check(
        "output's gradient",
        &problem.output_shape(),
        grad_output.len(),
    );
    let threads = Threads::worth(problem.products());
    if is_plain(problem) || !is_finite(weight) {
        direct::grad_input(threads, problem, weight, grad_output)
    } else {
        pass::grad_input(arch, threads, problem, weight, grad_output)
    }
}

/// The gradient of the weight.
///
/// ```text
/// grad_weight[o, c, a, b] = sum over n, i, j of input[n, c, i, j] * grad_output[n, o, y, x]
///     with y and x as in [`forward`]
/// ```
///
/// # Shapes
///
/// - input: `[batch, c_in, h, w]`
/// - `grad_output`: `[batch, c_out, O_h, O_w]`
/// - result: `[c_out, c_in / groups, k_h, k_w]`
///
/// # Panics
///
/// As [`forward`].
///
/// # Example
///
/// ```
/// use deconv_kernel::{Arch, Axis, Problem, grad_weight};
///
/// let height = Axis { input: 1, kernel: 1, stride: 1, dilation: 1, crop_begin: 0, output: 1 };
/// let width = Axis { input: 2, kernel: 2, stride: 2, dilation: 1, crop_begin: 0, output: 4 };
/// let problem = Problem { batch: 1, groups: 1, c_in: 1, c_out: 1, axes: [height, width] };
/// let grad = grad_weight(Arch::new(), &problem, &[10.0, 100.0], &[1.0, 2.0, 3.0, 4.0]);
/// assert_eq!(grad, [10.0 * 2.0 + 100.0 * 4.0, 10.0 * 1.0 + 100.0 * 3.0]);
/// ```
pub fn grad_weight<T: Element>(
    arch: Arch,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    problem.check("input", &problem.input_shape(), input.len());
    problem.check(
        "output's gradient",
        &problem.output_shape(),
        grad_output.len(),
    );
    let threads = Threads::worth(problem.products());
    let scalar_products = problem.group_c_in() <= MAX_SCALAR_PRODUCT_CHANNELS;
    // Scalar products pad both operands with zeros, the tiles only the output's gradient.
    let finite = is_finite(input) && (!scalar_products || is_finite(grad_output));
    if is_plain(problem) || !finite {
        direct::grad_weight(threads, problem, input, grad_output)
    } else if scalar_products {
        scalar_products::grad_weight(arch, threads, problem, input, grad_output)
    } else {
        grad_weight::grad_weight(arch, threads, problem, input, grad_output)
    }
}

/// The gradient of the bias: the sum of each channel's output gradient.
///
/// # Shapes
///
/// - `grad_output`: `[batch, c_out, O_h, O_w]`
/// - result: `[c_out]`
///
/// # Panics
///
/// As [`forward`].
///
/// # Example
///
/// ```
/// use deconv_kernel::{Axis, Problem, grad_bias};
///
/// let axis = Axis { input: 1, kernel: 2, stride: 2, dilation: 1, crop_begin: 0, output: 2 };
/// let problem = Problem { batch: 1, groups: 1, c_in: 1, c_out: 1, axes: [axis, axis] };
/// assert_eq!(grad_bias(&problem, &[1.0, 2.0, 3.0, 4.0]), [10.0]);
/// ```
pub fn grad_bias<T: Element>(problem: &Problem, grad_output: &[T]) -> Vec<T> {
    problem.check(
        "output's gradient",
        &problem.output_shape(),
        grad_output.len(),
    );
    let (c_out, plane) = (problem.c_out, problem.output_plane());
    let mut grad = vec![T::default(); c_out];
    let threads = Threads::worth(grad_output.len());
    threads.each(grad.iter_mut().enumerate(), |(channel, grad)| {
        let map_sum = |map: usize| {
            let first = (map * c_out + channel) * plane;
            pairwise_sum(&grad_output[first..][..plane])
        };
        let map_sums: Vec<T> = (0..problem.batch).map(map_sum).collect();
        *grad = pairwise_sum(&map_sums);
    });
    grad
}

/// Whether plain loops are the better choice: for few products, and for taps so far apart that
/// copies would be mostly zeros.
fn is_plain(problem: &Problem) -> bool {
    let growth = problem.axes.map(|axis| {
        let cells = axis.input.max(axis.output / axis.stride);
        1 + axis.extent() / axis.stride / cells
    });
    problem.products() <= MIN_PLANNED_PRODUCTS
        || growth[0].saturating_mul(growth[1]) > MAX_COPY_GROWTH
}

/// Whether all values are finite. Copies are padded with zeros, and `0 * inf` would turn the padding
/// into NaN.
fn is_finite<T: Element>(values: &[T]) -> bool {
    let finite = AtomicBool::new(true);
    let threads = Threads::worth(4 * values.len());
    threads.each(values.chunks(FINITE_CHECK_VALUES), |values| {
        // Without an early end, the loop uses vectors.
        let all = values
            .iter()
            .fold(true, |finite, value| finite & value.finite());
        finite.fetch_and(all, Ordering::Relaxed);
    });
    finite.into_inner()
}
