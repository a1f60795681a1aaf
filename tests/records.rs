//! Files of older versions load: a record of the layer and its config. `fixtures/records/` has a
//! folder for each version. A formula gives the values.
//!
//! A new version adds its folder with
//!
//! ```text
//! cargo test --test records -- --ignored write_fixtures
//! ```

mod common;

use std::path::PathBuf;

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device};
use burn_deconv::{
    Algorithm, Deconv2dLayer, Deconv2dLayerConfig, Deconv2dOptions, Fan, Padding, deconv2d,
};
use common::{Draw, flat, tensor};

/// The versions whose files must load.
const VERSIONS: [&str; 1] = ["0.1.0"];

fn file(version: &str, name: &str) -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "tests/fixtures/records",
        version,
        name,
    ]
    .iter()
    .collect()
}

/// The layer that was recorded.
fn layer_config() -> Deconv2dLayerConfig {
    Deconv2dLayerConfig::new([6, 4], [3, 2])
        .with_stride([2, 3])
        .with_groups(2)
}

/// `weight[o, i, y, x] = 1000 o + 100 i + 10 y + x`, exact in f32.
fn weight() -> Vec<f64> {
    let mut values = vec![];
    for o in 0..4 {
        for i in 0..3 {
            for y in 0..3 {
                for x in 0..2 {
                    values.push(f64::from(1000 * o + 100 * i + 10 * y + x));
                }
            }
        }
    }
    values
}

/// `bias[o] = -(o + 1) / 2`
fn bias() -> Vec<f64> {
    vec![-0.5, -1., -1.5, -2.]
}

fn layer(device: &Device) -> Deconv2dLayer {
    let mut layer = layer_config().init(device);
    let (weight, bias) = (
        tensor(&weight(), [4, 3, 3, 2], device, DType::F32),
        tensor(&bias(), [4], device, DType::F32),
    );
    layer.weight = Param::from_tensor(weight);
    layer.bias = Some(Param::from_tensor(bias));
    layer
}

/// A config without any default value.
fn config() -> Deconv2dLayerConfig {
    let config = Deconv2dLayerConfig::new([6, 4], [3, 5])
        .with_stride([1, 3])
        .with_dilation([4, 2])
        .with_groups(2)
        .with_padding(Padding::Explicit(1, 2, 3, 4))
        .with_padding_out([3, 1])
        .with_bias(false)
        .with_initializer(Initializer::Normal {
            mean: 0.25,
            std: 0.5,
        })
        .with_fan(Fan::Taps)
        .with_algorithm(Algorithm::Explicit);
    let default = default_config();
    assert_ne!(config.stride, default.stride);
    assert_ne!(config.dilation, default.dilation);
    assert_ne!(config.groups, default.groups);
    assert_ne!(config.padding, default.padding);
    assert_ne!(config.padding_out, default.padding_out);
    assert_ne!(config.bias, default.bias);
    assert_ne!(config.initializer, default.initializer);
    assert_ne!(config.fan, default.fan);
    assert_ne!(config.algorithm, default.algorithm);
    config
}

fn default_config() -> Deconv2dLayerConfig {
    Deconv2dLayerConfig::new([4, 2], [3, 3])
}

#[test]
fn records_load() {
    let device = Device::default();
    for version in VERSIONS {
        let loaded = layer_config()
            .init(&device)
            .try_load_file(file(version, "layer.bpk"))
            .unwrap();
        let bias_val = loaded.bias.as_ref().unwrap().val();
        assert_eq!(loaded.weight.dims(), [4, 3, 3, 2]);
        assert_eq!(flat(loaded.weight.val()), weight(), "version {version}");
        assert_eq!(flat(bias_val.clone()), bias(), "version {version}");
        assert_eq!(
            (loaded.weight.dtype(), bias_val.dtype()),
            (DType::F32, DType::F32)
        );

        // Sums of at most 24 products of two numbers below 4000 and 4: exact in f32.
        let shape = [2, 6, 3, 4];
        let input = tensor(
            &Draw::new(21).whole_numbers(144),
            shape,
            &device,
            DType::F32,
        );
        let expected = deconv2d(
            input.clone(),
            tensor(&weight(), [4, 3, 3, 2], &device, DType::F32),
            Some(tensor(&bias(), [4], &device, DType::F32)),
            Deconv2dOptions::new()
                .with_stride([2, 3])
                .with_groups(2)
                .with_algorithm(Algorithm::Explicit),
        );
        let output = loaded.forward(input);
        assert_eq!(output.dims(), [2, 4, 6, 12]);
        assert_eq!(flat(output), flat(expected), "version {version}");
    }
}

/// In the record of a model, the layer's path stands before the names.
#[test]
fn records_of_a_model_have_the_layers_names() {
    #[derive(Module, Debug)]
    struct Decoder {
        up: Deconv2dLayer,
    }

    let device = Device::default();
    let decoder = Decoder { up: layer(&device) };
    let record = decoder.into_record();
    assert_eq!(record.len(), 2);
    let bytes = record.into_bytes().unwrap();
    for name in ["up.weight", "up.bias"] {
        assert!(
            bytes
                .windows(name.len())
                .any(|window| window == name.as_bytes())
        );
    }
}

#[test]
fn configs_load() {
    for version in VERSIONS {
        let load = |name| Deconv2dLayerConfig::load(file(version, name)).unwrap();
        assert_eq!(load("config.json"), config(), "version {version}");
        assert_eq!(load("default.json"), default_config(), "version {version}");
    }
}

/// The current version writes the configs of its folder.
#[test]
fn configs_are_written_as_they_were() {
    for (name, config) in [
        ("config.json", config()),
        ("default.json", default_config()),
    ] {
        let kept = std::fs::read_to_string(file(env!("CARGO_PKG_VERSION"), name)).unwrap();
        assert_eq!(config.to_string(), kept, "{name}");
    }
}

#[test]
#[ignore = "writes this version's folder, once"]
fn write_fixtures() {
    let file = |name| file(env!("CARGO_PKG_VERSION"), name);
    let (record, configs) = (
        file("layer.bpk"),
        [file("config.json"), file("default.json")],
    );
    for path in configs.iter().chain([&record]) {
        assert!(!path.exists(), "{} is kept as it is", path.display());
    }
    std::fs::create_dir_all(record.parent().unwrap()).unwrap();
    layer(&Device::default()).save_file(&record).unwrap();
    config().save(&configs[0]).unwrap();
    default_config().save(&configs[1]).unwrap();
}
