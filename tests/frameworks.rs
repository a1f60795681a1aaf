//! Recorded answers of TensorFlow, PyTorch and JAX, values and gradients. The cases are whole
//! numbers, so they are compared with `==`. `fixtures/frameworks.py` recorded them.

mod common;

use burn::tensor::{DType, Device};
use burn_deconv::{Algorithm, Deconv2dOptions};
use common::{Answer, Case, Values, ours, run};
use serde::Deserialize;

on_every_backend!(tensorflow, pytorch, jax);

fn tensorflow(device: Device, dtype: DType) {
    check("tensorflow", 42, device, dtype);
}

fn pytorch(device: Device, dtype: DType) {
    check("pytorch", 20, device, dtype);
}

fn jax(device: Device, dtype: DType) {
    check("jax", 20, device, dtype);
}

#[derive(Deserialize)]
struct Document {
    cases: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    framework: String,
    options: Deconv2dOptions,
    input_shape: [usize; 4],
    weight_shape: [usize; 4],
    output_shape: [usize; 4],
    input: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    grad_output: Vec<f64>,
    output: Vec<f64>,
    grad_input: Vec<f64>,
    grad_weight: Vec<f64>,
    grad_bias: Vec<f64>,
}

fn check(framework: &str, count: usize, device: Device, dtype: DType) {
    let document: Document =
        serde_json::from_str(include_str!("fixtures/frameworks.json")).unwrap();
    let recorded: Vec<_> = document
        .cases
        .into_iter()
        .filter(|case| case.framework == framework)
        .collect();
    assert_eq!(recorded.len(), count, "cases of {framework}");

    for recorded in recorded {
        let case = Case {
            input: recorded.input_shape,
            weight: recorded.weight_shape,
            options: recorded.options,
            bias: true,
            strided: false,
            seed: 0,
        };
        let values = Values {
            input: recorded.input,
            weight: recorded.weight,
            bias: recorded.bias,
            grad_output: recorded.grad_output,
        };
        let expected = Answer {
            shape: recorded.output_shape,
            output: recorded.output,
            grad_input: recorded.grad_input,
            grad_weight: recorded.grad_weight,
            grad_bias: recorded.grad_bias,
        };
        for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
            let autodiff = device.clone().autodiff();
            let got = run(&case, &values, &autodiff, dtype, ours(&case, algorithm));
            assert_eq!(got, expected, "{framework}, {algorithm:?} of {case:?}");
        }
    }
}
