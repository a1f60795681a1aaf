//! What a gradient check costs beside one forward and backward pass, in f64 on flex, for a decoder
//! layer: 64 to 32 channels, k4 s2, a map of 32 x 32.
//!
//! ```text
//! cargo bench --bench gradcheck
//! ```

use burn::tensor::{DType, Device, Distribution, Tensor};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, Padding};
use burn_gradcheck::{GradcheckOptions, Mode, check, check_adjoint, module};
use divan::Bencher;

fn main() {
    divan::main();
}

fn layer_and_input() -> (Deconv2dLayer, Tensor<4>) {
    let device = Device::flex();
    let layer = Deconv2dLayerConfig::new([64, 32], [4, 4])
        .with_padding(Padding::Explicit(1, 1, 1, 1))
        .init(&device);
    let input = Tensor::random([1, 64, 32, 32], Distribution::Default, &device);
    (layer, input)
}

#[divan::bench(max_time = 2)]
fn forward_and_backward(bencher: Bencher) {
    let (layer, input) = layer_and_input();
    let [weight, input] = [layer.weight.val(), input].map(|tensor| {
        let tensor = tensor.cast(DType::F64).autodiff().detach();
        tensor.require_grad()
    });
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    let bias = bias.map(|bias| bias.cast(DType::F64).autodiff().detach().require_grad());
    let options = burn_deconv::Deconv2dOptions::new().with_padding(layer.config.padding);
    let grad_output = Tensor::<4>::ones([1, 32, 64, 64], (&input.device(), DType::F64));
    bencher.bench_local(|| {
        let output =
            burn_deconv::deconv2d(input.clone(), weight.clone(), bias.clone(), options.clone());
        (output * grad_output.clone()).sum().backward()
    });
}

#[divan::bench(max_time = 4)]
fn projections(bencher: Bencher) {
    run(bencher, Mode::Projections);
}

#[divan::bench(max_time = 4)]
fn sampled_100(bencher: Bencher) {
    run(bencher, Mode::Sampled(100));
}

fn run(bencher: Bencher, mode: Mode) {
    let (layer, input) = layer_and_input();
    let options = GradcheckOptions::new().with_mode(mode);
    bencher.bench_local(|| {
        let arguments = (module(&layer), ("input", input.clone()));
        check(arguments, |(layer, input)| layer.forward(input), &options).unwrap()
    });
}

#[divan::bench(max_time = 4)]
fn adjoint(bencher: Bencher) {
    let (layer, input) = layer_and_input();
    let options = GradcheckOptions::new();
    bencher.bench_local(|| {
        let arguments = (module(&layer), ("input", input.clone()));
        check_adjoint(arguments, |(layer, input)| layer.forward(input), &options).unwrap()
    });
}
