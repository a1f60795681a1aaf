//! Large kernels: they end, their results are right, and their memory is bounded.

use super::{Case, archs, same, whole_map};
use crate::class::Class;
use crate::cut::{Cut, dense};
use crate::draw::Draw;
use crate::plan::{Choices, Plan};
use crate::threads::Threads;
use crate::tile::Registers;
use crate::tuning::{L2_SHARE_BYTES, MAX_L2_SHARES};
use crate::{Arch, Axis, Element, Problem, forward};

fn problem(groups: usize, c_in: usize, c_out: usize, axes: [Axis; 2]) -> Problem {
    Problem {
        batch: 1,
        groups,
        c_in,
        c_out,
        axes,
    }
}

/// Layers whose copies of one channel are larger than their share of the cache, with more taps than
/// fit in a tile; each has as few channels as a test has time for. Version 0.1.0 of 904d149 never
/// returned from most of them.
fn large_kernels() -> Vec<Problem> {
    let one = whole_map(1, 1, 1);
    vec![
        // FCN-32s and FCN-8s.
        problem(1, 1, 2, [same(16, 64, 32, 1), same(17, 64, 32, 1)]),
        problem(2, 2, 2, [same(8, 64, 32, 1); 2]),
        problem(1, 1, 1, [same(212, 16, 8, 1); 2]),
        problem(1, 1, 1, [whole_map(39, 31, 1), whole_map(40, 31, 1)]),
        problem(1, 1, 1, [same(39, 31, 1, 1); 2]),
        // Inverse short-time Fourier transforms.
        problem(1, 3, 1, [one, whole_map(400, 1024, 256)]),
        problem(1, 2, 1, [one, whole_map(100, 2048, 512)]),
        problem(1, 1, 2, [one, whole_map(600, 4096, 1)]),
        problem(1, 1, 1, [whole_map(600, 2048, 1), one]),
        problem(1, 2, 6, [same(4, 256, 1, 6), whole_map(8, 3, 1)]),
    ]
}

#[test]
fn large_kernels_are_exact() {
    let mut draw = Draw::new(4);
    for problem in large_kernels() {
        let case = Case::new(&mut draw, problem);
        for arch in archs() {
            case.check::<f32>(arch, |value| value as f32);
        }
        case.check::<f64>(Arch::new(), |value| value);
    }
}

/// Strides whose product does not fit in `usize`, of which the output keeps a few places. What calls cost is estimated
/// for all forms, also for those that they do not take.
#[test]
fn huge_strides_are_exact() {
    let stride = 1 << 40;
    let axis = Axis {
        input: 2,
        kernel: 3,
        stride,
        dilation: 1,
        crop_begin: stride - 2,
        output: 5,
    };
    let problem = problem(1, 24, 16, [axis; 2]);
    let case = Case::new(&mut Draw::new(18), problem);
    let numbers = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
    let [x, w, g, bias] = [&case.input, &case.weight, &case.grad_output, &case.bias];
    let [x, w, g, bias] = [x, w, g, bias].map(|values| numbers(values));
    let [output, grad_input, grad_weight] = case.expected.each_ref().map(|values| numbers(values));
    for arch in archs() {
        assert!(forward(arch, &problem, &x, &w, Some(&bias)) == output);
        assert!(crate::grad_input(arch, &problem, &w, &g) == grad_input);
        assert!(crate::grad_weight(arch, &problem, &x, &g) == grad_weight);
    }
}

#[test]
fn large_kernels_give_the_same_bits_on_any_number_of_threads() {
    let mut draw = Draw::new(7);
    let one = whole_map(1, 1, 1);
    let problems = [
        problem(1, 3, 2, [same(12, 64, 32, 1), same(10, 64, 32, 1)]),
        problem(2, 4, 4, [same(20, 16, 8, 1); 2]),
        problem(1, 70, 3, [one, whole_map(100, 512, 128)]),
        problem(1, 3, 2, [whole_map(39, 31, 1); 2]),
    ];
    for problem in problems {
        let shapes = [
            problem.input_shape(),
            problem.weight_shape(),
            problem.output_shape(),
        ];
        let [x, w, g] = shapes.map(|shape| -> Vec<f32> {
            let fractions = draw.fractions(shape.iter().product());
            fractions.into_iter().map(|value| value as f32).collect()
        });
        for arch in archs() {
            let results = |threads: usize| {
                super::pool(threads).install(|| {
                    [
                        crate::forward(arch, &problem, &x, &w, None),
                        crate::grad_input(arch, &problem, &w, &g),
                        crate::grad_weight(arch, &problem, &x, &g),
                    ]
                })
            };
            let expected = results(1);
            for threads in [2, 3, 8] {
                assert!(
                    results(threads) == expected,
                    "{threads} threads, {arch:?}: {problem:?}"
                );
            }
        }
    }
}

/// Far larger than any test could compute.
fn extreme_problems() -> Vec<Problem> {
    let one = whole_map(1, 1, 1);
    let mut problems = large_kernels();
    problems.extend([
        problem(1, 21, 21, [same(212, 64, 32, 1); 2]),
        problem(21, 21, 21, [same(212, 64, 32, 1); 2]),
        problem(1, 64, 64, [same(500, 31, 1, 1); 2]),
        problem(1, 1, 1, [one, whole_map(100_000, 4096, 1)]),
        problem(1, 514, 1, [one, whole_map(1_000_000, 1024, 256)]),
        problem(1, 2048, 2048, [same(7, 7, 1, 1), same(100_000, 7, 1, 1)]),
        problem(1, 1024, 3, [one, same(1_000_000, 1, 1, 1)]),
        problem(1, 3, 64, [same(128, 128, 128, 1); 2]),
    ]);
    problems
}

/// What the documentation of the crate promises for a thread's copies and sums.
fn check_memory<T: Element>(arch: Arch, threads: Threads, plan: &Plan) {
    let registers = Registers::of::<T>(arch);
    let classes = plan.classes();
    if classes.is_empty() {
        return; // All that the output keeps are appended zeros.
    }
    let cut = Cut::new::<T>(threads, registers, plan, &classes);
    let share = MAX_L2_SHARES * L2_SHARE_BYTES / size_of::<T>();
    let [height, width] = &plan.axes;
    let line = width.cells + width.reach;
    // Rounded up to an odd number of cache lines for each channel, and a vector at the end.
    let rounding = 64 * cut.depth + registers.lanes;
    let copied = share.max((1 + height.reach) * line) + rounding;
    assert!(
        cut.copied_values() <= copied,
        "{} copied values, at most {copied}: {:?}",
        cut.copied_values(),
        plan.problem
    );

    let most = |of: fn(&Class) -> usize| classes.iter().map(of).max().unwrap_or(0);
    let phases: usize = classes.iter().map(|class| class.phases.len()).sum();
    let least_phases = classes.iter().map(|class| class.phases.len()).min();
    let min_targets = registers.rows.div_ceil(least_phases.unwrap_or(1));
    let lead = most(|class| class.lead[0]);
    let sums = phases * cut.targets * (cut.band + lead) * line;
    let most_sums = share.max(phases * min_targets * (1 + lead) * line);
    assert!(
        sums <= most_sums,
        "{sums} sums, at most {most_sums}: {:?}",
        plan.problem
    );

    // The depth of a sum: the steps of a tile and the number of tiles.
    let taps = most(|class| class.taps.len());
    let products = plan.source.count * taps;
    let parts: usize = plan.copies().div_ceil(cut.copies) * plan.source.count.div_ceil(cut.depth);
    let depth = products.min(crate::tuning::MAX_TILE_STEPS) + parts + products / 512;
    if line < 10_000 {
        assert!(
            depth <= 600 + products / 16,
            "a sum of depth {depth}, {products} products: {:?}",
            plan.problem
        );
    }
}

#[test]
fn a_threads_memory_and_the_depth_of_sums_are_bounded() {
    let mut draw = Draw::new(5);
    let mut problems = extreme_problems();
    problems.extend((0..200).map(|_| super::random_problem(&mut draw)));
    for problem in &problems {
        for arch in archs() {
            for threads in [1, 2, 64] {
                let threads = Threads::new(threads);
                let merge = Choices {
                    merge_phases: problem.group_c_out() < 6,
                    ..Choices::default()
                };
                let forward = |choices| Plan::forward(problem, choices);
                let grad_input = |choices| Plan::grad_input(problem, choices);
                let choices = Choices::default();
                check_memory::<f32>(arch, threads, &dense::<f32>(arch, merge, forward));
                check_memory::<f32>(arch, threads, &dense::<f32>(arch, choices, grad_input));
                check_memory::<f64>(arch, threads, &dense::<f64>(arch, merge, forward));
                check_memory::<f64>(arch, threads, &dense::<f64>(arch, choices, grad_input));
            }
        }
    }
}
