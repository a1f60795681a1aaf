//! The gradient checker on every gradient of the layer: by differences, and by the adjoint.

mod common;

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{Algorithm, Deconv2dLayer, Deconv2dLayerConfig, Padding};
use burn_gradcheck::{
    GradcheckOptions, GradcheckReport, Mode, Verdict, check, check_adjoint, module,
};
use common::table::TABLE;
use common::{Draw, tensor};

on_every_backend!(
    by_differences,
    by_the_adjoint,
    with_a_chosen_size,
    large_layers_by_projections,
    inside_a_decoder,
);

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Explicit, Algorithm::SkipZeros];

/// Layers with all kinds of parameters, and the shapes of their inputs.
fn layers() -> Vec<(Deconv2dLayerConfig, [usize; 4])> {
    let new = Deconv2dLayerConfig::new;
    let explicit = Padding::Explicit;
    vec![
        // The article's, and each other padding.
        (new([2, 3], [3, 3]), [2, 2, 3, 4]),
        (
            new([2, 3], [4, 3]).with_padding(Padding::SameLower),
            [2, 2, 3, 2],
        ),
        (
            new([3, 2], [3, 4]).with_padding(Padding::Valid),
            [1, 3, 2, 3],
        ),
        (
            new([2, 3], [4, 4]).with_padding(explicit(1, 1, 1, 1)),
            [2, 2, 3, 4],
        ),
        (
            new([2, 1], [3, 5])
                .with_stride([2, 3])
                .with_padding(explicit(0, 1, 2, 1))
                .with_padding_out([1, 2]),
            [2, 2, 3, 2],
        ),
        // Without a bias; groups; depthwise.
        (new([2, 3], [3, 2]).with_bias(false), [2, 2, 2, 3]),
        (new([4, 6], [3, 3]).with_groups(2), [1, 4, 3, 2]),
        (new([3, 3], [4, 4]).with_groups(3), [2, 3, 2, 3]),
        // Dilation; steps past the kernel; stride 1; a single tap; a single value.
        (new([2, 3], [3, 2]).with_dilation([2, 3]), [1, 2, 3, 4]),
        (
            new([2, 2], [3, 3])
                .with_dilation([3, 2])
                .with_stride([2, 4]),
            [1, 2, 2, 3],
        ),
        (new([2, 3], [2, 1]).with_stride([3, 4]), [2, 2, 3, 2]),
        (new([2, 3], [3, 5]).with_stride([1, 1]), [1, 2, 4, 5]),
        (new([3, 2], [1, 1]).with_stride([1, 1]), [2, 3, 3, 2]),
        (new([1, 1], [2, 2]), [1, 1, 1, 1]),
    ]
}

/// Values off zero, with one decimal.
fn values<const D: usize>(shape: [usize; D], device: &Device, dtype: DType) -> Tensor<D> {
    let count = shape.iter().product();
    let whole = Draw::new(count as u64).whole_numbers(count);
    let values: Vec<_> = whole.iter().map(|whole| 0.4 * whole + 0.1).collect();
    tensor(&values, shape, device, dtype)
}

/// A layer with weights that are the same in every run.
fn layer(config: &Deconv2dLayerConfig, algorithm: Algorithm, device: &Device) -> Deconv2dLayer {
    let config = config.clone().with_algorithm(algorithm);
    let mut layer = config.init(device);
    layer.weight = Param::from_tensor(values(layer.weight.dims(), device, DType::F32));
    let bias = |bias: Param<Tensor<1>>| values(bias.dims(), device, DType::F32);
    layer.bias = layer.bias.map(|param| Param::from_tensor(bias(param)));
    layer
}

/// In f32, a chain of layers leaves differences three digits on a bad day.
fn options(dtype: DType) -> GradcheckOptions {
    let options = GradcheckOptions::new().with_dtype(dtype);
    match dtype {
        DType::F32 => options.with_relative_tolerance(1e-3),
        _ => options,
    }
}

/// Every tensor agrees, in f64 to `tolerance`, which is stricter than the checker's own. In f32,
/// rounding may hide a little more than its tolerance.
fn assert_agrees(report: &GradcheckReport, tolerance: f64) {
    for tensor in &report.tensors {
        if report.dtype == DType::F64 {
            assert_eq!(tensor.verdict, Verdict::Agrees, "{report:#}");
            assert!(tensor.largest_error <= tolerance, "{report:#}");
        } else {
            assert_ne!(tensor.verdict, Verdict::Unused, "{report:#}");
            assert!(tensor.resolution <= 1e-2, "{report:#}");
        }
    }
}

fn by_differences(device: Device, dtype: DType) {
    for (config, shape) in layers() {
        for algorithm in ALGORITHMS {
            let layer = layer(&config, algorithm, &device);
            let report = check(
                (module(&layer), ("input", values(shape, &device, dtype))),
                |(layer, input)| layer.forward(input),
                &options(dtype).with_mode(Mode::EveryElement),
            )
            .unwrap_or_else(|failure| panic!("{config} {failure}"));
            assert_eq!(report.tensors.len(), 2 + usize::from(config.bias));
            assert_agrees(&report, 1e-8);
        }
    }
}

fn by_the_adjoint(device: Device, dtype: DType) {
    for (config, shape) in layers() {
        for algorithm in ALGORITHMS {
            let layer = layer(&config, algorithm, &device);
            let report = check_adjoint(
                (module(&layer), ("input", values(shape, &device, dtype))),
                |(layer, input)| layer.forward(input),
                &options(dtype),
            )
            .unwrap_or_else(|failure| panic!("{config} {failure}"));
            assert_agrees(&report, 1e-14);
        }
    }
}

fn with_a_chosen_size(device: Device, dtype: DType) {
    for algorithm in ALGORITHMS {
        let layer = layer(
            &Deconv2dLayerConfig::new([2, 3], [3, 3]),
            algorithm,
            &device,
        );
        let report = check(
            (
                module(&layer),
                ("input", values([2, 2, 3, 4], &device, dtype)),
            ),
            |(layer, input)| layer.forward_to(input, [5, 7]),
            &options(dtype).with_mode(Mode::EveryElement),
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
        assert_agrees(&report, 1e-8);
    }
}

/// Large enough for tiles, blocks of the channels' sum, and threads: a layer of the table on a
/// smaller map, and channels that fill no tile.
fn large_layers_by_projections(device: Device, dtype: DType) {
    let row = TABLE.find("decoder_32").expect("a layer of the table");
    let decoder = Deconv2dLayerConfig::new([row.input[1], row.channels_out], row.kernel)
        .with_stride(row.stride)
        .with_padding(row.padding);
    for (config, shape) in [
        (decoder, [1, row.input[1], 17, 16]),
        (Deconv2dLayerConfig::new([37, 19], [3, 3]), [3, 37, 9, 14]),
    ] {
        let layer = layer(&config, Algorithm::SkipZeros, &device);
        let arguments = || (module(&layer), ("input", values(shape, &device, dtype)));
        let forward = |(layer, input): (Deconv2dLayer, _)| layer.forward(input);
        let report = check(arguments(), forward, &options(dtype))
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_agrees(&report, 1e-8);
        let report = check_adjoint(arguments(), forward, &options(dtype))
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_agrees(&report, 1e-14);
    }
}

/// Two upsampling layers with a normalisation and an activation between.
#[derive(Module, Debug)]
struct Decoder {
    up1: Deconv2dLayer,
    norm: BatchNorm,
    up2: Deconv2dLayer,
}

impl Decoder {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let hidden = self.norm.forward(self.up1.forward(input)).tanh();
        self.up2.forward(hidden)
    }
}

fn inside_a_decoder(device: Device, dtype: DType) {
    for algorithm in ALGORITHMS {
        let decoder = Decoder {
            // The normalisation takes the mean away, and a bias with it.
            up1: layer(
                &Deconv2dLayerConfig::new([3, 4], [3, 3]).with_bias(false),
                algorithm,
                &device,
            ),
            norm: BatchNormConfig::new(4).init(&device),
            up2: layer(
                &Deconv2dLayerConfig::new([4, 2], [4, 4])
                    .with_padding(Padding::Explicit(1, 1, 1, 1)),
                algorithm,
                &device,
            ),
        };
        for mode in [Mode::EveryElement, Mode::Projections] {
            let report = check(
                (
                    module(&decoder),
                    ("input", values([2, 3, 2, 3], &device, dtype)),
                ),
                |(decoder, input)| decoder.forward(input),
                &options(dtype).with_mode(mode),
            )
            .unwrap_or_else(|failure| panic!("{failure}"));
            let names: Vec<_> = report.tensors.iter().map(|tensor| &tensor.name).collect();
            let expected = [
                "up1.weight",
                "norm.gamma",
                "norm.beta",
                "up2.weight",
                "up2.bias",
                "input",
            ];
            assert_eq!(names, expected);
            assert_agrees(&report, 1e-8);
        }
    }
}
