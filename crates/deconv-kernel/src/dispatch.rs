//! Checks the slices, and decides which computation a call takes.

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{Arch, Simd, WithSimd};

use crate::element::Element;
use crate::long_sum::pairwise_sum;
use crate::plan::{Choices, Plan};
use crate::problem::{Axis, Problem};
use crate::threads::Threads;
use crate::tuning::{
    FINITE_CHECK_VALUES, MAX_COPY_GROWTH, MAX_FEW_CHANNEL_PAIRS, MAX_FEW_CHANNELS, MAX_FEW_TARGETS,
    MAX_FEW_TARGETS_PLANE, MAX_FEW_TARGETS_ROWS, MAX_GAPPED_KERNEL, MAX_GAPPED_WIDTH,
    MAX_MANY_SOURCES_PLANE, MAX_MANY_SOURCES_POSITIONS, MAX_NARROW_GRADIENT_WIDTH,
    MAX_NARROW_PRODUCTS, MAX_NARROW_SOURCES, MAX_NARROW_WIDTH, MAX_PHASES_PLANE,
    MAX_PLAIN_GRADIENT_PRODUCTS, MAX_PLAIN_NARROW_PRODUCTS, MAX_PLAIN_TARGETS,
    MAX_PLAIN_UNSHARED_PRODUCTS, MAX_PLAIN_UNSHARED_WIDTH, MAX_PLAIN_WEIGHT_PRODUCTS,
    MAX_PLAIN_WIDTH, MAX_POSITIONS_PER_SOURCE, MAX_SCATTER_PLANE, MAX_SCATTER_POSITIONS,
    MAX_SCATTERED_VALUES, MAX_SHORT_SUM, MAX_SHORT_SUM_PRODUCTS, MAX_SHORT_SUM_VALUES,
    MAX_SHORTEST_SUM, MAX_SMALL_COPIES, MAX_TINY_PLANE, MIN_COLUMN_CHANNELS,
    MIN_FEW_CHANNELS_PLANE, MIN_FEW_CHANNELS_WIDTH, MIN_FEW_TARGETS_SOURCES, MIN_LARGE_MAP_SOURCES,
    MIN_NARROW_GRADIENT_PRODUCTS, MIN_NARROW_GRADIENT_TARGETS, MIN_ONE_TAP_SOURCES,
    MIN_ONE_TARGET_SOURCES, MIN_OVERLAPPING_CHANNELS, MIN_PANEL_PRODUCTS, MIN_PHASES_TAPS,
    MIN_PLANNED_PRODUCTS, MIN_SCALAR_PRODUCT_PLANE, MIN_SCALAR_PRODUCT_WIDTH, MIN_SCATTER_CHANNELS,
    MIN_SHARED_CHECK_VALUES, MIN_SHORTEST_SUM_PLANE, MIN_SHORTEST_SUM_WIDTH,
    MIN_SOURCES_PER_FEW_TARGET, MIN_TINY_PRODUCTS, SHARED_VALUE_COST,
};
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
    let threads = Threads::worth(cost(problem));
    let leaves_lanes_idle = leaves_lanes_idle(problem);
    let scatters = leaves_lanes_idle
        || !has_shortest_sums(problem, MAX_TINY_PLANE) && pays_to_scatter(problem);
    let plan = if has_shortest_sums(problem, MIN_SHORTEST_SUM_PLANE)
        || scatters && (leaves_lanes_idle || !may_beat_scatter(problem))
    {
        None
    } else {
        plan_panels::<T>(arch, problem, MIN_PANEL_PRODUCTS, Plan::forward)
    };
    if let Some(plan) = plan
        && is_fit_for(arch, threads, &plan, input, weight)
    {
        panels::compute(arch, threads, &plan, input, weight, bias)
    } else if scatters {
        // It multiplies by no zero, so it takes numbers that are not finite too. Of few positions, the time is
        // that of reading the weights.
        let threads = Threads::worth(cost(problem).max(4 * weight.len()));
        scatter::forward(arch, threads, problem, input, weight, bias)
    } else if is_plain(problem) && !has_short_sums(problem) || !is_finite(arch, threads, weight) {
        direct::forward(threads, problem, input, weight, bias)
    } else if wide_stride::suits_forward::<T>(arch, problem) {
        wide_stride::forward(arch, threads, problem, input, weight, bias)
    } else if has_short_sums(problem) && depthwise::suits(problem, threads) {
        depthwise::forward(arch, threads, problem, input, weight, bias)
    } else if has_short_sums(problem) {
        lines::forward(arch, threads, problem, input, weight, bias)
    } else {
        pass::forward(arch, threads, problem, input, weight, bias)
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
    let threads = Threads::worth(cost(problem));
    let least = if problem.axes[1].input <= MAX_NARROW_GRADIENT_WIDTH
        && problem.group_c_in() >= MIN_NARROW_GRADIENT_TARGETS
    {
        MIN_NARROW_GRADIENT_PRODUCTS
    } else {
        MIN_PANEL_PRODUCTS
    };
    let most = if overlaps(problem) {
        MAX_PLAIN_GRADIENT_PRODUCTS
    } else {
        MAX_PLAIN_UNSHARED_PRODUCTS
    };
    if is_small_depthwise(problem, most, MAX_PLAIN_WIDTH) {
        direct::grad_input(threads, problem, weight, grad_output)
    } else if let Some(plan) = plan_panels::<T>(arch, problem, least, Plan::grad_input)
        && is_fit_for(arch, threads, &plan, grad_output, weight)
    {
        panels::compute(arch, threads, &plan, grad_output, weight, None)
    } else if is_plain(problem) || !is_finite(arch, threads, weight) {
        direct::grad_input(threads, problem, weight, grad_output)
    } else if wide_stride::suits_grad_input::<T>(arch, problem) {
        wide_stride::grad_input(arch, threads, problem, weight, grad_output)
    } else {
        pass::grad_input(arch, threads, problem, weight, grad_output)
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
    let threads = Threads::worth(cost(problem));
    let by_plain_loops = || direct::grad_weight(threads, problem, input, grad_output);
    let narrow = if overlaps(problem) {
        MAX_PLAIN_WIDTH
    } else {
        MAX_PLAIN_UNSHARED_WIDTH
    };
    if is_plain(problem) || is_small_depthwise(problem, MAX_PLAIN_WEIGHT_PRODUCTS, narrow) {
        by_plain_loops()
    } else if has_long_scalar_products(problem) {
        // Both operands are padded with zeros; by tiles, only the output's gradient.
        if all_below(arch, threads, &[input, grad_output], T::INFINITY) {
            scalar_products::grad_weight(arch, threads, problem, input, grad_output)
        } else {
            by_plain_loops()
        }
    } else {
        by_tiles::grad_weight(arch, threads, problem, input, grad_output)
            .unwrap_or_else(by_plain_loops)
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

/// What a call costs, in multiply-adds.
fn cost(problem: &Problem) -> usize {
    let inputs = problem.c_in * problem.input_plane();
    let outputs = problem.c_out * problem.output_plane();
    let values = problem.batch * (inputs + outputs);
    problem
        .products()
        .saturating_add(SHARED_VALUE_COST * values)
}

/// Whether plain loops are the better choice: for few products, and for taps so far apart that
/// copies would be mostly zeros.
fn is_plain(problem: &Problem) -> bool {
    let few = if problem.input_plane() <= MAX_TINY_PLANE {
        MIN_TINY_PRODUCTS
    } else {
        MIN_PLANNED_PRODUCTS
    };
    problem.products() <= few || is_sparse(problem)
}

/// Whether plain loops are the better gradient where each channel becomes one or two: if a map and its kernel have at
/// most `most` products, or more on lines of at most `narrow` values. [`MAX_PLAIN_GRADIENT_PRODUCTS`] has the
/// measurements.
fn is_small_depthwise(problem: &Problem, most: usize, narrow: usize) -> bool {
    let products = problem.taps().saturating_mul(problem.input_plane());
    problem.group_c_in() == 1
        && problem.group_c_out() <= MAX_PLAIN_TARGETS
        && (products <= most
            || products <= MAX_PLAIN_NARROW_PRODUCTS && problem.axes[1].input <= narrow)
}

/// Whether scalar products are the better gradient of the weight: tiles pad the channels to a vector.
fn has_long_scalar_products(problem: &Problem) -> bool {
    let (channels, plane) = (problem.group_c_in(), problem.input_plane());
    let are_few = channels <= MAX_FEW_CHANNELS
        && channels * problem.group_c_out() <= MAX_FEW_CHANNEL_PAIRS
        && plane >= MIN_FEW_CHANNELS_PLANE;
    let width = problem.axes[1].input;
    are_few && width >= MIN_FEW_CHANNELS_WIDTH
        || channels == 1 && (width >= MIN_SCALAR_PRODUCT_WIDTH || plane >= MIN_SCALAR_PRODUCT_PLANE)
}

/// Whether a copy with zeros around it would be mostly zeros.
fn is_sparse(problem: &Problem) -> bool {
    let growth = problem.axes.map(|axis| {
        if axis.input == 1 {
            return 1; // Its kernel's extent is its stride.
        }
        let cells = axis.input.max(axis.output / axis.stride);
        1 + axis.extent() / axis.stride / cells
    });
    growth[0].saturating_mul(growth[1]) > MAX_COPY_GROWTH
}

/// Whether [`scatter`] is the better forward pass. [`MAX_SCATTER_POSITIONS`] and [`MAX_FEW_TARGETS`] have the
/// measurements.
fn pays_to_scatter(problem: &Problem) -> bool {
    let (plane, products) = (problem.input_plane(), problem.products());
    let channels = problem.group_c_in();
    let positions = problem.batch * plane;
    let is_tiny = plane <= MAX_TINY_PLANE && products > MIN_TINY_PRODUCTS;
    let is_small = plane <= MAX_SCATTER_PLANE
        && products > MIN_PLANNED_PRODUCTS
        && channels >= MIN_SCATTER_CHANNELS;
    if overlaps(problem) && channels < MIN_OVERLAPPING_CHANNELS {
        return false;
    }
    // Of a kernel that reaches far beyond a small map, other ways multiply mostly zeros.
    let places = plane * problem.axes[0].stride * problem.axes[1].stride;
    let growth = (problem.output_plane() / places).max(1);
    has_few_targets(problem)
        || has_many_sources(problem)
        || positions <= MAX_SCATTER_POSITIONS * growth && (is_tiny || is_small)
        || is_tiny && is_sparse(problem)
}

/// Whether panels, if they suit a layer that [scatters](pays_to_scatter), are better: where more positions share
/// the packed weights than there are input channels, and not too few.
/// [`MAX_POSITIONS_PER_SOURCE`] has the measurements.
fn may_beat_scatter(problem: &Problem) -> bool {
    let positions = problem.batch * problem.input_plane();
    !has_few_targets(problem) && positions > MAX_SCATTER_POSITIONS.max(problem.group_c_in())
}

/// Whether the products of an output value are so many that to add up those of its taps is cheap.
fn has_many_sources(problem: &Problem) -> bool {
    let (plane, sources) = (problem.input_plane(), problem.group_c_in());
    let positions = problem.batch * plane;
    plane <= MAX_MANY_SOURCES_PLANE
        && positions <= MAX_MANY_SOURCES_POSITIONS
        && positions <= MAX_POSITIONS_PER_SOURCE * sources
        && problem.products() > MIN_PLANNED_PRODUCTS
}

/// Whether lines are so short, or mostly gaps, or of so many phases, that all ways but [`scatter`] compute and write
/// vectors that are mostly idle. [`MIN_COLUMN_CHANNELS`], [`MAX_GAPPED_WIDTH`] and [`MIN_PHASES_TAPS`] have the
/// measurements.
fn leaves_lanes_idle(problem: &Problem) -> bool {
    let (width, overlaps) = (&problem.axes[1], overlaps(problem));
    let becomes_several = width.output > 1 && !overlaps;
    let are_many = problem.group_c_in() >= MIN_COLUMN_CHANNELS;
    let adds_up_fast = overlaps && (are_many || problem.group_c_out() <= MAX_FEW_TARGETS);
    let is_column = width.input == 1 && (becomes_several || adds_up_fast);
    let has_gaps = width.kernel < width.stride
        && width.kernel <= MAX_GAPPED_KERNEL
        && width.input <= MAX_GAPPED_WIDTH;
    let has_many_phases =
        !overlaps && problem.taps() >= MIN_PHASES_TAPS && problem.input_plane() <= MAX_PHASES_PLANE;
    // Scattering takes each group for itself.
    let has_short_phases = problem.group_c_in() > 1 && (has_gaps || has_many_phases);
    (is_column || has_short_phases)
        && problem.group_c_in() * problem.input_plane() <= MAX_SCATTERED_VALUES
        && problem.products() > MIN_TINY_PRODUCTS
}

/// Whether an output value is a sum of several taps' products.
fn overlaps(problem: &Problem) -> bool {
    let overlaps = |axis: &Axis| axis.kernel > axis.stride && axis.input > 1;
    problem.axes.iter().any(overlaps)
}

/// Whether so many channels become so few that copies cost more than to add up all products.
fn has_few_targets(problem: &Problem) -> bool {
    let (sources, targets) = (problem.group_c_in(), problem.group_c_out());
    let strides = problem.axes[0].stride * problem.axes[1].stride;
    let least = if targets * strides == 1 {
        MIN_ONE_TARGET_SOURCES
    } else {
        MIN_FEW_TARGETS_SOURCES
    };
    targets <= MAX_FEW_TARGETS
        && sources >= least.max(MIN_SOURCES_PER_FEW_TARGET * targets)
        && (problem.input_plane() <= MAX_FEW_TARGETS_PLANE
            || targets * strides <= MAX_FEW_TARGETS_ROWS)
        && sources * problem.input_plane() <= MAX_SCATTERED_VALUES
        && (problem.taps() * strides > 1 || sources >= MIN_ONE_TAP_SOURCES)
        && problem.products() > MIN_PLANNED_PRODUCTS
}

/// Whether [`lines`] is the better forward pass than a [`pass`]. [`MAX_SHORT_SUM`] has the measurements.
fn has_short_sums(problem: &Problem) -> bool {
    let (channels, products) = (problem.group_c_in(), problem.products());
    let outputs = problem.batch * problem.c_out * problem.output_plane();
    let are_few = products <= MAX_NARROW_PRODUCTS
        || channels <= MAX_NARROW_SOURCES && products <= MAX_SHORTEST_SUM.saturating_mul(outputs);
    let has_large_maps = channels >= MIN_LARGE_MAP_SOURCES
        && channels * problem.input_plane() > MAX_SHORT_SUM_VALUES;
    let is_narrow =
        problem.axes[1].input <= MAX_NARROW_WIDTH && problem.input_plane() >= MAX_TINY_PLANE;
    sum_length(problem) <= MAX_SHORT_SUM
        && (channels == 1
            || products <= MAX_SHORT_SUM_PRODUCTS && !has_large_maps
            || is_narrow && are_few)
        && products > MIN_TINY_PRODUCTS
        && !is_sparse(problem)
}

/// Whether [`lines`] is better than other ways too, if a map has `plane` positions and more. [`MAX_SHORTEST_SUM`] has
/// the measurements.
fn has_shortest_sums(problem: &Problem, plane: usize) -> bool {
    has_short_sums(problem)
        && !has_few_targets(problem)
        && sum_length(problem) <= MAX_SHORTEST_SUM
        && problem.input_plane() >= plane
        && problem.axes[1].input >= MIN_SHORTEST_SUM_WIDTH
        && (problem.group_c_in() == 1 || problem.products() <= MAX_SHORT_SUM_PRODUCTS)
}

/// The most products that an output value is a sum of.
fn sum_length(problem: &Problem) -> usize {
    let phase = problem.axes.map(|axis| axis.kernel.div_ceil(axis.stride));
    problem.group_c_in() * phase[0] * phase[1]
}

/// The plan for [`panels`] if that is the faster way, from so many products on.
fn plan_panels<T: Element>(
    arch: Arch,
    problem: &Problem,
    least: usize,
    plan: fn(&Problem, Choices) -> Plan,
) -> Option<Plan> {
    if problem.products() < least {
        return None;
    }
    panels::plan(problem, plan).filter(|plan| panels::pays::<T>(arch, plan))
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
