//! What a gradient check costs beside one forward and backward pass, in f64 on flex, for Burn's
//! `ConvTranspose2d`: 64 to 32 channels, k4 s2, a map of 32 x 32. Every check is verified once
//! before it is timed.
//!
//! ```text
//! cargo bench --bench gradcheck
//! ```

use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::tensor::{DType, Device, Distribution, Tensor};
use burn_gradcheck::{
    GradcheckFailure, GradcheckOptions, GradcheckReport, Mode, Verdict, check, check_adjoint,
    module,
};
use divan::Bencher;

fn main() {
    divan::main();
}

fn layer_and_input() -> (ConvTranspose2d, Tensor<4>) {
    let device = Device::flex();
    let layer = ConvTranspose2dConfig::new([64, 32], [4, 4])
        .with_stride([2, 2])
        .with_padding([1, 1])
        .init(&device);
    let input = Tensor::random([1, 64, 32, 32], Distribution::Default, &device);
    (layer, input)
}

#[divan::bench(max_time = 2)]
fn forward_and_backward(bencher: Bencher) {
    let (mut layer, input) = layer_and_input();
    let tracked = |tensor: Tensor<4>| {
        let tensor = tensor.cast(DType::F64).autodiff().detach();
        tensor.require_grad()
    };
    layer.weight = layer.weight.map(tracked);
    layer.bias = (layer.bias)
        .map(|bias| bias.map(|bias| bias.cast(DType::F64).autodiff().detach().require_grad()));
    let input = tracked(input);
    let grad_output = Tensor::<4>::ones([1, 32, 64, 64], (&input.device(), DType::F64));
    bencher.bench_local(|| {
        (layer.forward(input.clone()) * grad_output.clone())
            .sum()
            .backward()
    });
}

#[divan::bench(max_time = 4)]
fn projections(bencher: Bencher) {
    by_differences(bencher, Mode::Projections);
}

#[divan::bench(max_time = 4)]
fn sampled_100(bencher: Bencher) {
    by_differences(bencher, Mode::Sampled(100));
}

#[divan::bench(max_time = 4)]
fn adjoint(bencher: Bencher) {
    let (layer, input) = layer_and_input();
    time(bencher, || {
        let arguments = (module(&layer), ("input", input.clone()));
        let forward = |(layer, input): (ConvTranspose2d, _)| layer.forward(input);
        check_adjoint(arguments, forward, &GradcheckOptions::new())
    });
}

fn by_differences(bencher: Bencher, mode: Mode) {
    let (layer, input) = layer_and_input();
    let options = GradcheckOptions::new().with_mode(mode);
    time(bencher, || {
        let arguments = (module(&layer), ("input", input.clone()));
        let forward = |(layer, input): (ConvTranspose2d, _)| layer.forward(input);
        check(arguments, forward, &options)
    });
}

/// Verifies that a check compares every tensor and agrees, then times it.
fn time(bencher: Bencher, check: impl Fn() -> Result<GradcheckReport, GradcheckFailure>) {
    let report = check().unwrap_or_else(|failure| panic!("{failure}"));
    for tensor in &report.tensors {
        assert_eq!(tensor.verdict, Verdict::Agrees, "{report:#}");
    }
    bencher.bench_local(check);
}
