//! What a call costs in each of its forms, and so which form it takes.
//!
//! A form's time is estimated as a sum: the counts of what it does (multiply-adds of vectors, values copied, lines
//! written), times what one of each takes. The counts are made from nothing but the sizes:
//!
//! ```text
//! nanoseconds = a call's + sum over its counts of  count * what one takes
//!             = a call's + a second thread's + half of that sum, if threads share it
//! ```
//!
//! The nanoseconds are those of one machine (Zen 5, 512-bit vectors, 2 threads, `f32`): which form is faster depends
//! on their ratios, and the counts know the width of a vector and the rows of a tile. They were fitted to the measured
//! times of every form on 2,100 random layers like those of `benches/sweep.rs`, half of them with other kernels and
//! channels, 220 of large strides, and the 36 of `benches/layers.json`. On 900 others, the time of the form that is
//! chosen here over that of the fastest, geometric means: forward 1.033, gradient of the input 1.018, of the weight
//! 1.012. The forms were chosen by 70 limits of sizes before: 1.066, 1.054 and 1.022.

mod forward;
mod gradients;
mod panels;
mod sizes;

use pulp::Arch;

use self::sizes::Sizes;
use crate::element::Element;
use crate::problem::Problem;
use crate::tuning::{MAX_SCATTERED_VALUES, SHARED_VALUE_COST};
use crate::{depthwise, wide_stride};

/// A way to compute a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// [`direct`](crate::direct): plain loops, which take any call.
    Direct,
    /// [`panels`](crate::panels)
    Panels,
    /// [`pass`](crate::pass)
    Pass,
    /// [`wide_stride`]
    WideStride,
    /// [`lines`](crate::lines), forward only.
    Lines,
    /// [`scatter`](crate::scatter), forward only.
    Scatter,
    /// [`depthwise`], forward only.
    Depthwise,
    /// [`scalar_products`](crate::scalar_products), the weight's gradient only.
    ScalarProducts,
    /// [`grad_weight`](crate::grad_weight), the weight's gradient only.
    Tiles,
}

/// The form of a forward pass.
pub(crate) fn forward<T: Element>(arch: Arch, problem: &Problem) -> Form {
    let sizes = &Sizes::new::<T>(arch, problem);
    let mut best = Best::new(Form::Direct, forward::direct(sizes));
    best.or(Form::Lines, forward::lines::<T>(sizes));
    if problem.group_c_in() * problem.input_plane() <= MAX_SCATTERED_VALUES {
        best.or(Form::Scatter, forward::scatter::<T>(arch, sizes));
    }
    if depthwise::suits(problem) {
        best.or(Form::Depthwise, forward::depthwise(sizes));
    }
    if wide_stride::suits_forward::<T>(arch, problem) {
        best.or(Form::WideStride, forward::wide_stride(sizes));
    }
    if best.leaves_time_to_pack() {
        best.or(Form::Pass, forward::pass(sizes));
        best.or(Form::Panels, panels::forward::<T>(sizes));
    }
    best.form
}

/// The form of a gradient of the input.
pub(crate) fn grad_input<T: Element>(arch: Arch, problem: &Problem) -> Form {
    let sizes = &Sizes::new::<T>(arch, problem);
    let mut best = Best::new(Form::Direct, gradients::direct_input(sizes));
    if best.leaves_time_to_pack() {
        best.or(Form::Pass, gradients::pass(sizes));
        best.or(Form::Panels, panels::grad_input::<T>(sizes));
    }
    if wide_stride::suits_grad_input::<T>(arch, problem) {
        best.or(Form::WideStride, gradients::wide_stride(sizes));
    }
    best.form
}

/// The form of a gradient of the weight.
pub(crate) fn grad_weight<T: Element>(arch: Arch, problem: &Problem) -> Form {
    let sizes = &Sizes::new::<T>(arch, problem);
    let mut best = Best::new(Form::Direct, gradients::direct_weight(sizes));
    best.or(Form::ScalarProducts, gradients::scalar_products(sizes));
    best.or(Form::Tiles, gradients::tiles(sizes));
    best.form
}

/// The fastest form so far.
struct Best {
    form: Form,
    nanoseconds: f64,
}

impl Best {
    fn new(form: Form, nanoseconds: f64) -> Self {
        Self { form, nanoseconds }
    }

    fn or(&mut self, form: Form, nanoseconds: f64) {
        if nanoseconds < self.nanoseconds {
            *self = Self::new(form, nanoseconds);
        }
    }

    /// Whether forms that plan and pack could be faster: the least that they take is more than to find that out.
    fn leaves_time_to_pack(&self) -> bool {
        self.nanoseconds > 2900.0
    }
}

/// What a call costs, in multiply-adds: what it is worth in threads.
pub(crate) fn muladds(problem: &Problem) -> usize {
    let inputs = problem.c_in * problem.input_plane();
    let outputs = problem.c_out * problem.output_plane();
    let values = problem.batch * (inputs + outputs);
    problem
        .products()
        .saturating_add(SHARED_VALUE_COST * values)
}
