//! Long sums in `f32` against the same sums in `f64`: within the bound of the documentation, and as
//! close as Burn's own layer.

use super::{each_product, whole_map};
use crate::draw::Draw;
use crate::plan::{Choices, Plan};
use crate::threads::Threads;
use crate::{Arch, Problem, panels, pass};

fn problem(batch: usize, c_in: usize, c_out: usize, axes: [crate::Axis; 2]) -> Problem {
    Problem {
        batch,
        groups: 1,
        c_in,
        c_out,
        axes,
    }
}

/// The result of one kernel, with what it should be.
struct Sums {
    got: Vec<f32>,
    exact: Vec<f64>,
    /// The sums of the products' magnitudes.
    magnitudes: Vec<f64>,
    /// The most products of a sum.
    products: usize,
}

impl Sums {
    /// The largest error over the bound's unit: `2^-24` times the sum of the magnitudes.
    fn depth(&self) -> f64 {
        let unit = 2_f64.powi(-24);
        let results = self.got.iter().zip(&self.exact).zip(&self.magnitudes);
        let depths = results
            .map(|((got, exact), magnitude)| (f64::from(*got) - exact).abs() / (unit * magnitude));
        depths.fold(0.0, f64::max)
    }

    /// The largest error over the rms of the results.
    fn relative_error(&self) -> f64 {
        let squares: f64 = self.exact.iter().map(|value| value * value).sum();
        let rms = (squares / self.exact.len() as f64).sqrt();
        let errors = self.got.iter().zip(&self.exact);
        let errors = errors.map(|(got, exact)| (f64::from(*got) - exact).abs());
        errors.fold(0.0, f64::max) / rms
    }
}

/// Computes all three results for the given values, which are exact in `f32`.
fn compute(problem: &Problem, operands: [Vec<f64>; 3]) -> [Sums; 3] {
    let [input, weight, grad_output] = &operands;
    let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|v| *v as f32).collect() };
    let (x, w, g) = (single(input), single(weight), single(grad_output));
    let zeros = |got: Vec<f32>| Sums {
        exact: vec![0.0; got.len()],
        magnitudes: vec![0.0; got.len()],
        got,
        products: 0,
    };
    let arch = Arch::new();
    let mut sums = [
        zeros(crate::forward(arch, problem, &x, &w, None)),
        zeros(crate::grad_input(arch, problem, &w, &g)),
        zeros(crate::grad_weight(arch, problem, &x, &g)),
    ];
    let mut add = |result: usize, at: usize, product: f64| {
        let sums: &mut Sums = &mut sums[result];
        sums.exact[at] += product;
        sums.magnitudes[at] += product.abs();
        sums.products += 1;
    };
    each_product(problem, |i, w, o| {
        add(0, o, input[i] * weight[w]);
        add(1, i, weight[w] * grad_output[o]);
        add(2, w, input[i] * grad_output[o]);
    });
    for sums in &mut sums {
        sums.products = sums.products.div_ceil(sums.got.len());
    }
    sums
}

fn operands(problem: &Problem, mut values: impl FnMut(usize) -> Vec<f64>) -> [Vec<f64>; 3] {
    let shapes = [
        problem.input_shape(),
        problem.weight_shape(),
        problem.output_shape(),
    ];
    shapes.map(|shape| values(shape.iter().product()))
}

/// Positions from 16,384 to 1,048,576 in few large maps and in many small ones; many channels.
fn long_sums() -> Vec<Problem> {
    let k2 = |input| whole_map(input, 2, 2);
    let k1 = |input| whole_map(input, 1, 1);
    vec![
        problem(1, 1, 2, [k2(128), k2(128)]),
        problem(1, 8, 1, [k2(128), k2(128)]),
        problem(16, 5, 1, [k1(256), k1(256)]),
        problem(1, 5, 1, [k1(4), k1(20_000)]),
        problem(1, 1, 1, [k1(1024), k1(1024)]),
        problem(40_000, 5, 1, [k1(1), k1(2)]),
        problem(1, 2048, 4, [whole_map(3, 4, 2), whole_map(2, 4, 2)]),
        problem(1, 4, 2048, [whole_map(3, 4, 2), whole_map(2, 4, 2)]),
    ]
}

#[test]
fn long_sums_keep_to_the_bound() {
    let mut draw = Draw::new(6);
    for problem in long_sums() {
        for positive in [false, true] {
            let values = |count: usize| {
                if positive {
                    (0..count).map(|_| draw.fraction()).collect()
                } else {
                    draw.normal_numbers(count)
                }
            };
            let values = operands(&problem, values);
            let results = compute(&problem, values);
            for (name, sums) in ["output", "grad_input", "grad_weight"].iter().zip(&results) {
                let bound = (600 + sums.products / 16) as f64;
                let depth = sums.depth();
                assert!(depth <= bound, "{name}: {depth} > {bound}, {problem:?}");
                // Rounding errors of a sum cancel: of depth `d`, about the root of `d` is left. A
                // running sum of 1,048,576 products has 1.8e-4 here, Burn's own layer 1.4e-6 of
                // positive numbers and 2.4e-6 of others.
                let error = sums.relative_error();
                let limit = if positive { 1.4e-6 } else { 2.4e-6 };
                assert!(
                    error <= limit,
                    "{name}: error {error:e}, positive {positive}, {problem:?}"
                );
            }
        }
    }
}

/// With minimal filtering, differences of values and sums of weights are rounded too. Its shorter
/// partial sums make up for it: with AVX-512 the rms errors were 0.88 and 0.79 times those without.
#[test]
fn minimal_filtering_keeps_the_digits() {
    let problem = problem(1, 128, 128, [whole_map(3, 4, 2), whole_map(32, 4, 2)]);
    let mut draw = Draw::new(10);
    let operands = operands(&problem, |count| draw.normal_numbers(count));
    let single = operands
        .each_ref()
        .map(|values| -> Vec<f32> { values.iter().map(|value| *value as f32).collect() });
    let [x, w, g] = &single;
    let (arch, threads) = (Arch::new(), Threads::all());
    let [output, grad_input, _] = compute(&problem, operands);
    let rms_error = |got: &[f32], exact: &[f64]| {
        let errors = got
            .iter()
            .zip(exact)
            .map(|(got, exact)| f64::from(*got) - exact);
        errors.map(|error| error * error).sum::<f64>().sqrt()
    };
    let forward = Plan::forward(&problem, Choices::for_panels());
    let backward = Plan::grad_input(&problem, Choices::for_panels());
    let results = [
        [
            pass::forward(arch, threads, &problem, x, w, None),
            pass::grad_input(arch, threads, &problem, w, g),
        ],
        [
            panels::compute(arch, threads, &forward, x, w, None),
            panels::compute(arch, threads, &backward, g, w, None),
        ],
    ];
    let errors = results.map(|[forward, backward]| {
        [
            rms_error(&forward, &output.exact),
            rms_error(&backward, &grad_input.exact),
        ]
    });
    for (plain, pairs) in errors[0].iter().zip(errors[1]) {
        println!(
            "error with minimal filtering over that without: {}",
            pairs / plain
        );
        assert!(
            pairs <= 1.1 * plain,
            "{pairs:e}, without minimal filtering {plain:e}"
        );
    }
}

/// A running sum of ones stops at 16,777,216.
#[test]
fn more_ones_than_single_precision_can_count() {
    let map = whole_map(4096, 1, 1);
    for c_in in [1, 5] {
        let problem = problem(1, c_in, 1, [map, whole_map(5000, 1, 1)]);
        let ones = |shape: [usize; 4]| vec![1.0_f32; shape.iter().product()];
        let (x, g) = (ones(problem.input_shape()), ones(problem.output_shape()));
        let grad = crate::grad_weight(Arch::new(), &problem, &x, &g);
        assert_eq!(grad, vec![20_480_000.0; c_in]);
        assert_eq!(crate::grad_bias(&problem, &g), [20_480_000.0]);
    }
}
