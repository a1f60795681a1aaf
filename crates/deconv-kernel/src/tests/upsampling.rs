//! Panels and depthwise layers: the forms that most upsampling layers take.

use super::{Case, archs, each_product, same};
use crate::cost::{self, Form, Of};
use crate::draw::Draw;
use crate::plan::Plan;
use crate::threads::Threads;
use crate::tuning::MIN_NEXT_BYTES;
use crate::{Arch, Axis, Problem, depthwise, lines, panels};

/// Upsampling, channel by channel and with two outputs of each channel; maps below and above a vector.
#[test]
fn depthwise_upsampling_is_exact() {
    let mut draw = Draw::new(11);
    for (input, kernel) in [(2, 4), (3, 3), (5, 4), (16, 3), (17, 4), (40, 3), (70, 4)] {
        for rows in [2, 3, 7] {
            let problem = Problem {
                batch: 2,
                groups: 3,
                c_in: 3,
                c_out: 6,
                axes: [same(rows, kernel, 2, 1), same(input, kernel, 2, 1)],
            };
            assert!(depthwise::suits(&problem), "{problem:?}");
            let case = Case::new(&mut draw, problem);
            for arch in archs() {
                case.check::<f32>(arch, |value| value as f32);
                case.check::<f64>(arch, |value| value);
            }
        }
    }
}

/// Where there are fewer planes than threads, lines take over, and no bit changes.
#[test]
fn depthwise_upsampling_is_the_same_in_lines_to_the_last_bit() {
    let mut draw = Draw::new(17);
    for kernel in [3, 4] {
        let problem = Problem {
            batch: 1,
            groups: 2,
            c_in: 2,
            c_out: 2,
            axes: [same(7, kernel, 2, 1), same(19, kernel, 2, 1)],
        };
        let shapes = [problem.input_shape(), problem.weight_shape()];
        let [input, weight] = shapes.map(|shape| -> Vec<f32> {
            let fractions = draw.fractions(shape.iter().product());
            fractions.into_iter().map(|value| value as f32).collect()
        });
        let (bias, threads) = (Some(&[0.1_f32, 0.7][..]), Threads::all());
        for arch in archs() {
            let forms = [depthwise::forward, lines::forward];
            let [a, b] = forms.map(|form| form(arch, threads, &problem, &input, &weight, bias));
            assert!(a == b, "{arch:?}: {problem:?}");
        }
    }
}

/// Several blocks of target channels, partial sums, panels that go on from map to map, groups.
#[test]
fn panels_of_many_channels_are_exact() {
    let mut draw = Draw::new(12);
    for (kernel, stride) in [(4, 2), (3, 2), (5, 2), (3, 1), (2, 2), (3, 4), (1, 2)] {
        let problem = Problem {
            batch: 3,
            groups: 2,
            c_in: 146,
            c_out: 58,
            axes: [same(3, kernel, stride, 1), same(5, kernel, stride, 1)],
        };
        for make in [Plan::forward, Plan::grad_input] {
            assert!(panels::plan(&problem, make).is_some(), "{problem:?}");
        }
        let case = Case::new(&mut draw, problem);
        for arch in archs() {
            case.check::<f32>(arch, |value| value as f32);
        }
    }
}

/// One and two positions, whose vectors hold 2 to 16 input channels, or one.
#[test]
fn few_positions_are_exact() {
    let mut draw = Draw::new(16);
    for (c_in, c_out) in [(64, 18), (24, 9), (7, 4)] {
        for kernel in [[1, 1], [1, 2], [1, 3], [2, 2], [1, 5], [2, 4], [4, 4]] {
            for (batch, width) in [(1, 1), (2, 1), (1, 2), (3, 1)] {
                let problem = Problem {
                    batch,
                    groups: 1,
                    c_in,
                    c_out,
                    axes: [same(1, kernel[0], 2, 1), same(width, kernel[1], 2, 1)],
                };
                let case = Case::new(&mut draw, problem);
                for arch in archs() {
                    case.check::<f32>(arch, |value| value as f32);
                    case.check::<f64>(arch, |value| value);
                }
            }
        }
    }
}

/// So many cells on three threads that each of them packs the weights for itself.
#[test]
fn threads_that_pack_their_own_weights_are_exact() {
    let mut draw = Draw::new(13);
    let problem = Problem {
        batch: 1,
        groups: 2,
        c_in: 64,
        c_out: 58,
        axes: [same(40, 4, 2, 1), same(41, 4, 2, 1)],
    };
    let case = Case::new(&mut draw, problem);
    for arch in archs() {
        for make in [Plan::forward, Plan::grad_input] {
            assert!(panels::plan(&problem, make).is_some(), "{problem:?}");
        }
        super::pool(3).install(|| case.check::<f32>(arch, |value| value as f32));
    }
}

/// An output that is longer than its map, and large: what its units ask for ahead lies behind the input.
#[test]
fn large_outputs_that_are_longer_than_their_map_are_exact() {
    let longer = |input, output| Axis {
        output,
        ..same(input, 2, 2, 1)
    };
    let problem = Problem {
        batch: 1,
        groups: 1,
        c_in: 24,
        c_out: 24,
        axes: [longer(180, 384), longer(190, 383)],
    };
    assert!(panels::plan(&problem, Plan::forward).is_some());
    let bytes = (24 * (problem.input_plane() + problem.output_plane())) * size_of::<f32>();
    assert!(bytes >= MIN_NEXT_BYTES);
    let case = Case::new(&mut Draw::new(14), problem);
    case.check::<f32>(Arch::new(), |value| value as f32);
}

/// Minimal filtering subtracts neighbours before it multiplies them. A number that is too large for
/// that must not reach the results of its neighbours.
#[test]
fn large_numbers_reach_only_their_own_results_with_minimal_filtering() {
    let axis = |input| Axis {
        input,
        kernel: 4,
        stride: 2,
        dilation: 1,
        crop_begin: 1,
        output: 2 * input,
    };
    let problem = Problem {
        batch: 1,
        groups: 1,
        c_in: 128,
        c_out: 128,
        axes: [axis(8), axis(32)],
    };
    for arch in archs() {
        for plan in [Plan::forward, Plan::grad_input] {
            let plan = panels::plan(&problem, plan).expect("a plan");
            assert!(plan.axes[1].paired);
        }
        let forms = [
            cost::form::<f64>(Of::Output, arch, &problem),
            cost::form::<f64>(Of::GradInput, arch, &problem),
        ];
        assert_eq!(forms, [Form::Panels; 2], "{arch:?}");
    }
    let mut draw = Draw::new(9);
    for large in [None, Some(1e200), Some(f64::INFINITY), Some(f64::NAN)] {
        let mut case = Case::new(&mut draw, problem);
        let at = [
            draw.below(case.input.len()),
            draw.below(case.grad_output.len()),
        ];
        let mut reached = [
            vec![false; case.grad_output.len()],
            vec![false; case.input.len()],
        ];
        if let Some(large) = large {
            case.input[at[0]] = large;
            case.grad_output[at[1]] = large;
            each_product(&problem, |i, _, o| {
                reached[0][o] |= i == at[0];
                reached[1][i] |= o == at[1];
            });
        }
        for arch in archs() {
            let (input, weight) = (&case.input, &case.weight);
            let output = crate::forward(arch, &problem, input, weight, Some(&case.bias));
            let grad_input = crate::grad_input(arch, &problem, weight, &case.grad_output);
            for ((got, expected), reached) in [output, grad_input]
                .iter()
                .zip(&case.expected)
                .zip(&reached)
            {
                let mut results = got.iter().zip(expected).zip(reached);
                assert!(results.all(|((got, expected), reached)| *reached || got == expected));
            }
        }
    }
}
