//! What gradients cost, but for those in panels.

use super::sizes::Sizes;
use crate::tile::VECTORS;
use crate::tuning::MAX_TILE_STEPS;

pub(super) fn direct_input(sizes: &Sizes) -> f64 {
    let counts = [
        (sizes.products, 0.51),
        // Lines multiplied with one weight.
        (sizes.runs(), 0.136),
        (sizes.output_planes() * sizes.sources, 19.0),
    ];
    sizes.total([0.431, 4390.0], &counts)
}

pub(super) fn direct_weight(sizes: &Sizes) -> f64 {
    let counts = [
        (sizes.products, 0.78),
        (sizes.runs(), 0.28),
        (sizes.output_planes() * sizes.sources, 3.4),
    ];
    sizes.total([140.0, 4000.0], &counts)
}

/// The gradient of the input.
pub(super) fn pass(sizes: &Sizes) -> f64 {
    let (height, width) = (&sizes.height, &sizes.width);
    let vectors = sizes.pass_vectors([height.input, width.input]);
    let rows = sizes.tile_rows(sizes.problem.group_c_in());
    let weights = sizes.met_weights();
    let plane = height.input * width.input;
    // Small maps are copied value by value, once for each tap, others in lines.
    let [values, lines] = if sizes.has_small_maps(plane) {
        [sizes.output_planes() * plane as f64 * sizes.taps(), 0.0]
    } else {
        let lines = (height.input + height.reach) * height.planes * width.planes;
        [0.0, sizes.output_planes() * lines as f64]
    };
    let line = (width.input + width.reach).div_ceil(sizes.lanes) as f64;
    let counts = [
        // Multiply-adds of vectors, and the steps of tiles.
        (vectors * weights, 0.106),
        ((vectors / 2.0).ceil() * weights / rows, 0.884),
        // Weights packed, and the places of the taps.
        (weights, 0.0895),
        (sizes.groups * sizes.targets * sizes.taps(), 6.76),
        (values, 0.654),
        (lines, 5.19),
        (lines * line, 2.43),
        (sizes.input_lines(), 10.8),
    ];
    sizes.total([2950.0, 3250.0], &counts)
}

/// The gradient of the input.
pub(super) fn wide_stride(sizes: &Sizes) -> f64 {
    let lanes = sizes.lanes as f64;
    let counts = [
        (sizes.products / lanes, 0.179),
        // Weights turned.
        (sizes.weights, 0.292),
        (sizes.output_lines(), 3.43),
        (sizes.outputs / lanes, 2.04),
    ];
    sizes.total([928.0, 2970.0], &counts)
}

/// The gradient of the weight.
pub(super) fn scalar_products(sizes: &Sizes) -> f64 {
    let (height, width) = (&sizes.height, &sizes.width);
    let line = width.input.div_ceil(sizes.lanes) as f64;
    let map = height.input as f64 * line;
    let planes = height.planes * width.planes;
    let counts = [
        // Multiply-adds of vectors, the sums of their lanes, and the weights that these become.
        (sizes.weights * sizes.maps * map, 1.23),
        (sizes.weights * sizes.maps, 11.7),
        (sizes.weights, 25.7),
        // Vectors and lines copied.
        (sizes.input_lines() * line, 4.16),
        (sizes.output_planes() * (height.input * planes) as f64, 6.81),
    ];
    sizes.total([97.0, 5070.0], &counts)
}

/// The gradient of the weight.
pub(super) fn tiles(sizes: &Sizes) -> f64 {
    let (height, width) = (&sizes.height, &sizes.width);
    let (lanes, channels) = (sizes.lanes, sizes.problem.group_c_in());
    // Input channels are padded to blocks of vectors.
    let block = VECTORS.min(channels.div_ceil(lanes));
    let blocks = channels.div_ceil(block * lanes) as f64;
    let vectors = sizes.groups * blocks * block as f64;
    let rows = sizes.targets * sizes.taps();
    let tiles = (rows / (sizes.rows / 3 * 2) as f64).ceil();
    let positions = sizes.maps * (height.input * width.input) as f64;
    let bands = (positions / MAX_TILE_STEPS as f64).ceil();
    let lines = sizes.output_planes() * (height.input * height.planes * width.planes) as f64;
    let counts = [
        // Multiply-adds of vectors, and the steps of tiles.
        (positions * vectors * rows, 0.0311),
        (positions * sizes.groups * blocks * tiles, 1.4),
        // Vectors of the input that are transposed, and of the output's gradient that are copied.
        (positions * vectors, 4.52),
        (lines * width.input.div_ceil(lanes) as f64, 4.69),
        (lines, 1.73),
        // Sums that are put into their order, and vectors of partial sums.
        (sizes.weights, 0.186),
        (bands * vectors * rows, 4.64),
    ];
    sizes.total([2200.0, 4880.0], &counts)
}
