//! Both passes for large kernels at large strides: FCN's upsampling (64 taps at stride 32), inverse
//! short-time Fourier transforms (1024 taps at stride 256).
//!
//! There, [`pass`](crate::pass) would spread the source over hundreds of copies, one for each plane or
//! phase, and gather its results from as many rows of sums. But a row of such a kernel is itself a
//! run of neighbours in the output:
//!
//! ```text
//! x[i] spreads over full[i * stride .. i * stride + k] = x[i] * turned kernel
//! ```
//!
//! So the lanes of a vector are neighbouring places of the output, and nothing is spread or gathered.
//!
//! Forward, with `k = taps * stride`: the tile's vectors are weights, its rows are 12 neighbouring
//! cells `q`, its steps are input channels and taps, and its sums are a line of the output as it is:
//!
//! ```text
//! full[q * stride + r] = sum over c, t of  x[c][q - t] * turned[c][t * stride + r]
//! ```
//!
//! Backward, with `k` whole vectors, the gradient of an input value is a scalar product of the turned
//! kernel and a window of the output's gradient:
//!
//! ```text
//! grad[c][i] = sum over o, j of  turned[o][c][j] * g[o][i * stride + j]
//! ```
//!
//! Both need a dilation of 1. As in a pass, no sum depends on how the work is cut.

mod forward;
mod grad_input;

use pulp::Arch;

pub(crate) use self::forward::forward;
pub(crate) use self::grad_input::grad_input;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tile::Registers;
use crate::tuning::{
    MAX_WIDE_CHANNELS, MAX_WIDE_REPEATS, MIN_TILE_STEPS, MIN_UNMERGED_CHANNELS, MIN_VALUES_PER_JOB,
    MIN_WIDE_STRIDE,
};

/// Whether [`forward`] computes the problem: a zero beside the kernel would meet the caller's
/// numbers, which may be infinite.
pub(crate) fn can_forward(problem: &Problem) -> bool {
    let whole = |axis: &Axis| axis.dilation == 1 && axis.kernel.is_multiple_of(axis.stride);
    problem.axes.iter().all(whole)
}

/// Whether [`grad_input`] computes the problem.
pub(crate) fn can_grad_input<T: Element>(arch: Arch, problem: &Problem) -> bool {
    let lanes = Registers::of::<T>(arch).lanes;
    problem.axes.iter().all(|axis| axis.dilation == 1)
        && problem.axes[1].kernel.is_multiple_of(lanes)
}

/// Whether [`forward`] is the better choice. Where a vector is longer than the stride, it is not: FCN-8s,
/// channel by channel, takes 3.3 in place of 2.2 ms.
pub(crate) fn suits_forward<T: Element>(arch: Arch, problem: &Problem) -> bool {
    let (lanes, stride) = (Registers::of::<T>(arch).lanes, problem.axes[1].stride);
    let repeats = problem.axes.map(|axis| axis.kernel / axis.stride);
    can_forward(problem)
        && stride >= MIN_WIDE_STRIDE
        && repeats[0] * repeats[1] <= MAX_WIDE_REPEATS
        && stride.is_multiple_of(lanes)
}

/// Whether [`grad_input`] is the better choice.
pub(crate) fn suits_grad_input<T: Element>(arch: Arch, problem: &Problem) -> bool {
    let (steps, channels) = (
        problem.taps() / Registers::of::<T>(arch).lanes,
        problem.group_c_in(),
    );
    can_grad_input::<T>(arch, problem)
        && problem.axes[1].stride >= MIN_WIDE_STRIDE
        && (channels < MIN_UNMERGED_CHANNELS
            || (channels <= MAX_WIDE_CHANNELS && steps >= MIN_TILE_STEPS))
}

/// Turns every kernel by 180 degrees. Each run of `run` weights takes `padded` places.
fn turn<T: Element>(
    threads: Threads,
    problem: &Problem,
    weight: &[T],
    run: usize,
    padded: usize,
) -> Buffer<T> {
    let taps = problem.taps();
    let kernels = weight.len() / taps;
    let turned_taps = taps / run * padded;
    let mut turned = Buffer::new(kernels * turned_taps);
    let at_once = 1 + MIN_VALUES_PER_JOB / taps;
    let jobs = turned.chunks_mut(at_once * turned_taps);
    threads.each(jobs.zip(weight.chunks(at_once * taps)), |(to, from)| {
        let kernels = to.chunks_mut(turned_taps).zip(from.chunks(taps));
        for (to, from) in kernels {
            let runs = to.chunks_mut(padded).zip(from.rchunks(run));
            for (to, from) in runs {
                let (values, after) = to.split_at_mut(run);
                for (to, from) in values.iter_mut().zip(from.iter().rev()) {
                    *to = *from;
                }
                after.fill(T::default());
            }
        }
    });
    turned
}
