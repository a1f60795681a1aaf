//! What a check can resolve: right functions pass, and what rounding or kinks hide is said.

use burn::tensor::activation::relu;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_gradcheck::{Finding, GradcheckOptions, Mode, Verdict, check};

use crate::{named, only, options, random};

const MODES: [Mode; 2] = [Mode::EveryElement, Mode::Projections];

fn vector(values: impl Into<Vec<f64>>) -> Tensor<1> {
    let values = values.into();
    let count = values.len();
    let data = TensorData::new(values, [count]);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

/// The same values, with a gradient that is `scale` times what it should be.
fn scaled(x: Tensor<1>, scale: f64) -> Tensor<1> {
    let off = x.clone() - x.clone().detach();
    x + off * (scale - 1.0)
}

#[test]
fn a_wrong_gradient_does_not_hide_behind_a_large_offset() {
    for offset in [0.0, 1e6, 1e8, 1e10, 1e12] {
        for mode in MODES {
            let check_scaled = |scale| {
                let function = move |x: Tensor<1>| scaled(x, scale).tanh() + offset;
                check(("x", random([6])), function, &options(mode))
            };
            let finding = only(check_scaled(1.1));
            assert_eq!(named(&finding), "wrong x", "{mode:?}, offset {offset:e}");
            // What is not resolved is said.
            let report = check_scaled(1.0).unwrap_or_else(|failure| panic!("{failure}"));
            let tensor = &report.tensors[0];
            let rounding = offset * f64::EPSILON;
            assert!(tensor.resolution >= rounding, "{report:#}");
            if offset == 0.0 {
                assert_eq!(tensor.verdict, Verdict::Agrees, "{report:#}");
            } else {
                assert_eq!(tensor.verdict, Verdict::Coarse, "{report:#}");
                let text = report.to_string();
                let said = format!(
                    "no wrong gradient found, but errors below {:.1e} in x are not resolved: ",
                    tensor.resolution
                );
                assert!(text.starts_with(&said), "{text}");
            }
        }
    }
}

#[test]
fn where_rounding_hides_everything_nothing_is_decided() {
    for scale in [1.0, 1.1, 0.0] {
        for mode in MODES {
            let finding = only(check(
                ("x", random([6])),
                move |x: Tensor<1>| scaled(x, scale).tanh() + 1e6,
                &options(mode).with_dtype(DType::F32),
            ));
            let Finding::Unresolved {
                tensor, resolution, ..
            } = &finding
            else {
                panic!("{scale} {mode:?} {finding}")
            };
            assert!(*resolution > 0.05);
            let text = format!(
                "{tensor}: nothing is decided, the rounding errors of the outputs hide errors of \
                 the gradient up to {resolution:.0e} of its size in F32: check in F64, or make the \
                 outputs smaller (is a large constant added to them?)"
            );
            assert_eq!(finding.to_string(), text);
        }
    }
}

#[test]
fn a_missing_gradient_does_not_hide_behind_a_large_offset() {
    for mode in MODES {
        let detached = |(x, y): (Tensor<1>, Tensor<1>)| (x.detach() + y).tanh() + 1e4;
        let arguments = (("x", random([6])), ("y", random([6])));
        let failure = check(arguments, detached, &options(mode).with_dtype(DType::F32));
        let verdict = failure.unwrap_err().report.tensors[0].verdict;
        assert_eq!(verdict, Verdict::Fails);
    }
}

#[test]
fn an_even_function_at_zero_depends_on_its_argument() {
    let functions: [fn(Tensor<1>) -> Tensor<1>; 4] = [
        |x| x.clone() * x,
        |x| x.cos(),
        |x| (x.clone() * x).sum(),
        |x| x.clone() * x.sin(),
    ];
    for function in functions {
        for mode in MODES {
            for dtype in [DType::F64, DType::F32] {
                let options = options(mode).with_dtype(dtype);
                let report = check(("x", vector([0.0; 3])), function, &options)
                    .unwrap_or_else(|failure| panic!("{failure}"));
                assert_ne!(report.tensors[0].verdict, Verdict::Unused, "{report:#}");
                let wrong = |x: Tensor<1>| {
                    let off = (x.clone() - x.clone().detach()).mul_scalar(0.5);
                    function(x) + off.sum()
                };
                let finding = only(check(("x", vector([0.0; 3])), wrong, &options));
                assert_eq!(named(&finding), "wrong x");
            }
        }
    }
}

#[test]
fn a_tiny_element_does_not_hide_beside_a_huge_one() {
    for (dtype, huge) in [(DType::F64, 1e8), (DType::F32, 1e4)] {
        let halved = move |x: Tensor<1>| {
            let tiny = scaled(x.clone().narrow(0, 1, 1), 0.5);
            Tensor::cat(vec![x.narrow(0, 0, 1) * huge, tiny], 0)
        };
        let finding = only(check(
            ("x", vector([0.7, -0.4])),
            halved,
            &options(Mode::EveryElement).with_dtype(dtype),
        ));
        let Finding::WrongGradient { worst, .. } = finding else {
            panic!("{finding}")
        };
        assert_eq!(worst.index, Some(vec![1]));
    }
    // In one output, the rounding of the huge one hides it. That is counted.
    let summed = |x: Tensor<1>| {
        let tiny = scaled(x.clone().narrow(0, 1, 1), 0.5);
        x.narrow(0, 0, 1) * 1e14 + tiny
    };
    let report = check(
        ("x", vector([0.7, -0.4])),
        summed,
        &options(Mode::EveryElement),
    )
    .unwrap();
    assert_eq!(report.tensors[0].unresolved, 3, "{report:#}");
    let table = format!("{report:#}");
    assert!(table.contains("agrees, 3 unresolved"), "{table}");
}

/// Random numbers between -1 and 1.
fn uniform(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..count)
        .map(|_| {
            state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

#[test]
fn right_rectifier_networks_pass_in_f32() {
    let [batch, from, hidden, to] = [32, 4, 64, 3];
    for seed in 1..=60 {
        let values = uniform(1_000, seed);
        let part = |begin: usize, count: usize, bound: f64| {
            let values = values[begin..begin + count].iter();
            vector(values.map(|value| bound * value).collect::<Vec<_>>())
        };
        let arguments = (
            ("x", part(0, batch * from, 1.0)),
            ("first", part(128, from * hidden, 0.5)),
            ("bias", part(384, hidden, 0.5)),
            ("second", part(448, hidden * to, 0.125)),
        );
        let network = |(x, first, bias, second): (Tensor<1>, Tensor<1>, Tensor<1>, Tensor<1>)| {
            let first = x
                .reshape([batch, from])
                .matmul(first.reshape([from, hidden]));
            let values: Tensor<2> = relu(first + bias.unsqueeze());
            values.matmul(second.reshape([hidden, to]))
        };
        let options = GradcheckOptions::new().with_dtype(DType::F32);
        check(arguments, network, &options).unwrap_or_else(|failure| panic!("{seed} {failure}"));
    }
}

#[test]
fn some_elements_on_a_kink_do_not_spoil_the_others() {
    let mut x = uniform(1_000, 7);
    x[400] = 0.0;
    let mut clamped = x.clone();
    clamped[17] = 0.5;
    for dtype in [DType::F64, DType::F32] {
        let options = options(Mode::Projections).with_dtype(dtype);
        let report = check(("x", vector(x.clone())), relu, &options)
            .unwrap_or_else(|failure| panic!("{failure}"));
        let tensor = &report.tensors[0];
        if dtype == DType::F64 {
            // Once for each random direction, and the others are compared to the tolerance.
            assert_eq!(tensor.kinks, 3, "{report:#}");
            assert_eq!(tensor.verdict, Verdict::Agrees, "{report:#}");
        } else {
            // The larger steps of f32 cross the kinks of elements near zero too.
            assert!(tensor.kinks >= 3, "{report:#}");
            assert!(tensor.resolution < 0.05, "{report:#}");
        }
        let clamp = |x: Tensor<1>| x.clamp(-2.0, 0.5);
        check(("x", vector(clamped.clone())), clamp, &options)
            .unwrap_or_else(|failure| panic!("{failure}"));
        // A fault elsewhere is found, and one on the kink.
        for element in [3, 400] {
            let wrong = |x: Tensor<1>| {
                let mut spot = vec![0.0; 1_000];
                spot[element] = 1.5;
                let off = x.clone() - x.clone().detach();
                relu(x)
                    + off
                        * Tensor::from_data(
                            TensorData::new(spot, [1_000]),
                            (&Device::flex().autodiff(), dtype),
                        )
            };
            let finding = only(check(("x", vector(x.clone())), wrong, &options));
            let Finding::WrongGradient { worst, .. } = finding else {
                panic!("{finding}")
            };
            assert_eq!(worst.index, Some(vec![element]));
        }
    }
}

#[test]
fn a_large_sum_of_rectifiers_passes_in_f32() {
    let options = options(Mode::Projections).with_dtype(DType::F32);
    for seed in 1..=5 {
        let x = vector(uniform(10_000, seed));
        let report = check(("x", x.clone()), |x| relu(x).sum(), &options)
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.tensors[0].resolution < 1.0, "{report:#}");
        let finding = only(check(("x", x), |x| relu(scaled(x, -1.0)).sum(), &options));
        assert_eq!(named(&finding), "wrong x");
    }
}

#[test]
fn a_gradient_where_a_pool_has_none_is_found() {
    // All elements of each window get the gradient, in place of the largest one.
    let x = random([1, 1, 4, 4]);
    let pooled = |x: Tensor<4>| {
        let window = |x: Tensor<4>| {
            x.reshape([2, 2, 2, 2])
                .permute([0, 2, 1, 3])
                .reshape([4, 4])
        };
        let values = window(x.clone());
        let all = (values.clone() - values.clone().detach()).sum_dim(1);
        values.detach().max_dim(1) + all
    };
    for mode in MODES {
        let finding = only(check(("x", x.clone()), pooled, &options(mode)));
        assert_eq!(named(&finding), "wrong x");
    }
}

#[test]
fn a_bias_in_front_of_a_norm_passes() {
    // Its gradient is zero but for rounding: the mean is subtracted.
    let normalize = |(x, bias): (Tensor<2>, Tensor<1>)| {
        let values: Tensor<2> = x + bias.unsqueeze();
        let centred = values.clone() - values.mean_dim(0);
        let variance = (centred.clone() * centred.clone()).mean_dim(0);
        centred / (variance + 1e-5).sqrt()
    };
    for mode in MODES {
        for dtype in [DType::F64, DType::F32] {
            let arguments = (("x", random([5, 3])), ("bias", random([3])));
            let report = check(arguments, normalize, &options(mode).with_dtype(dtype))
                .unwrap_or_else(|failure| panic!("{failure}"));
            let bias = &report.tensors[1];
            assert_eq!(bias.verdict, Verdict::Coarse, "{report:#}");
        }
    }
}
