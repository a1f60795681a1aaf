//! The article's numbers, from input to output, through both algorithms and step by step.

mod common;

use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{Algorithm, Deconv2dLayerConfig, Deconv2dOptions, Geometry, deconv2d, explicit};
use common::{flat, tensor};
use serde::Deserialize;

/// Four 3x3 maps, two kernels of 4x3x3, and for each kernel its 7x7 full map (the article prints it
/// without the last row and column) and the 6x6 output.
#[derive(Deserialize)]
struct Article {
    input: [[[f64; 3]; 3]; 4],
    weight: [[[[f64; 3]; 3]; 4]; 2],
    full_map: [[[f64; 7]; 7]; 2],
    output: [[[f64; 6]; 6]; 2],
}

impl Article {
    fn load() -> Self {
        serde_json::from_str(include_str!("fixtures/article.json")).unwrap()
    }

    fn tensors(&self, device: &Device, dtype: DType) -> (Tensor<4>, Tensor<4>) {
        let weight = self.weight.as_flattened().as_flattened().as_flattened();
        (
            tensor(
                self.input.as_flattened().as_flattened(),
                [1, 4, 3, 3],
                device,
                dtype,
            ),
            tensor(weight, [2, 4, 3, 3], device, dtype),
        )
    }

    fn output(&self) -> &[f64] {
        self.output.as_flattened().as_flattened()
    }
}

on_every_backend!(function, layer, steps);

fn function(device: Device, dtype: DType) {
    let article = Article::load();
    for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
        let (input, weight) = article.tensors(&device, dtype);
        let options = Deconv2dOptions::new().with_algorithm(algorithm);
        let output = deconv2d(input, weight, None, options);
        assert_eq!(output.dims(), [1, 2, 6, 6]);
        assert_eq!(flat(output), article.output(), "{algorithm:?}");
    }
}

fn layer(device: Device, dtype: DType) {
    let article = Article::load();
    for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
        let (input, weight) = article.tensors(&device, dtype);
        let config = Deconv2dLayerConfig::new([4, 2], [3, 3]).with_algorithm(algorithm);
        let mut layer = config.with_bias(false).init(&device);
        layer.weight = layer.weight.map(|_| weight);
        assert_eq!(
            flat(layer.forward(input)),
            article.output(),
            "{algorithm:?}"
        );
    }
}

fn steps(device: Device, dtype: DType) {
    let article = Article::load();
    let (input, weight) = article.tensors(&device, dtype);
    let geometry = Geometry::new(input.dims(), weight.dims(), &Deconv2dOptions::new()).unwrap();

    let filled = explicit::zero_fill(input, &geometry);
    assert_eq!(filled.dims(), [1, 4, 9, 9]);
    let mut expected = vec![0.; 4 * 81];
    for (at, value) in article
        .input
        .as_flattened()
        .as_flattened()
        .iter()
        .enumerate()
    {
        let (channel, i, j) = (at / 9, at / 3 % 3, at % 3);
        expected[channel * 81 + (2 + 2 * i) * 9 + 2 + 2 * j] = *value;
    }
    assert_eq!(flat(filled.clone()), expected);

    let full = explicit::correlate(filled, weight, &geometry);
    assert_eq!(full.dims(), [1, 2, 7, 7]);
    assert_eq!(
        flat(full.clone()),
        article.full_map.as_flattened().as_flattened()
    );

    assert_eq!(flat(explicit::crop(full, &geometry)), article.output());
}
