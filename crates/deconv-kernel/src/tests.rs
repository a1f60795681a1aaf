//! The kernels against plain loops over everything in `f64`, on random sizes. The numbers are whole,
//! so results are compared with `==`.

mod digits;
mod large;
mod upsampling;

use pulp::Arch;
use rayon::ThreadPool;

use crate::draw::Draw;
use crate::plan::Plan;
use crate::threads::Threads;
use crate::{Axis, Element, Problem};
use crate::{
    depthwise, direct, grad_weight, lines, panels, pass, scalar_products, scatter, wide_stride,
};

/// Random sizes and a random crop.
pub(crate) fn random_problem(draw: &mut Draw) -> Problem {
    let sizes = draw.sizes();
    let axes = sizes.axes.map(|sizes| {
        let axis = Axis {
            input: sizes.input,
            kernel: sizes.kernel,
            stride: sizes.stride,
            dilation: sizes.dilation,
            crop_begin: 0,
            output: 1,
        };
        random_crop(draw, axis)
    });
    Problem {
        batch: sizes.batch,
        groups: sizes.groups,
        c_in: sizes.c_in,
        c_out: sizes.c_out,
        axes,
    }
}

/// At the end some values are cropped, none, or zeros are appended.
fn random_crop(draw: &mut Draw, axis: Axis) -> Axis {
    let crop_begin = draw.below(axis.full().min(6));
    let longest = axis.full() - crop_begin + axis.stride.max(axis.dilation) - 1;
    Axis {
        crop_begin,
        output: longest - draw.below(longest.min(9)),
        ..axis
    }
}

/// Calls `f` with the indices of every input value, weight and output value that belong together.
fn each_product(problem: &Problem, mut f: impl FnMut(usize, usize, usize)) {
    let [n, c_in, h_in, w_in] = problem.input_shape();
    let [c_out, c_in_per_group, k_h, k_w] = problem.weight_shape();
    let [.., h_out, w_out] = problem.output_shape();
    let [height, width] = &problem.axes;
    let place = |axis: &Axis, i: usize, tap: usize| {
        let full = i * axis.stride + (axis.kernel - 1 - tap) * axis.dilation;
        full.checked_sub(axis.crop_begin)
            .filter(|at| *at < axis.output)
    };
    for (map, o, c) in (0..n)
        .flat_map(|map| (0..c_out).flat_map(move |o| (0..c_in_per_group).map(move |c| (map, o, c))))
    {
        let channel = o / (c_out / problem.groups) * c_in_per_group + c;
        for (y, x) in (0..h_in).flat_map(|y| (0..w_in).map(move |x| (y, x))) {
            for (a, b) in (0..k_h).flat_map(|a| (0..k_w).map(move |b| (a, b))) {
                let (Some(to_y), Some(to_x)) = (place(height, y, a), place(width, x, b)) else {
                    continue;
                };
                f(
                    ((map * c_in + channel) * h_in + y) * w_in + x,
                    ((o * c_in_per_group + c) * k_h + a) * k_w + b,
                    ((map * c_out + o) * h_out + to_y) * w_out + to_x,
                );
            }
        }
    }
}

struct Case {
    problem: Problem,
    input: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    grad_output: Vec<f64>,
    /// Output, and the gradients of input and weight.
    expected: [Vec<f64>; 3],
}

impl Case {
    /// Random operands.
    fn new(draw: &mut Draw, problem: Problem) -> Self {
        let [input, weight, grad_output] = [
            problem.input_shape(),
            problem.weight_shape(),
            problem.output_shape(),
        ]
        .map(|shape| draw.whole_numbers(shape.iter().product()));
        let bias = draw.whole_numbers(problem.c_out);
        let [.., h_out, w_out] = problem.output_shape();
        let planes = (0..grad_output.len()).map(|at| at / (h_out * w_out) % bias.len());
        let mut output: Vec<f64> = planes.map(|channel| bias[channel]).collect();
        let (mut grad_input, mut grad_weight) = (vec![0.; input.len()], vec![0.; weight.len()]);
        each_product(&problem, |i, w, o| {
            output[o] += input[i] * weight[w];
            grad_input[i] += weight[w] * grad_output[o];
            grad_weight[w] += input[i] * grad_output[o];
        });
        let expected = [output, grad_input, grad_weight];
        Self {
            problem,
            input,
            weight,
            bias,
            grad_output,
            expected,
        }
    }

    /// Checks the kernels' results for one kind of vectors.
    fn check<T: Element + Into<f64>>(&self, arch: Arch, number: fn(f64) -> T) {
        let (threads, problem) = (Threads::all(), &self.problem);
        let numbers = |values: &[f64]| -> Vec<T> { values.iter().map(|v| number(*v)).collect() };
        let [input, weight] = [&self.input, &self.weight].map(|values| numbers(values));
        let [bias, grad_output] = [&self.bias, &self.grad_output].map(|values| numbers(values));
        let [output, grad_input, grad_weight] = &self.expected;
        let compare = |kernel: &str, got: Vec<T>, expected: &[f64]| {
            compare(&got, expected, || {
                format!("{kernel}, {arch:?}: {problem:?}")
            });
        };

        let got = pass::forward(arch, threads, problem, &input, &weight, Some(&bias));
        compare("forward pass", got, output);
        let got = pass::grad_input(arch, threads, problem, &weight, &grad_output);
        compare("gradient of the input", got, grad_input);
        if let Some(plan) = panels::plan(problem, Plan::forward) {
            let got = panels::compute(arch, threads, &plan, &input, &weight, Some(&bias));
            compare("forward pass in panels", got, output);
        }
        if let Some(plan) = panels::plan(problem, Plan::grad_input) {
            let got = panels::compute(arch, threads, &plan, &grad_output, &weight, None);
            compare("gradient of the input in panels", got, grad_input);
        }
        if depthwise::suits(problem) {
            let got = depthwise::forward(arch, threads, problem, &input, &weight, Some(&bias));
            compare("forward pass of one input channel", got, output);
        }
        let got = scatter::forward(arch, threads, problem, &input, &weight, Some(&bias));
        compare("forward pass by scattering", got, output);
        let got = lines::forward(arch, threads, problem, &input, &weight, Some(&bias));
        compare("forward pass of short sums", got, output);
        let got = grad_weight::grad_weight(arch, threads, problem, &input, &grad_output);
        let got = got.expect("finite numbers");
        compare("gradient of the weight", got, grad_weight);
        let got = scalar_products::grad_weight(arch, threads, problem, &input, &grad_output);
        compare("scalar products", got, grad_weight);
        // At stride 1, all but one lane of a vector are idle.
        if wide_stride::can_forward(problem) && problem.axes[1].stride > 1 {
            let bias = Some(&bias[..]);
            let got = wide_stride::forward(arch, threads, problem, &input, &weight, bias);
            compare("forward pass at a wide stride", got, output);
        }
        if wide_stride::can_grad_input::<T>(arch, problem) {
            let got = wide_stride::grad_input(arch, threads, problem, &weight, &grad_output);
            compare("gradient of the input at a wide stride", got, grad_input);
        }
        // Plain loops have no vectors.
        if matches!(arch, Arch::Scalar) {
            let got = direct::forward(threads, problem, &input, &weight, Some(&bias));
            compare("plain forward pass", got, output);
            let got = direct::grad_input(threads, problem, &weight, &grad_output);
            compare("plain gradient of the input", got, grad_input);
            let got = direct::grad_weight(threads, problem, &input, &grad_output);
            compare("plain gradient of the weight", got, grad_weight);
        }
    }
}

/// Names the first value that is another.
fn compare<T: Element + Into<f64>>(got: &[T], expected: &[f64], message: impl Fn() -> String) {
    assert_eq!(got.len(), expected.len(), "{}", message());
    let values = got.iter().map(|got| (*got).into()).zip(expected);
    let wrong = values
        .enumerate()
        .find(|(_, (got, expected))| got != *expected);
    assert!(wrong.is_none(), "{wrong:?}: {}", message());
}

/// All kinds of vectors that the machine has.
pub(crate) fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

/// Two halves, which the test program runs at once: one with a thread, one with three.
#[test]
fn every_kernel_is_exact_on_random_sizes_on_one_thread() {
    check_random_problems(1, &pool(1));
}

#[test]
fn every_kernel_is_exact_on_random_sizes_on_three_threads() {
    check_random_problems(2, &pool(3));
}

fn check_random_problems(seed: u64, pool: &ThreadPool) {
    let mut draw = Draw::new(seed);
    for _ in 0..1_500 {
        let problem = random_problem(&mut draw);
        let case = Case::new(&mut draw, problem);
        pool.install(|| {
            for arch in archs() {
                case.check::<f32>(arch, |value| value as f32);
                case.check::<f64>(arch, |value| value);
            }
        });
    }
}

/// Geometries past the size of small calls: tiles, bands and blocks with remainders, few and many
/// channels, groups, taps far apart, and few positions.
fn large_problems() -> [Problem; 7] {
    let square = |input, kernel, stride| same(input, kernel, stride, 1);
    let problem = |batch, [c_in, c_out]: [usize; 2], groups, axes| Problem {
        batch,
        groups,
        c_in,
        c_out,
        axes,
    };
    [
        problem(2, [8, 7], 1, [same(9, 3, 2, 40), same(6, 3, 2, 50)]),
        problem(2, [70, 13], 1, [square(9, 4, 2), square(7, 3, 2)]),
        problem(1, [3, 5], 1, [square(33, 3, 2), square(40, 3, 1)]),
        problem(1, [6, 6], 6, [square(30, 4, 2), square(31, 4, 2)]),
        problem(1, [20, 1], 1, [square(20, 9, 3); 2]),
        problem(3, [16, 24], 2, [square(8, 2, 2); 2]),
        problem(2, [64, 18], 1, [square(1, 1, 2), square(1, 4, 2)]),
    ]
}

/// One tap, and as many outputs as inputs, but the first value is cropped and a zero appended.
#[test]
fn a_kernel_of_one_tap_may_be_cropped() {
    let axis = Axis {
        input: 6,
        kernel: 1,
        stride: 1,
        dilation: 2,
        crop_begin: 1,
        output: 6,
    };
    let problem = Problem {
        batch: 2,
        groups: 2,
        c_in: 6,
        c_out: 4,
        axes: [axis; 2],
    };
    let case = Case::new(&mut Draw::new(8), problem);
    for arch in archs() {
        case.check::<f32>(arch, |value| value as f32);
    }
}

/// TensorFlow's `SAME`: an output of `input * stride`, an odd crop cuts one more at the end.
fn same(input: usize, kernel: usize, stride: usize, dilation: usize) -> Axis {
    let axis = Axis {
        input,
        kernel,
        stride,
        dilation,
        crop_begin: 0,
        output: input * stride,
    };
    Axis {
        crop_begin: axis.full().saturating_sub(axis.output) / 2,
        ..axis
    }
}

/// The full map, with nothing cropped.
fn whole_map(input: usize, kernel: usize, stride: usize) -> Axis {
    let axis = Axis {
        input,
        kernel,
        stride,
        dilation: 1,
        crop_begin: 0,
        output: 0,
    };
    Axis {
        output: axis.full(),
        ..axis
    }
}

#[test]
fn a_number_that_is_not_finite_reaches_only_its_own_results() {
    let mut draw = Draw::new(2);
    for problem in large_problems() {
        let shapes = [
            problem.input_shape(),
            problem.weight_shape(),
            problem.output_shape(),
        ];
        let sizes = shapes.map(|shape| shape.iter().product::<usize>());
        for (operand, value) in [(0, f64::INFINITY), (1, f64::NAN), (2, f64::NEG_INFINITY)] {
            let mut values = sizes.map(|size| draw.whole_numbers(size));
            let at = draw.below(sizes[operand]);
            values[operand][at] = value;
            let [input, weight, grad_output] = values;
            let mut expected = [vec![0.; sizes[2]], vec![0.; sizes[0]], vec![0.; sizes[1]]];
            each_product(&problem, |i, w, o| {
                expected[0][o] += input[i] * weight[w];
                expected[1][i] += weight[w] * grad_output[o];
                expected[2][w] += input[i] * grad_output[o];
            });
            for arch in archs() {
                let got = [
                    crate::forward(arch, &problem, &input, &weight, None),
                    crate::grad_input(arch, &problem, &weight, &grad_output),
                    crate::grad_weight(arch, &problem, &input, &grad_output),
                ];
                for (got, expected) in got.iter().zip(&expected) {
                    let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
                    let all = got.iter().zip(expected).all(same);
                    assert!(all, "{value} in operand {operand}, {arch:?}: {problem:?}");
                }
            }
        }
    }
}

#[test]
fn results_are_the_same_to_the_last_bit_on_any_number_of_threads() {
    let mut draw = Draw::new(3);
    for problem in large_problems() {
        let shapes = [
            problem.input_shape(),
            problem.weight_shape(),
            problem.output_shape(),
        ];
        let [input, weight, grad_output] = shapes.map(|shape| -> Vec<f32> {
            // No whole numbers: any other order of a sum would show.
            let fractions = draw.fractions(shape.iter().product());
            fractions.into_iter().map(|value| value as f32).collect()
        });
        for arch in archs() {
            let results = |threads: usize| {
                let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
                let results: Vec<Vec<u32>> = pool(threads).install(|| {
                    let threads = Threads::all();
                    let (x, w, g) = (&input, &weight, &grad_output);
                    let mut results = vec![
                        pass::forward(arch, threads, &problem, x, w, None),
                        lines::forward(arch, threads, &problem, x, w, None),
                        scatter::forward(arch, threads, &problem, x, w, None),
                        pass::grad_input(arch, threads, &problem, w, g),
                        grad_weight::grad_weight(arch, threads, &problem, x, g).unwrap(),
                        scalar_products::grad_weight(arch, threads, &problem, x, g),
                    ];
                    if let Some(plan) = panels::plan(&problem, Plan::forward) {
                        results.push(panels::compute(arch, threads, &plan, x, w, None));
                    }
                    if let Some(plan) = panels::plan(&problem, Plan::grad_input) {
                        results.push(panels::compute(arch, threads, &plan, g, w, None));
                    }
                    results.into_iter().map(bits).collect()
                });
                results
            };
            let expected = results(1);
            for threads in [1, 2, 3, 8] {
                assert!(
                    results(threads) == expected,
                    "{threads} threads, {arch:?}: {problem:?}"
                );
            }
        }
    }
}
