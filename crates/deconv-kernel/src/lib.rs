//! Native CPU kernels: the transposed convolution and its gradients over slices.
//!
//! All maps are `[n, channels, height, width]` without gaps, the weight is
//! `[c_out, c_in / groups, k_h, k_w]`; all sizes are the [`Problem`]'s.
//!
//! | file | what |
//! |---|---|
//! | `plan.rs` | which taps meet which values |
//! | `correlate.rs` | the forward pass and the gradient of the input, which are one computation |
//! | `cut.rs`, `pack.rs` | how it is cut into parts, and the order of its weights |
//! | `grad_weight.rs` | the gradient of the weight |
//! | `scalar_products.rs` | the same for groups of few input channels |
//! | `copies.rs` | copies of maps in which a tap is a constant offset |
//! | `tile.rs` | the inner loop of all, with the machine's vectors |
//! | `direct.rs` | plain loops, for small calls and for numbers that are not finite |
//! | `threads.rs`, `buffer.rs` | the threads and the memory that they share |

mod buffer;
mod copies;
mod correlate;
mod cut;
mod direct;
mod grad_weight;
mod pack;
mod plan;
mod problem;
mod scalar_products;
mod threads;
mod tile;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

pub use pulp::Arch;

pub use self::problem::{Axis, Problem};
use self::threads::Threads;
pub use self::tile::Element;

/// The transposed convolution, `[n, c_out, O_h, O_w]`.
pub fn forward<T: Element>(
    arch: Arch,
    problem: &Problem,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let threads = Threads::worth(products(problem));
    match is_plain(problem) || !is_finite(weight) {
        true => direct::forward(threads, problem, input, weight, bias),
        false => correlate::forward(arch, threads, problem, input, weight, bias),
    }
}

/// The gradient of the input, `[n, c_in, h, w]`.
pub fn grad_input<T: Element>(
    arch: Arch,
    problem: &Problem,
    weight: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let threads = Threads::worth(products(problem));
    match is_plain(problem) || !is_finite(weight) {
        true => direct::grad_input(threads, problem, weight, grad_output),
        false => correlate::grad_input(arch, threads, problem, weight, grad_output),
    }
}

/// The gradient of the weight, `[c_out, c_in / groups, k_h, k_w]`.
pub fn grad_weight<T: Element>(
    arch: Arch,
    problem: &Problem,
    input: &[T],
    grad_output: &[T],
) -> Vec<T> {
    let threads = Threads::worth(products(problem));
    let few = problem.weight_shape()[1] <= FEW;
    let finite = is_finite(input) && (!few || is_finite(grad_output));
    match few {
        _ if is_plain(problem) || !finite => {
            direct::grad_weight(threads, problem, input, grad_output)
        }
        true => scalar_products::grad_weight(arch, threads, problem, input, grad_output),
        false => grad_weight::grad_weight(arch, threads, problem, input, grad_output),
    }
}

/// The gradient of the bias, `[c_out]`.
pub fn grad_bias<T: Element>(problem: &Problem, grad_output: &[T]) -> Vec<T> {
    let [n, c_out, height, width] = problem.output_shape();
    let size = height * width;
    let channel = |channel: usize| {
        let planes = (0..n).map(|map| &grad_output[(map * c_out + channel) * size..][..size]);
        planes.map(sum).fold(T::default(), |sum, plane| sum + plane)
    };
    let mut grad = vec![T::default(); c_out];
    let threads = Threads::worth(grad_output.len());
    threads.each(grad.iter_mut().enumerate(), |(i, grad)| *grad = channel(i));
    grad
}

/// The sum of some values, in an order that a vector can keep, and that adds up small sums first.
fn sum<T: Element>(values: &[T]) -> T {
    let add = |a: T, b: T| a + b;
    let block = |values: &[T]| {
        let mut sums = [T::default(); 16];
        let chunks = values.chunks_exact(sums.len());
        let rest = chunks.remainder().iter().copied().fold(T::default(), add);
        for chunk in chunks {
            sums.iter_mut()
                .zip(chunk)
                .for_each(|(sum, value)| *sum += *value);
        }
        sums.into_iter().fold(rest, add)
    };
    values.chunks(1024).map(block).fold(T::default(), add)
}

/// Operations that are too few for a plan and for threads.
const SMALL: usize = 1 << 14;
/// How many times as large as its map a copy may be.
const SPARSE: usize = 16;
/// Groups with as many input channels or fewer leave most lanes of the weight's gradient idle.
const FEW: usize = 4;

/// Whether plain loops are the better choice: for few operations, and for taps so far apart that
/// copies would be zeros above all.
fn is_plain(problem: &Problem) -> bool {
    let growth = problem.axes.map(|axis| {
        let cells = axis.input.max(axis.output / axis.stride);
        1 + axis.extent() / axis.stride / cells
    });
    products(problem) <= SMALL || growth[0].saturating_mul(growth[1]) > SPARSE
}

/// The products of a value and a weight.
fn products(problem: &Problem) -> usize {
    let [n, c_in, height, width] = problem.input_shape();
    let [c_out, _, k_h, k_w] = problem.weight_shape();
    let sizes = [n, c_in, height, width, c_out / problem.groups, k_h, k_w];
    sizes.into_iter().fold(1, usize::saturating_mul)
}

/// Whether no number is infinite or NaN, of which the zeros that copies end in would make a NaN.
fn is_finite<T: Element>(values: &[T]) -> bool {
    let finite = AtomicBool::new(true);
    Threads::worth(4 * values.len()).each(values.chunks(1 << 16), |values| {
        let all = values
            .iter()
            .fold(true, |finite, value| finite & value.finite());
        finite.fetch_and(all, Ordering::Relaxed);
    });
    finite.into_inner()
}
