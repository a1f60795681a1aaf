//! Checks the slices, and calls the form that [`cost`] estimates to be the fastest, unless a number forbids it.

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::cost::{self, Form, Of};
use crate::element::Element;
use crate::long_sum::pairwise_sum;
use crate::plan::{Choices, Plan};
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tuning::{FINITE_CHECK_VALUES, MAX_SMALL_COPIES, MIN_SHARED_CHECK_VALUES};
use crate::{
    depthwise, direct, grad_weight as by_tiles, lines, panels, pass, scalar_products, scatter,
    wide_stride,
};

/// See [`crate::forward`].
pub(crate) fn forward<T: Element>(
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
    let problem = &without_overlap(problem);
    let threads = Threads::worth(cost::muladds(problem));
    let form = cost::form::<T>(Of::Output, arch, problem);
    match (form, panels_plan(form, problem, Plan::forward)) {
        (Form::Direct, _) => direct::forward(threads, problem, input, weight, bias),
        (_, Some(plan)) if is_fit_for(arch, threads, &plan, input, weight) => {
            panels::compute(arch, threads, &plan, input, weight, bias)
        }
        (form, _) if form != Form::Scatter && is_finite(arch, threads, weight) => match form {
            Form::WideStride => wide_stride::forward(arch, threads, problem, input, weight, bias),
            Form::Depthwise if depthwise::has_planes_for(threads, problem) => {
                depthwise::forward(arch, threads, problem, input, weight, bias)
            }
            Form::Lines | Form::Depthwise => {
                lines::forward(arch, threads, problem, input, weight, bias)
            }
            _ => pass::forward(arch, threads, problem, input, weight, bias),
        },
        // These two multiply by no zero, so they take numbers that are not finite.
        _ if scatter::suits(problem) => {
            // Of few positions, the time is that of reading the weights.
            let threads = Threads::worth(cost::muladds(problem).max(4 * weight.len()));
            scatter::forward(arch, threads, problem, input, weight, bias)
        }
        _ => direct::forward(threads, problem, input, weight, bias),
    }
}

/// See [`crate::grad_input`].
pub(crate) fn grad_input<T: Element>(
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
    let problem = &without_overlap(problem);
    let threads = Threads::worth(cost::muladds(problem));
    let form = cost::form::<T>(Of::GradInput, arch, problem);
    match (form, panels_plan(form, problem, Plan::grad_input)) {
        (_, Some(plan)) if is_fit_for(arch, threads, &plan, grad_output, weight) => {
            panels::compute(arch, threads, &plan, grad_output, weight, None)
        }
        (form, _) if form != Form::Direct && is_finite(arch, threads, weight) => match form {
            Form::WideStride => {
                wide_stride::grad_input(arch, threads, problem, weight, grad_output)
            }
            _ => pass::grad_input(arch, threads, problem, weight, grad_output),
        },
        _ => direct::grad_input(threads, problem, weight, grad_output),
    }
}

/// See [`crate::grad_weight`].
pub(crate) fn grad_weight<T: Element>(
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
    let threads = Threads::worth(cost::muladds(problem));
    let by_plain_loops = || direct::grad_weight(threads, problem, input, grad_output);
    let form = cost::form::<T>(Of::GradWeight, arch, problem);
    match form {
        // Both operands are padded with zeros; by tiles, only the output's gradient.
        Form::ScalarProducts if all_below(arch, threads, &[input, grad_output], T::INFINITY) => {
            scalar_products::grad_weight(arch, threads, problem, input, grad_output)
        }
        Form::Tiles => by_tiles::grad_weight(arch, threads, problem, input, grad_output)
            .unwrap_or_else(by_plain_loops),
        _ => by_plain_loops(),
    }
}

/// See [`crate::grad_bias`].
pub(crate) fn grad_bias<T: Element>(problem: &Problem, grad_output: &[T]) -> Vec<T> {
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

/// An axis with one input value computes the same at any stride. With a stride of the kernel's extent,
/// every phase has one tap. For the gradient of the input, each tap is then a copy of its own.
fn without_overlap(problem: &Problem) -> Problem {
    if problem.taps() > MAX_SMALL_COPIES {
        return *problem;
    }
    let axes = problem.axes.map(|axis| Axis {
        stride: if axis.input == 1 {
            axis.stride.max(axis.extent())
        } else {
            axis.stride
        },
        ..axis
    });
    Problem { axes, ..*problem }
}

/// The plan of a call in panels. Without one, a pass is what comes next.
fn panels_plan(form: Form, problem: &Problem, plan: fn(&Problem, Choices) -> Plan) -> Option<Plan> {
    if form == Form::Panels {
        panels::plan(problem, plan)
    } else {
        None
    }
}

/// Whether the plan computes what it should. Minimal filtering adds and subtracts values before it multiplies
/// them.
fn is_fit_for<T: Element>(
    arch: Arch,
    threads: Threads,
    plan: &Plan,
    source: &[T],
    weight: &[T],
) -> bool {
    if plan.has_pairs() {
        all_below(arch, threads, &[source, weight], T::MODERATE)
    } else {
        is_finite(arch, threads, weight)
    }
}

/// Whether all values are finite. Copies are padded with zeros, and `0 * inf` would turn the padding
/// into NaN.
fn is_finite<T: Element>(arch: Arch, threads: Threads, values: &[T]) -> bool {
    all_below(arch, threads, &[values], T::INFINITY)
}

/// Whether all magnitudes are less than a limit, of some slices, by a call's threads.
fn all_below<T: Element>(arch: Arch, threads: Threads, values: &[&[T]], limit: T) -> bool {
    let all = AtomicBool::new(true);
    let count: usize = values.iter().map(|values| values.len()).sum();
    let threads = if count < MIN_SHARED_CHECK_VALUES {
        Threads::one()
    } else {
        threads
    };
    let parts = values
        .iter()
        .flat_map(|values| values.chunks(FINITE_CHECK_VALUES));
    let parts: Vec<&[T]> = parts.collect();
    threads.each(parts.into_iter(), |values| {
        all.fetch_and(arch.dispatch(AllBelow { values, limit }), Ordering::Relaxed);
    });
    all.into_inner()
}

/// The question whether all magnitudes are less than a limit, asked with the machine's vector instructions.
struct AllBelow<'a, T> {
    values: &'a [T],
    limit: T,
}

impl<T: Element> WithSimd for AllBelow<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let mut all = true;
        // Without an early end, the compiler uses vectors.
        for value in self.values {
            all &= value.below(self.limit);
        }
        all
    }
}
