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

use core::cell::Cell;

use pulp::Arch;

use self::sizes::Sizes;
use crate::element::Element;
use crate::problem::Problem;
use crate::tile::Registers;
use crate::tuning::{MIN_PLANNED_PRODUCTS, SHARED_VALUE_COST};
use crate::{depthwise, scatter, wide_stride};

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

/// What a call computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Of {
    Output,
    GradInput,
    GradWeight,
}

/// A question, and its answer.
#[derive(Clone, Copy)]
struct Asked {
    of: Of,
    /// Of a vector, in numbers and bytes: of the type of numbers and the machine's instructions.
    vector: [usize; 2],
    problem: Problem,
    form: Form,
}

/// A thread remembers so many answers.
const ANSWERS: usize = 64;

thread_local! {
    static ASKED: [Cell<Option<Asked>>; ANSWERS] = const { [const { Cell::new(None) }; ANSWERS] };
}

/// The form of a call. Layers are called again and again, and to estimate takes up to 0.45 microseconds, a third of a
/// small call (8 to 8 channels, 4x4, k 2: 1.55 in place of 1.11), so the last answers are kept.
pub(crate) fn form<T: Element>(of: Of, arch: Arch, problem: &Problem) -> Form {
    if problem.products() <= MIN_PLANNED_PRODUCTS {
        return Form::Direct;
    }
    let lanes = Registers::of::<T>(arch).lanes;
    let vector = [lanes, lanes * size_of::<T>()];
    let [height, width] = &problem.axes;
    let sizes = [
        height.input,
        width.input,
        width.kernel,
        problem.c_in,
        problem.c_out,
    ];
    let mix = |mix: usize, size: usize| mix.wrapping_mul(31).wrapping_add(size);
    let at = sizes.into_iter().fold(of as usize, mix) % ANSWERS;
    ASKED.with(|asked| {
        if let Some(asked) = asked[at].get()
            && (asked.of, asked.vector) == (of, vector)
            && asked.problem == *problem
        {
            return asked.form;
        }
        let form = match of {
            Of::Output => forward::<T>(arch, problem),
            Of::GradInput => grad_input::<T>(arch, problem),
            Of::GradWeight => grad_weight::<T>(arch, problem),
        };
        asked[at].set(Some(Asked {
            of,
            vector,
            problem: *problem,
            form,
        }));
        form
    })
}

fn forward<T: Element>(arch: Arch, problem: &Problem) -> Form {
    let sizes = &Sizes::new::<T>(arch, problem);
    let mut best = Best::new(Form::Direct, forward::direct(sizes));
    best.or(Form::Lines, forward::lines::<T>(sizes));
    if scatter::suits(problem) {
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

fn grad_input<T: Element>(arch: Arch, problem: &Problem) -> Form {
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

fn grad_weight<T: Element>(arch: Arch, problem: &Problem) -> Form {
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

    /// Whether forms that plan and pack could be faster: none takes less than this.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use crate::tests::{archs, random_problem};

    /// Whatever was asked before, by calls that share a place too.
    #[test]
    fn remembered_forms_are_those_of_their_calls() {
        let mut draw = Draw::new(23);
        for _ in 0..2000 {
            let problem = random_problem(&mut draw);
            if problem.products() <= MIN_PLANNED_PRODUCTS {
                continue;
            }
            for arch in archs() {
                for _ in 0..2 {
                    let kept = form::<f32>(Of::Output, arch, &problem);
                    assert_eq!(kept, forward::<f32>(arch, &problem));
                    let kept = form::<f64>(Of::Output, arch, &problem);
                    assert_eq!(kept, forward::<f64>(arch, &problem));
                    let kept = form::<f32>(Of::GradInput, arch, &problem);
                    assert_eq!(kept, grad_input::<f32>(arch, &problem));
                    let kept = form::<f32>(Of::GradWeight, arch, &problem);
                    assert_eq!(kept, grad_weight::<f32>(arch, &problem));
                }
            }
        }
    }
}
