//! Native CPU kernels: the transposed convolution and its gradients over slices.
//!
//! A transposed convolution spreads each input value over the output: value `i` goes to the places
//! `i * stride ..`, multiplied by the kernel, and where two spread values meet they are added. These
//! kernels compute that, and both gradients, without a product with an inserted zero, on `f32` and
//! `f64`, with the machine's vectors (AVX-512 or AVX2, through the crate `pulp`) and Rayon's threads.
//!
//! # The three formulas
//!
//! On one axis, for one pair of channels, with the full map's place of value `i` and tap `a`
//!
//! ```text
//! place(i, a) = i * stride + (k - 1 - a) * dilation - crop_begin
//!
//! output[y]      = sum over i, a with place(i, a) = y   of  input[i] * weight[a]
//! grad_input[i]  = sum over a                           of  weight[a] * grad_output[place(i, a)]
//! grad_weight[a] = sum over i                           of  input[i] * grad_output[place(i, a)]
//! ```
//!
//! Two axes are the same twice, with `[y, x]`; channels add the sums over input channels (output),
//! output channels (`grad_input`), or maps (`grad_weight`). The weight is stored as one writes a
//! correlation with the zero-filled map, so the last tap comes first: `k - 1 - a` (Dumoulin and
//! Visin, arXiv 1603.07285).
//!
//! # A drawing: kernel `[a b c]`, stride 2, input `p q r`
//!
//! ```text
//! p * c    p * b    p * a
//!                   q * c    q * b    q * a
//!                                     r * c    r * b    r * a
//! ----------------------------------------------------------------
//! y0       y1       y2       y3       y4       y5       y6
//! ```
//!
//! Even outputs meet two taps, odd ones meet one. These are the *phases* of stride 2, and each is an
//! ordinary correlation of the input, without any zero:
//!
//! ```text
//! y[2j]     = c * x[j] + a * x[j - 1]        phase 0: taps c, a at shifts 0, -1
//! y[2j + 1] = b * x[j]                       phase 1: tap b at shift 0
//! ```
//!
//! The gradient of the input reads the output's gradient `g` the same way: split into even and odd
//! *planes*, every tap is a constant shift in one plane, `gx[j] = c * g_even[j] + b * g_odd[j] +
//! a * g_even[j + 1]`. So one computation, a [pass](self#what-departs-from-the-plain-loops), serves
//! both.
//!
//! # The plain loops
//!
//! ```text
//! for each map, target channel t, phase r, cell j:
//!     sum = 0
//!     for each source channel c of the group:
//!         for each tap a of phase r:
//!             sum += weight[t, c, a] * source[c][j + shift of a]      (zero outside the map)
//!     target[t][j * step + r] = sum + bias[t]
//! ```
//!
//! `direct.rs` is these loops, for calls that are too small for anything else.
//!
//! # What departs from the plain loops
//!
//! 1. **Copies with zeros around them.** A band of rows of the source is copied, plane by plane, to
//!    lines that end in zeros. There, every tap is a constant offset and no border needs a branch
//!    (`copies.rs`). `0 * inf` would be NaN, so if a weight is infinite or NaN, calls scatter or take plain
//!    loops: one pass over the weight finds out. Where the copy would be the map itself, the first tile that reads the
//!    map writes it, beside its products.
//! 2. **A tile of registers.** 12 rows (target channels and phases) by 2 vectors (cells) of sums stay
//!    in registers, 6 rows where there are 16 registers. A step, one source channel and tap, loads
//!    2 vectors and multiplies them by 12 weights (`tile.rs`). Steps are a list of offsets, so the
//!    same loop serves every kernel size, stride and dilation. Weights are packed in the order in
//!    which tiles read them (`pack.rs`).
//! 3. **Blocks for the caches.** A unit of work is a band of rows and some target channels; it takes
//!    as many source channels at a time as fit in the second-level cache, and of a large kernel's
//!    thousands of copies some at a time (`cut.rs`).
//! 4. **One write.** Sums of all phases are interleaved, and the bias is added, when the target is
//!    written, once and without clearing it first (`output.rs`). While tiles multiply, they ask for the
//!    memory that is written or copied next, so that nothing waits for it (`ahead.rs`).
//! 5. **The weight's gradient turns the tile.** Its steps are positions. Lanes are input channels, and
//!    rows are pairs of output channel and tap (`grad_weight.rs`); with one input channel, on all
//!    but small maps, it uses scalar products along lines instead (`scalar_products.rs`).
//! 6. **Large strides turn it too.** Where the stride is 8 or more, lanes are neighbouring places of the
//!    output: a row of the kernel (`wide_stride.rs`).
//! 7. **Panels.** Where the channels are many, two vectors of cells, from any rows and maps, are multiplied as
//!    two matrices for each class of taps, and written from there (`panels.rs`): kernels no larger than their
//!    stride, and kernels whose taps are neighbours, with fewer products (k 4 at stride 2:
//!    9 in place of 16): minimal filtering (`plan/pairs.rs`).
//! 8. **Small maps, short lines, few outputs.** There, the forward pass computes the products of every
//!    tap and position first, without a packed weight, and then adds each to its place (`scatter.rs`).
//!    Elsewhere, of maps smaller than a tile's two vectors, a unit takes several: the lanes are cells of
//!    all of them, or the steps positions of all of them. An axis of one value takes its kernel's
//!    extent as its stride, so each phase has one tap, and the pass is a product of two matrices. Taps that meet no
//!    value of a small map are left out. Weights that meet at most 16 vectors of cells are read where they are.
//! 9. **Short sums.** Where an output value is a sum of few products,
//!    a few cells are computed from beginning to end in the first-level cache,
//!    with weights that nobody packs (`lines.rs`). Depthwise layers of stride 2 keep weights and values in
//!    registers (`depthwise.rs`).
//! 10. **Threads.** The caller works too, and Rayon's threads look for the next call for 50
//!     microseconds before they sleep. Each takes the same part of the work in every call (`threads.rs`), and
//!     reuses its buffers (`buffer.rs`), which its processor's caches may still hold.
//!
//! Which of these forms a call takes is estimated from its sizes: `cost.rs`.
//!
//! No matrix library is used: it would need the taps gathered to a matrix first, which is what the
//! step list avoids.
//!
//! # Errors of rounding
//!
//! A result is a sum of `n` products (for the bias's gradient, of `n` values). The order of the sum
//! depends on the sizes and the vectors, and never on the number of threads: the same call gives the
//! same bits. With `u = 2^-24` for `f32` and `2^-53` for `f64`, the error is at most
//!
//! ```text
//! depth * u * (sum of the products' magnitudes),     depth <= 600 + n / 16
//! ```
//!
//! (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2). The depth is that of a sum
//! of partial sums of up to 512 products, each of which begins at zero. It grows with `n / 16` only
//! on lines of 10,000 values or more, or maps of a few values; the weight's gradient over maps of 256
//! positions or more has a depth below `600 + n / 16,000`.
//!
//! With minimal filtering, the magnitudes are those of the products of neighbours too: of each value
//! with the taps of the cells beside it. On random numbers, errors were 0.8 to 0.9 times as large as
//! without, since its partial sums are shorter. It is only used where all values are below 1e14 (1e115 in `f64`),
//! so that no difference or sum becomes infinite.
//!
//! # Memory
//!
//! Beside the result, a call holds the packed weights, at most twice as many as the weights; for the
//! weight's gradient it holds the input and two gradients, with the input channels rounded up to
//! whole vectors. Minimal filtering packs up to 2.8 times as many (k 3: 25 for 9, k 4: 36 for 16), at most 20 MiB
//! for each group; a thread then holds at most 1.75 MiB of copies and the sums of a block. If panels pack at most
//! 512 KiB, each thread may hold packed weights of its own. A thread that scatters to few output channels may copy
//! up to 4 MiB of a map. Elsewhere a thread holds copies and sums, each at most 1.25 MiB,
//! or, if that is more, the copy of one plane that one row of cells needs (`1 + reach` lines, where
//! `reach` is the kernel's height over the stride) and the sums of one row of cells of at most a
//! tile's channels. At a stride of 8 or more, it may hold as many lines of the output's gradient as
//! the kernel has rows, and the call the input with zeros around it (at most 49 times as large, where
//! a map is one value). For small maps, a call holds an index for each value of one channel's copies. For
//! short sums, a thread holds the sums of four output channels and what they read: at most 320 KiB, or
//! what 32 columns of one row of cells need, and as much again of maps that are read in place.
//! Idle buffers of up to 32 MiB are kept for each type of numbers, and up to 256 MiB of results that were given
//! to [`recycle`].
//!
//! # Limits
//!
//! A size that is counted in values must fit in `usize`. Non-finite weights (for the weight's
//! gradient: inputs) cost up to 37 times the time. Maps are cut into bands of rows and never into
//! columns, so a single line of a million values is copied whole.
//!
//! # The files
//!
//! | file | what |
//! |---|---|
//! | `problem.rs` | the sizes, the only vocabulary for them |
//! | `dispatch.rs` | checks a call, and calls its form |
//! | `cost.rs`, `cost/` | what each form costs, and so which one a call takes |
//! | `plan.rs`, `plan/axis.rs`, `class.rs` | which taps meet which values: phases, planes, shifts |
//! | `plan/pairs.rs` | minimal filtering: which sums of taps meet which differences of values |
//! | `pass.rs`, `pass/` | the forward pass and the gradient of the input, which are one computation |
//! | `cut.rs`, `pack.rs` | how a pass is cut into parts, and the order of its weights |
//! | `panels.rs`, `panels/` | both passes as products of matrices, with minimal filtering or without |
//! | `scatter.rs`, `scatter/` | the forward pass for few positions, and for few output channels |
//! | `lines.rs`, `lines/` | the forward pass for short sums |
//! | `depthwise.rs` | the forward pass of depthwise layers of stride 2 |
//! | `wide_stride.rs`, `dot.rs` | both passes for large kernels at large strides |
//! | `output.rs` | the result, which is written once |
//! | `grad_weight.rs`, `transpose.rs` | the gradient of the weight |
//! | `scalar_products.rs` | the same for groups of few input channels |
//! | `copies.rs` | copies of maps in which a tap is a constant offset |
//! | `ahead.rs` | memory that tiles ask for while they multiply |
//! | `tile.rs`, `element.rs` | the inner loop of all, with the machine's vectors of `f32` or `f64` |
//! | `vectors.rs`, `vectors/` | vectors from and to slices, and several in turns |
//! | `long_sum.rs` | sums over millions of positions |
//! | `direct.rs`, `meetings.rs` | plain loops, for small calls and for numbers that are not finite |
//! | `threads.rs`, `buffer.rs`, `recycle.rs` | the threads and the memory that calls share |
//! | `tuning.rs` | the constants that measurements choose |

#![deny(unsafe_code, unsafe_op_in_unsafe_fn, missing_docs)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod ahead;
mod buffer;
mod class;
mod copies;
mod cost;
mod cut;
mod depthwise;
mod direct;
mod dispatch;
mod dot;
mod element;
mod grad_weight;
mod lines;
mod long_sum;
mod meetings;
mod output;
mod pack;
mod panels;
mod pass;
mod plan;
mod problem;
mod recycle;
mod scalar_products;
mod scatter;
mod threads;
mod tile;
mod transpose;
mod tuning;
mod vectors;
mod wide_stride;

#[cfg(test)]
mod draw;
#[cfg(test)]
mod tests;

pub use pulp::Arch;

pub use self::element::Element;
pub use self::problem::{Axis, Problem};

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
    T::forward(arch, problem, input, weight, bias)
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
    T::grad_input(arch, problem, weight, grad_output)
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
    T::grad_weight(arch, problem, input, grad_output)
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
    T::grad_bias(problem, grad_output)
}

/// Gives the memory of a result back, for a later result of about its length.
///
/// The system clears new memory page by page, and a call whose result has more than 32 MiB may spend a third of its
/// time on that. Results below 16 MiB are freed; of larger ones, up to 256 MiB are kept for each type of numbers.
/// On Linux, the system may take the pages back at any time.
///
/// # Example
///
/// ```
/// use deconv_kernel::{Arch, Axis, Problem, forward, recycle};
///
/// let axis = Axis { input: 1, kernel: 2, stride: 2, dilation: 1, crop_begin: 0, output: 2 };
/// let problem = Problem { batch: 1, groups: 1, c_in: 1, c_out: 1, axes: [axis, axis] };
/// for value in [1.0, 2.0, 3.0] {
///     let output = forward(Arch::new(), &problem, &[value], &[1.0; 4], None);
///     assert_eq!(output, [value; 4]);
///     recycle(output);
/// }
/// ```
pub fn recycle<T: Element>(result: Vec<T>) {
    T::pool().results.give(result);
}
