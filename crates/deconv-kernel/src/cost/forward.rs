//! What forward passes cost, but for those in panels.

use pulp::Arch;

use super::sizes::{AxisSizes, Sizes};
use crate::element::Element;
use crate::lines::{as_one_line, block};
use crate::scatter::{Lanes, is_few, maps_at_once};
use crate::tile::VECTORS;
use crate::tuning::{LARGE_INPUT_VALUES, MAX_UNCOPIED_CHANNELS, MIN_UNMERGED_CHANNELS};

pub(super) fn direct(sizes: &Sizes) -> f64 {
    let counts = [
        (sizes.products, 0.468),
        // Lines multiplied with one weight.
        (sizes.runs(), 0.492),
        (sizes.outputs, 0.178),
        (sizes.output_planes(), 52.8),
    ];
    sizes.total([536.0, 72.2], &counts)
}

pub(super) fn pass(sizes: &Sizes) -> f64 {
    let (height, width) = (&sizes.height, &sizes.width);
    let (phases, targets) = (height.phases * width.phases, sizes.problem.group_c_out());
    let vectors = sizes.pass_vectors([height.cells, width.cells]);
    // The rows of a tile are channels, and phases that read the same.
    let shares = targets < MIN_UNMERGED_CHANNELS || height.reach + width.reach == 0;
    let rows = sizes.tile_rows(targets * if shares { phases } else { 1 });
    let weights = sizes.met_weights();
    let channels = sizes.maps * sizes.groups * sizes.sources;
    // Small maps are copied value by value, once for each shift, others in vectors.
    let [values, vectors_copied] = if sizes.has_small_maps(height.cells * width.cells) {
        let shifts = (height.reach + 1) * (width.reach + 1);
        let values = height.cells * width.cells * shifts;
        [channels * values as f64, 0.0]
    } else {
        let line = (width.cells + width.reach).div_ceil(sizes.lanes);
        let lines = height.cells + height.reach;
        [0.0, channels * (lines * line) as f64]
    };
    let by_value = f64::from(width.is_written_by_value());
    let counts = [
        // Multiply-adds of vectors, and the steps of tiles.
        (vectors * weights, 0.0515),
        ((vectors / 2.0).ceil() * weights / rows, 1.83),
        // Weights packed.
        (weights, 0.399),
        (values, 0.676),
        (vectors_copied, 1.38),
        // Vectors of sums.
        (vectors * sizes.groups * sizes.targets * phases as f64, 1.91),
        (sizes.output_lines(), 1.63),
        // The parts of lines that phases are.
        (sizes.output_planes() * (height.cells * phases) as f64, 6.26),
        (sizes.outputs * by_value, 0.162),
        (sizes.groups * phases as f64, 43.7),
    ];
    sizes.total([3800.0, 4890.0], &counts)
}

pub(super) fn lines<T>(sizes: &Sizes) -> f64 {
    let problem = &as_one_line(sizes.problem);
    let one_line = problem.axes.each_ref().map(AxisSizes::new);
    let [height, width] = if problem == sizes.problem {
        [&sizes.height, &sizes.width]
    } else {
        one_line.each_ref()
    };
    let (cells, reach) = ([height.cells, width.cells], [height.reach, width.reach]);
    let block = block::<T>(problem, sizes.lanes, cells, reach);
    let [rows, columns] = block.cells;
    let (line, parts_of_line) = (columns + width.reach, width.cells.div_ceil(columns));
    let blocks = (height.cells.div_ceil(rows) * parts_of_line) as f64;
    let blocks = sizes.maps * sizes.groups * blocks;
    // The vectors of a block, and how many are computed at once with some output channels.
    let vectors = ((rows - 1) * line + columns).div_ceil(sizes.lanes);
    let at_once = (8 / block.targets.next_power_of_two()).max(2);
    let tiles = problem.group_c_out().div_ceil(block.targets) * vectors.div_ceil(at_once);
    let products = sizes.sources * sizes.taps();
    let is_in_place = height.reach + width.reach == 0
        && (height.cells, width.cells) == (height.input, width.input)
        && problem.group_c_in() <= 8 * MAX_UNCOPIED_CHANNELS;
    let copied = if is_in_place {
        0
    } else {
        (rows + height.reach) * line.div_ceil(sizes.lanes)
    };
    let parts = sizes.output_planes() * (height.output * parts_of_line) as f64;
    let [values_written, vectors_written] = if width.is_written_by_value() {
        [sizes.outputs, 0.0]
    } else {
        let values = (columns * width.phases).min(width.output);
        [0.0, parts * values.div_ceil(sizes.lanes) as f64]
    };
    let is_large = f64::from(sizes.inputs > LARGE_INPUT_VALUES);
    let phases = (height.phases * width.phases) as f64;
    let counts = [
        // Steps, each of eight multiply-adds of vectors or the time of eight, and multiply-adds.
        (blocks * tiles as f64 * products, 0.88),
        (blocks * sizes.targets * vectors as f64 * products, 0.0456),
        (blocks * sizes.targets * phases, 2.75),
        // Vectors copied, and read from far away.
        (blocks * sizes.sources * copied as f64, 2.45),
        (is_large * sizes.inputs / sizes.lanes as f64, 2.14),
        // Parts of lines that are written, vectors of them, or values.
        (parts, 1.98),
        (vectors_written, 1.21),
        (values_written, 0.382),
    ];
    sizes.total([955.0, 2070.0], &counts)
}

pub(super) fn scatter<T: Element>(arch: Arch, sizes: &Sizes) -> f64 {
    let (problem, lanes) = (sizes.problem, sizes.lanes);
    let (taps, targets) = (problem.taps(), problem.group_c_out());
    let maps = maps_at_once(problem);
    let (positions, blocks) = (maps * problem.input_plane(), problem.batch.div_ceil(maps));
    let channels = sizes.groups * sizes.sources * blocks as f64;
    // For an input channel, multiply-adds of vectors and the steps of tiles; for an output channel, runs of products
    // that are added; what a product and a run take; and the values that are packed.
    let (vectors, steps, runs, each, packed) = match Lanes::of::<T>(arch, problem) {
        Lanes::Taps => {
            let vectors = if is_few(problem, lanes) {
                (targets * taps * positions) as f64 / lanes as f64
            } else {
                (targets * positions * taps.div_ceil(lanes)) as f64
            };
            let steps = targets.div_ceil(VECTORS) * positions.div_ceil(sizes.rows);
            let runs = problem.input_plane() * problem.axes[0].kernel;
            (vectors, steps, runs, [0.359, 0.918], 0.0)
        }
        Lanes::Positions => {
            let at_once = sizes.rows.div_ceil(taps);
            let vectors = targets * taps * positions.div_ceil(lanes);
            let rows = (at_once * taps).div_ceil(sizes.rows);
            let steps = targets.div_ceil(at_once) * rows * positions.div_ceil(VECTORS * lanes);
            let runs = problem.axes[0].input * taps;
            (vectors as f64, steps, runs, [0.391, 1.55], sizes.inputs)
        }
    };
    let [product, run] = each;
    let counts = [
        (channels * vectors, 0.126),
        (channels * steps as f64, 0.0161),
        (sizes.products / sizes.sources, product),
        (sizes.output_planes() * runs as f64, run),
        (sizes.outputs, 0.0923),
        (sizes.output_planes(), 7.5),
        (packed, 0.0795),
        // Weights read.
        (sizes.weights * blocks as f64, 0.0375),
    ];
    sizes.total([738.0, 1580.0], &counts)
}

pub(super) fn wide_stride(sizes: &Sizes) -> f64 {
    let lanes = sizes.lanes as f64;
    let counts = [
        (sizes.products / lanes, 0.134),
        // Weights turned, values copied.
        (sizes.weights, 0.312),
        (sizes.inputs, 0.942),
        (sizes.output_lines(), 39.4),
        (sizes.outputs / lanes, 3.95),
    ];
    sizes.total([464.0, 656.0], &counts)
}

pub(super) fn depthwise(sizes: &Sizes) -> f64 {
    let vectors = sizes.height.cells * sizes.width.cells.div_ceil(sizes.lanes);
    let counts = [
        (sizes.output_planes() * vectors as f64, 4.71),
        (sizes.output_planes(), 19.0),
        (sizes.outputs / sizes.lanes as f64, 0.396),
    ];
    sizes.total([681.0, 1260.0], &counts)
}
