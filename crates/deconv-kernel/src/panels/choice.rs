//! Which calls are computed in panels.

use pulp::Arch;

use super::rows::has_whole_rows;
use super::source::Reads;
use crate::cut::even_part;
use crate::element::Element;
use crate::plan::{AxisPlan, Choices, Plan};
use crate::problem::{Axis, Problem};
use crate::tile::{Registers, VECTORS};
use crate::tuning::{
    MAX_NARROW_GRADIENT_WIDTH, MAX_NARROW_WIDTH, MAX_PANEL_BYTES, MAX_PANEL_KERNEL,
    MAX_PANEL_READS, MAX_PANEL_STEP, MAX_PANEL_WEIGHTS_BYTES, MAX_UNPAIRED_SMALL_MAP,
    MAX_UNPAIRED_WIDTH, MIN_ALIGNED_ROW_SOURCES, MIN_GAPPED_GRADIENT_TARGETS,
    MIN_NARROW_GRADIENT_TARGETS, MIN_NARROW_WEIGHTS, MIN_ONE_LINE_SOURCES, MIN_ROW_SOURCES,
    MIN_ROW_TARGETS, MIN_UNPAIRED_CELLS, MIN_UNPAIRED_GRADIENT_TARGETS, MIN_UNPAIRED_SOURCES,
    MIN_UNPAIRED_TARGETS, PAIR_COPY_COST, PAIR_PRODUCT_COST, PAIR_SUM_COST, PAIR_WEIGHT_COST,
};

/// The plan of a call, if there is one: strides of 1, 2 and 4 (2 with minimal filtering), and small kernels.
pub(crate) fn plan(problem: &Problem, plan: fn(&Problem, Choices) -> Plan) -> Option<Plan> {
    let small = |axis: &Axis| axis.kernel <= MAX_PANEL_KERNEL && axis.stride <= MAX_PANEL_STEP;
    if !problem.axes.iter().all(small) {
        return None;
    }
    let plan = plan(problem, Choices::for_panels());
    let [_, width] = &plan.axes;
    let steps = [width.source.step, width.target.step];
    let interleaves = |step: &usize| *step <= MAX_PANEL_STEP && step.is_power_of_two();
    let reads = Reads::new(width, true).values(width);
    // Without a copy, all that the output keeps are appended zeros.
    let fits = plan.copies() > 0 && reads <= MAX_PANEL_READS && steps.iter().all(interleaves);
    fits.then_some(plan)
}

/// Whether this is the faster way for a plan. With minimal filtering: where fewer products make up for the
/// copies, the weights and the sums ([`PAIR_COPY_COST`] has the measurements).
pub(crate) fn pays<T: Element>(arch: Arch, plan: &Plan) -> bool {
    let problem = &plan.problem;
    let registers = Registers::of::<T>(arch);
    let panel = VECTORS * registers.lanes;
    let [height, width] = &plan.axes;
    let taps = |axis: &AxisPlan| axis.classes.iter().map(|c| c.taps.len()).sum::<usize>();
    let products = taps(height) * taps(width);
    let classes = height.classes.len() * width.classes.len();
    let (sources, targets) = (plan.source.count, plan.target.count);
    let cells = plan.cells();
    let weights = products * sources * targets;
    if plan.copies() * sources * panel * size_of::<T>() > MAX_PANEL_BYTES
        || weights * size_of::<T>() > MAX_PANEL_WEIGHTS_BYTES
    {
        return false;
    }
    if !plan.has_pairs() {
        // The kernels of a target channel lie side by side.
        let is_forward = plan.source.weight_stride == problem.taps();
        let planes = height.source.step * width.source.step;
        let is_small = plan.map_cells() <= MAX_UNPAIRED_SMALL_MAP;
        return if plan.copies() > planes {
            false // Taps overlap, so there is a copy for each shift.
        } else if is_forward {
            let is_narrow = width.all_cells() <= MAX_NARROW_WIDTH && weights >= MIN_NARROW_WEIGHTS;
            let has_many = sources >= MIN_UNPAIRED_SOURCES
                && targets >= MIN_UNPAIRED_TARGETS
                && width.all_cells() <= MAX_UNPAIRED_WIDTH;
            let half = registers.lanes.div_ceil(2);
            let least = if width.all_cells().is_multiple_of(half) {
                MIN_ALIGNED_ROW_SOURCES
            } else {
                MIN_ROW_SOURCES
            };
            let writes_rows = has_whole_rows(plan, registers.lanes)
                && width.target.step == 2
                && sources >= least
                && targets >= MIN_ROW_TARGETS;
            let is_one_line = height.all_cells() == 1 && sources >= MIN_ONE_LINE_SOURCES;
            cells >= MIN_UNPAIRED_CELLS && (is_narrow || has_many || is_one_line || writes_rows)
        } else {
            let is_narrow = width.all_cells() <= MAX_NARROW_GRADIENT_WIDTH
                && targets >= MIN_NARROW_GRADIENT_TARGETS;
            let pays = if plan.copies() == planes {
                is_small || is_narrow || targets >= MIN_UNPAIRED_GRADIENT_TARGETS
            } else {
                is_narrow || targets >= MIN_GAPPED_GRADIENT_TARGETS
            };
            // With less than a panel, the weights are read once.
            pays && cells >= panel
        };
    }
    let rows = targets.div_ceil(registers.rows) * even_part(targets, registers.rows);
    let [cost, of] = PAIR_PRODUCT_COST;
    let of_a_cell = products * sources * rows * cost / of
        + PAIR_COPY_COST * plan.copies() * sources
        + PAIR_SUM_COST * classes * targets;
    let costs = cells.next_multiple_of(panel) * of_a_cell + PAIR_WEIGHT_COST * weights;
    // A pass also computes places between lines.
    let places = |axis: &Axis| axis.input + usize::from(axis.input > 1);
    let of_a_place = problem.products() / problem.groups / problem.input_plane();
    costs < of_a_place * problem.axes.iter().map(places).product::<usize>()
}
