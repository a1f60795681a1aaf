//! What calls cost in [panels](crate::panels).

use super::sizes::{AxisSizes, Sizes};
use crate::panels;
use crate::tile::VECTORS;
use crate::tuning::{MAX_PANEL_BYTES, MAX_PANEL_STEP, MAX_PANEL_WEIGHTS_BYTES};

/// What panels multiply, copy and add up.
struct Counts {
    /// Steps of tiles, and panels, which each group has for itself.
    steps: f64,
    panels: f64,
    /// Vectors of copies, and their parts, each on one line of the source.
    copies: f64,
    copied_parts: f64,
    /// Vectors of sums.
    sums: f64,
    /// Parts of vectors of cells, each on one line of the target.
    parts: f64,
    /// Sums of weights.
    weights: f64,
}

impl Counts {
    /// Of cells, phases and copies on each axis, and a group's channels that are read and written; nothing, if there is
    /// no plan for panels, or if copies or weights do not fit in the caches.
    fn new<T>(
        sizes: &Sizes,
        cells: [usize; 2],
        [sources, targets]: [usize; 2],
        phases: [usize; 2],
        copies: [usize; 2],
    ) -> Option<Self> {
        let (height, width) = (&sizes.height, &sizes.width);
        let [copies, phases] = [copies, phases].map(|axes| axes[0] * axes[1]);
        let [rows, columns] = [
            cells[0].div_ceil(height.panel_step()),
            cells[1].div_ceil(width.panel_step()),
        ];
        let products = height.panel_products() * width.panel_products();
        let panel = VECTORS * sizes.lanes;
        // Phases of a line, or planes, that vectors interleave.
        let stride = sizes.problem.axes[1].stride;
        let step = stride.saturating_mul(width.panel_step());
        // Without pairs, overlapping taps would have a copy for each shift.
        let is_shifted = |axis: &AxisSizes| axis.reach > 0 && axis.in_pairs.is_none();
        if products == 0
            || !panels::are_possible(sizes.problem)
            || step > MAX_PANEL_STEP
            || !step.is_power_of_two()
            || is_shifted(height)
            || is_shifted(width)
            || copies * sources * panel * size_of::<T>() > MAX_PANEL_BYTES
            || products * sources * targets * size_of::<T>() > MAX_PANEL_WEIGHTS_BYTES
        {
            return None;
        }
        let all = sizes.problem.batch * rows * columns;
        let panels = all.div_ceil(panel) as f64;
        let parts = (all.div_ceil(sizes.lanes) * sizes.lanes.div_ceil(columns)) as f64;
        let [all_sources, all_targets] =
            [sources, targets].map(|count| sizes.groups * count as f64);
        let sums = phases * height.panel_sums() * width.panel_sums();
        Some(Self {
            steps: panels * all_targets * (sources * products) as f64 / sizes.tile_rows(targets),
            panels: sizes.groups * panels,
            copies: 2.0 * panels * all_sources * copies as f64,
            copied_parts: parts * all_sources * copies as f64,
            sums: 2.0 * panels * all_targets * sums as f64,
            parts: parts * all_targets * phases as f64,
            weights: sizes.groups * (sources * targets * products) as f64,
        })
    }
}

pub(super) fn forward<T>(sizes: &Sizes) -> f64 {
    let axes = [&sizes.height, &sizes.width];
    let [c_in, c_out] = [sizes.problem.group_c_in(), sizes.problem.group_c_out()];
    // Without pairs, all phases read the same value.
    let copies = axes.map(|axis| axis.in_pairs.map_or(1, |_| axis.panel_products()));
    let phases = axes.map(|axis| axis.phases);
    let cells = axes.map(|axis| axis.cells);
    let Some(counts) = Counts::new::<T>(sizes, cells, [c_in, c_out], phases, copies) else {
        return f64::INFINITY;
    };
    let counts = [
        (counts.steps, 2.16),
        (counts.panels, 166.0),
        (counts.copies, 1.74),
        (counts.copied_parts, 0.092),
        (counts.sums, 2.09),
        (counts.parts, 0.157),
        (counts.weights, 0.732),
        (sizes.output_lines(), 1.92),
    ];
    sizes.total([4460.0, 4470.0], &counts)
}

pub(super) fn grad_input<T>(sizes: &Sizes) -> f64 {
    let axes = [&sizes.height, &sizes.width];
    let [c_in, c_out] = [sizes.problem.group_c_in(), sizes.problem.group_c_out()];
    let copies = axes.map(AxisSizes::panel_products);
    let cells = axes.map(|axis| axis.input);
    let Some(counts) = Counts::new::<T>(sizes, cells, [c_out, c_in], [1, 1], copies) else {
        return f64::INFINITY;
    };
    let counts = [
        (counts.steps, 2.6),
        (counts.panels, 162.0),
        (counts.copies, 2.69),
        (counts.copied_parts, 1.34),
        (counts.sums, 2.55),
        (counts.weights, 0.413),
        (sizes.input_lines(), 0.944),
        // Vectors that are read.
        (sizes.outputs / sizes.lanes as f64, 0.34),
    ];
    sizes.total([4100.0, 5630.0], &counts)
}

#[cfg(test)]
mod tests {
    use pulp::Arch;

    use super::*;
    use crate::draw::Draw;
    use crate::plan::Plan;
    use crate::tests::random_problem;

    #[test]
    fn what_has_a_cost_has_a_plan() {
        let mut draw = Draw::new(22);
        for _ in 0..5000 {
            let problem = random_problem(&mut draw);
            let sizes = Sizes::new::<f32>(Arch::new(), &problem);
            for (cost, make) in [
                (forward::<f32>(&sizes), Plan::forward as fn(&_, _) -> _),
                (grad_input::<f32>(&sizes), Plan::grad_input),
            ] {
                let plan = panels::plan(&problem, make);
                assert!(cost.is_infinite() || plan.is_some(), "{problem:?}");
            }
        }
    }
}
