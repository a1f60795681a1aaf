//! The layer as a Burn module: initial values, display, saving and loading, training.

mod common;

use burn::config::Config;
use burn::module::Module;
use burn::nn::Initializer;
use burn::nn::conv::ConvTranspose2dConfig;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{Algorithm, Deconv2dLayer, Deconv2dLayerConfig, Padding};
use common::{Draw, flat, tensor};

fn config() -> Deconv2dLayerConfig {
    Deconv2dLayerConfig::new([6, 4], [3, 5])
        .with_stride([2, 3])
        .with_dilation([2, 1])
        .with_groups(2)
        .with_padding(Padding::Explicit(1, 2, 3, 4))
        .with_padding_out([1, 0])
        .with_algorithm(Algorithm::Explicit)
}

fn largest(values: &[f64]) -> f64 {
    values
        .iter()
        .fold(0., |largest, value| value.abs().max(largest))
}

/// The bounds of Burn's own layer: both draw from them and come close to them.
#[test]
fn initial_values_have_the_bounds_of_burns_layer() {
    let device = Device::default();
    let (channels, kernel_size, groups) = ([64, 48], [5, 3], 4);
    let ours = Deconv2dLayerConfig::new(channels, kernel_size)
        .with_groups(groups)
        .init(&device);
    let burns = ConvTranspose2dConfig::new(channels, kernel_size)
        .with_groups(groups)
        .init(&device);

    let bound = 1. / f64::sqrt((48 / groups * 5 * 3) as f64);
    assert_eq!(ours.weight.dims(), [48, 64 / groups, 5, 3]);
    for values in [ours.weight.val(), burns.weight.val()] {
        let largest = largest(&flat(values));
        assert!(
            (0.99 * bound..=bound).contains(&largest),
            "{largest} for a bound of {bound}"
        );
    }
    for values in [ours.bias.unwrap().val(), burns.bias.unwrap().val()] {
        let largest = largest(&flat(values));
        assert!(
            (0.8 * bound..=bound).contains(&largest),
            "{largest} for a bound of {bound}"
        );
    }
}

#[test]
fn initializers_that_count_fan_out() {
    let device = Device::default();
    let init = |initializer| {
        let config = Deconv2dLayerConfig::new([64, 16], [3, 3]).with_initializer(initializer);
        largest(&flat(config.init(&device).weight.val()))
    };
    let close = |got: f64, bound: f64| assert!((0.99 * bound..=bound).contains(&got), "{got}");
    let (fan_in, fan_out) = (16. * 9., 64. * 9.);
    close(
        init(Initializer::XavierUniform { gain: 1. }),
        f64::sqrt(6. / (fan_in + fan_out)),
    );
    let fan_out_only = Initializer::KaimingUniform {
        gain: 1.,
        fan_out_only: true,
    };
    close(init(fan_out_only), f64::sqrt(3. / fan_out));
    assert_eq!(init(Initializer::Zeros), 0.);
}

#[test]
fn display() {
    let layer = config().init(&Device::default());
    assert_eq!(
        layer.to_string(),
        "Deconv2dLayer {channels: [6, 4], stride: [2, 3], kernel_size: [3, 5], dilation: [2, 1], \
         groups: 2, padding: Explicit(1, 2, 3, 4), padding_out: [1, 0], algorithm: Explicit, \
         params: 184}"
    );
}

#[test]
fn config_saves_and_loads() {
    let path = std::env::temp_dir().join(format!("burn-deconv-{}.json", std::process::id()));
    for config in [config(), Deconv2dLayerConfig::new([1, 2], [3, 4])] {
        config.save(&path).unwrap();
        assert_eq!(Deconv2dLayerConfig::load(&path).unwrap(), config);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn defaults_are_the_articles() {
    let config = Deconv2dLayerConfig::new([4, 2], [3, 3]);
    let json: serde_json::Value = serde_json::from_str(&config.to_string()).unwrap();
    let gain = 1. / f64::sqrt(3.);
    assert_eq!(
        json,
        serde_json::json!({
            "channels": [4, 2], "kernel_size": [3, 3], "stride": [2, 2], "dilation": [1, 1],
            "groups": 1, "padding": "Same", "padding_out": [0, 0], "bias": true,
            "initializer": {"KaimingUniform": {"gain": gain, "fan_out_only": false}},
            "fan": "Burn", "algorithm": "SkipZeros",
        })
    );
    assert_eq!(config.output_size([3, 5]).unwrap(), [6, 10]);
}

#[test]
fn record_saves_and_loads() {
    let device = Device::default();
    let (saved, fresh) = (config().init(&device), config().init(&device));
    let input = Tensor::<4>::ones([2, 6, 4, 3], &device);
    let expected = flat(saved.forward(input.clone()));
    assert_ne!(flat(fresh.forward(input.clone())), expected);

    let path = std::env::temp_dir().join(format!("burn-deconv-{}.bpk", std::process::id()));
    saved.clone().save_file(&path).unwrap();
    let loaded = fresh.clone().try_load_file(&path).unwrap();
    assert_eq!(flat(loaded.forward(input.clone())), expected);
    std::fs::remove_file(path).unwrap();

    let bytes = saved.into_record().into_bytes().unwrap();
    let record = ModuleRecord::from_bytes(bytes).unwrap();
    let loaded = fresh.try_load_record(record).unwrap();
    assert_eq!(flat(loaded.forward(input)), expected);
}

#[test]
fn record_of_another_layer_is_refused() {
    let device = Device::default();
    let record = Deconv2dLayerConfig::new([6, 4], [3, 3])
        .init(&device)
        .into_record();
    let error = config()
        .init(&device)
        .try_load_record(record)
        .unwrap_err()
        .to_string();
    assert!(error.contains("weight"), "{error}");
}

/// A model with two layers learns to reproduce a map: everything that training needs is there.
#[test]
fn trains_inside_a_model() {
    #[derive(Module, Debug)]
    struct Decoder {
        first: Deconv2dLayer,
        second: Deconv2dLayer,
    }

    let device = Device::default().autodiff();
    // Drawn here, since other tests draw from the device's generator at the same time.
    let mut draw = Draw::new(1);
    let mut layer = |channels: [usize; 2], kernel: usize| {
        let mut layer = Deconv2dLayerConfig::new(channels, [kernel, kernel]).init(&device);
        let shape = [channels[1], channels[0], kernel, kernel];
        let values = draw.whole_numbers(shape.iter().product());
        let weight = tensor(&values, shape, &device, DType::F32) / 10.;
        layer.weight = layer.weight.map(|_| weight.detach().require_grad());
        layer.bias = layer
            .bias
            .map(|bias| bias.map(|bias| (bias * 0.).detach().require_grad()));
        layer
    };
    let mut decoder = Decoder {
        first: layer([2, 4], 3),
        second: layer([4, 1], 4),
    };
    assert_eq!(decoder.num_params(), 2 * 4 * 9 + 4 + 4 * 16 + 1);
    let input = Tensor::<4>::ones([1, 2, 2, 2], &device);
    let target = Tensor::<4>::full([1, 1, 8, 8], 0.5, &device);

    let mut losses = vec![];
    for _ in 0..100 {
        let hidden = burn::tensor::activation::relu(decoder.first.forward(input.clone()));
        let output = decoder.second.forward(hidden);
        let loss = (output - target.clone()).powi_scalar(2).mean();
        losses.push(flat(loss.clone())[0]);

        let gradients = loss.backward();
        for layer in [&mut decoder.first, &mut decoder.second] {
            let descend = |value: Tensor<4>, gradient: Tensor<4>| {
                let stepped = value.inner() - gradient * 0.5;
                Tensor::from_inner(stepped).require_grad()
            };
            let gradient = layer.weight.grad(&gradients).unwrap();
            layer.weight = layer.weight.clone().map(|weight| descend(weight, gradient));
        }
    }
    assert!(losses[99] < losses[0] / 10., "{losses:?}");
}
