//! How many kernels a call launches on a CubeCL backend. The counts may fall, not grow: on a GPU each
//! launch costs some microseconds, which is what small layers take.
#![cfg(all(feature = "wgpu", not(feature = "fusion")))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Device, Distribution, Tensor};
use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
use burn_deconv::{Deconv2dOptions, Padding, deconv2d};

#[derive(Default)]
struct Counter(AtomicUsize);

impl LaunchObserver for Counter {
    fn launched(&self, _kernel: &'static str) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// The launches of `f`, without those of its first call, which may tune or initialise.
fn launches(f: impl Fn()) -> usize {
    f();
    let counter = Arc::new(Counter::default());
    let observation = LaunchObservation::new(counter.clone());
    f();
    drop(observation);
    counter.0.load(SeqCst)
}

type Layer = fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>;

/// 64 to 32 channels, kernel 4, stride 2, padding 1: ours and Burn's.
fn ours(input: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let options = Deconv2dOptions::new().with_padding(Padding::Explicit(1, 1, 1, 1));
    deconv2d(input, weight, Some(bias), options)
}

fn burns(input: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
    conv_transpose2d(input, weight.swap_dims(0, 1), Some(bias), options)
}

/// `[forward, forward and backward]`.
fn counts(layer: Layer) -> [usize; 2] {
    let device = Device::wgpu(Default::default());
    let random = || {
        (
            Tensor::<4>::random([1, 64, 32, 32], Distribution::Default, &device),
            Tensor::<4>::random([32, 64, 4, 4], Distribution::Default, &device),
            Tensor::<1>::random([32], Distribution::Default, &device),
        )
    };
    let (input, weight, bias) = random();
    let output = layer(input.clone(), weight.clone(), bias.clone());
    let grad_output = Tensor::<4>::random(output.dims(), Distribution::Default, &device);
    let forward = launches(|| drop(layer(input.clone(), weight.clone(), bias.clone())));

    let [input, weight, grad_output] = [input, weight, grad_output].map(Tensor::autodiff);
    let (input, weight) = (input.require_grad(), weight.require_grad());
    let bias = bias.autodiff().require_grad();
    let both = launches(|| {
        let output = layer(input.clone(), weight.clone(), bias.clone());
        drop((output * grad_output.clone()).sum().backward());
    });
    [forward, both]
}

#[test]
fn launches_do_not_grow() {
    let (ours, burns) = (counts(ours), counts(burns));
    println!("launches [forward, with backward]: ours {ours:?}, Burn's {burns:?}");
    assert!((1..=3).contains(&ours[0]), "forward: {ours:?}");
    assert!(
        ours[0] <= burns[0] + 2 && ours[1] <= burns[1] + 2,
        "ours {ours:?}, Burn's {burns:?}"
    );
}
