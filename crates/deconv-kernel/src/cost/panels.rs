//! What calls cost in [panels](crate::panels).

use super::sizes::{AxisSizes, Sizes};
use crate::panels;
use crate::tile::VECTORS;
use crate::tuning::{MAX_PANEL_BYTES, MAX_PANEL_WEIGHTS_BYTES};

/// What panels multiply, copy and add up.
struct Counts {
    /// Steps of tiles.
    steps: f64,
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
        let [rows, columns] = [height.panel_cells(cells[0]), width.panel_cells(cells[1])];
        let products = height.panel_products() * width.panel_products();
        let panel = VECTORS * sizes.lanes;
        // Without pairs, overlapping taps would have a copy for each shift.
        let is_shifted = |axis: &AxisSizes| axis.reach > 0 && axis.in_pairs.is_none();
        if !panels::are_possible(sizes.problem)
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
        (counts.steps, 2.19),
        (counts.copies, 1.83),
        (counts.copied_parts, 0.152),
        (counts.sums, 2.23),
        (counts.parts, 0.259),
        (counts.weights, 0.598),
        (sizes.output_lines(), 1.99),
    ];
    sizes.total([4930.0, 5250.0], &counts)
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
        (counts.steps, 2.09),
        (counts.copies, 3.66),
        (counts.copied_parts, 1.23),
        (counts.sums, 3.17),
        (counts.weights, 0.42),
        (sizes.input_lines(), 1.42),
        // Vectors that are read.
        (sizes.outputs / sizes.lanes as f64, 1.36),
    ];
    sizes.total([4220.0, 6600.0], &counts)
}
