//! The README's table of layers: names and layouts of each framework.

use std::path::PathBuf;

use burn::module::Module;
use burn::nn::conv::{
    Conv1d, Conv1dConfig, Conv3d, Conv3dConfig, ConvTranspose2d, ConvTranspose2dConfig,
};
use burn::nn::{Embedding, EmbeddingConfig, RmsNorm, RmsNormConfig};
use burn::tensor::Tensor;
use burn_weights::WeightsFile;

use crate::{TemporaryFile, device, read_safetensors, safetensors, state};

#[derive(Module, Debug)]
struct Model {
    line: Conv1d,
    volume: Conv3d,
    words: Embedding,
    norm: RmsNorm,
}

impl Model {
    fn new() -> Self {
        let device = device();
        Self {
            line: Conv1dConfig::new(4, 3, 5).init(&device),
            volume: Conv3dConfig::new([2, 3], [1, 2, 4])
                .with_bias(false)
                .init(&device),
            words: EmbeddingConfig::new(6, 5).init(&device),
            norm: RmsNormConfig::new(7).init(&device),
        }
    }
}

/// Loads a file of the tensors, which are in the order of the model's parameters. The weights of
/// convolutions are `[.., in, out]` if the channels come last, and Burn's `[out, in, ..]` otherwise.
fn check(
    framework: fn(PathBuf) -> WeightsFile,
    tensors: [(&str, &[usize]); 5],
    channels_last: bool,
) {
    let name = format!("layers-{}.safetensors", tensors[0].0.replace('/', "-"));
    let file = TemporaryFile::with(&name, &safetensors(&tensors));
    let mut model = Model::new();
    let report = framework(file.0.clone()).load_into(&mut model).unwrap();
    assert!(report.unused.is_empty() && report.missing.is_empty());

    let stored = read_safetensors(&file.0);
    let stored = |index: usize| stored[tensors[index].0].clone();
    let loaded = state(&model);
    let line: Tensor<3> = Tensor::from_data(stored(0), &device());
    let volume: Tensor<5> = Tensor::from_data(stored(2), &device());
    let [line, volume] = if channels_last {
        [
            line.permute([2, 1, 0]).into_data(),
            volume.permute([4, 3, 0, 1, 2]).into_data(),
        ]
    } else {
        [line.into_data(), volume.into_data()]
    };
    for (path, expected) in [
        ("line.weight", line),
        ("line.bias", stored(1)),
        ("volume.weight", volume),
        ("words.weight", stored(3)),
        ("norm.gamma", stored(4)),
    ] {
        assert_eq!(loaded[path], expected, "{path}");
    }
}

#[test]
fn pytorchs_layers() {
    let tensors: [(&str, &[usize]); 5] = [
        ("line.weight", &[3, 4, 5]),
        ("line.bias", &[3]),
        ("volume.weight", &[3, 2, 1, 2, 4]),
        ("words.weight", &[6, 5]),
        ("norm.weight", &[7]),
    ];
    check(WeightsFile::pytorch, tensors, false);
}

#[test]
fn keras_layers() {
    let tensors: [(&str, &[usize]); 5] = [
        ("line/kernel", &[5, 4, 3]),
        ("line/bias", &[3]),
        ("volume/kernel", &[1, 2, 4, 2, 3]),
        ("words/embeddings", &[6, 5]),
        ("norm/gamma", &[7]),
    ];
    check(WeightsFile::keras, tensors, true);
}

#[test]
fn flax_layers() {
    let tensors: [(&str, &[usize]); 5] = [
        ("params.line.kernel", &[5, 4, 3]),
        ("params.line.bias", &[3]),
        ("params.volume.kernel", &[1, 2, 4, 2, 3]),
        ("params.words.embedding", &[6, 5]),
        ("params.norm.scale", &[7]),
    ];
    check(WeightsFile::flax, tensors, true);
}

/// Burn's own transposed convolution has PyTorch's layout. Keras' and Flax' files do not load into
/// it.
#[test]
fn burns_transposed_convolution() {
    #[derive(Module, Debug)]
    struct Burns {
        up: ConvTranspose2d,
    }
    let config = ConvTranspose2dConfig::new([2, 3], [2, 2]).with_bias(false);
    let shape: &[usize] = &[2, 3, 2, 2];
    for (framework, name) in [
        (
            WeightsFile::pytorch as fn(PathBuf) -> WeightsFile,
            "up.weight",
        ),
        (WeightsFile::keras, "up.kernel"),
        (WeightsFile::flax, "up.kernel"),
    ] {
        let bytes = safetensors(&[(name, shape)]);
        let file = TemporaryFile::with("transposed.safetensors", &bytes);
        let mut model = Burns {
            up: config.init(&device()),
        };
        let result = framework(file.0.clone()).load_into(&mut model);
        if name == "up.weight" {
            result.unwrap();
            assert_eq!(
                state(&model)["up.weight"],
                read_safetensors(&file.0)["up.weight"]
            );
        } else {
            let message = result.unwrap_err().to_string();
            assert!(message.contains("missing in the file (1):\n  up.weight"));
        }
    }
}
