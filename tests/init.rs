//! Initial values: bilinear interpolation against its formula and Burn's resize, the blocks of
//! ICNR, and the variance of an output for each fan.

mod common;

use burn::module::Param;
use burn::nn::Initializer;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, Fan, Padding, init};
use common::{Draw, flat, tensor};

on_every_backend!(
    bilinear_is_interpolation_everywhere,
    bilinear_is_a_resize_inside,
    icnr_fills_blocks,
);

/// The layer with weight and bias of another type. The device's own type is f32.
fn cast(mut layer: Deconv2dLayer, dtype: DType) -> Deconv2dLayer {
    layer.weight = layer.weight.map(|weight| weight.cast(dtype));
    layer.bias = layer.bias.map(|bias| bias.map(|bias| bias.cast(dtype)));
    layer
}

/// `input`, linearly interpolated at `p`, zero outside.
fn at(input: &dyn Fn(usize) -> f64, length: usize, p: f64) -> f64 {
    (0..length)
        .map(|i| input(i) * (1. - (p - i as f64).abs()).max(0.))
        .sum()
}

/// The formula of the docs on one axis: the position in the input of output `q`.
fn position(q: usize, k: usize, s: usize, b: usize) -> f64 {
    (q as f64 + b as f64 - (k as f64 - 1.) / 2.) / s as f64
}

/// Kernel and stride on each axis, the padding, and what it crops at the beginning.
type Sizes = ([usize; 2], [usize; 2], Padding, [usize; 2]);

fn bilinear_is_interpolation_everywhere(device: Device, dtype: DType) {
    let cases: [Sizes; 8] = [
        ([4, 8], [2, 4], Padding::Same, [1, 2]),
        ([4, 4], [2, 2], Padding::Explicit(1, 1, 1, 1), [1, 1]),
        ([3, 4], [2, 2], Padding::Same, [0, 1]), // the article's kernel and crop
        ([3, 3], [2, 2], Padding::SameLower, [1, 1]),
        ([5, 9], [2, 4], Padding::Valid, [0, 0]), // longer than the triangle
        ([1, 2], [1, 1], Padding::Valid, [0, 0]),
        ([5, 5], [3, 3], Padding::Same, [1, 1]),
        ([6, 10], [3, 5], Padding::Same, [1, 2]),
    ];
    for (kernel_size, stride, padding, begin) in cases {
        for groups in [1, 2, 4] {
            let config = Deconv2dLayerConfig::new([4, 4], kernel_size)
                .with_stride(stride)
                .with_padding(padding)
                .with_groups(groups);
            let layer = cast(init::bilinear(&config, &device).unwrap(), dtype);
            assert_eq!(flat(layer.bias.as_ref().unwrap().val()), [0.; 4]);

            let shape @ [n, c, h, w] = [2, 4, 3, 5];
            let values = Draw::new(11).whole_numbers(shape.iter().product());
            let output = layer.forward(tensor(&values, shape, &device, dtype));
            let [.., h_out, w_out] = output.dims();
            let output = flat(output);

            let [k_h, k_w] = kernel_size;
            let [s_h, s_w] = stride;
            // Halves and quarters are exact; thirds and fifths are rounded in f32, twice in a
            // weight and once in each of at most four products and sums of values up to 3.
            let tolerance = if s_h == 3 {
                3. * 16. * 2f64.powi(-24)
            } else {
                0.
            };
            for map in 0..n * c {
                for y in 0..h_out {
                    for x in 0..w_out {
                        let row = |i: usize| {
                            let value = |j: usize| values[(map * h + i) * w + j];
                            at(&value, w, position(x, k_w, s_w, begin[1]))
                        };
                        let expected = at(&row, h, position(y, k_h, s_h, begin[0]));
                        let got = output[(map * h_out + y) * w_out + x];
                        assert!(
                            (got - expected).abs() <= tolerance,
                            "{got}, not {expected} at {y}, {x} of map {map}, {config:?}"
                        );
                    }
                }
            }
        }
    }
}

/// The usual kernel, `2 * s - s % 2`, and `Same`: Burn's own resize with half-pixel centres, but
/// for `s / 2` outputs on each side, where a resize repeats the border.
fn bilinear_is_a_resize_inside(device: Device, dtype: DType) {
    for stride in [[2, 4], [4, 2], [3, 1], [2, 5]] {
        let kernel_size = stride.map(|s: usize| 2 * s - s % 2);
        let config = Deconv2dLayerConfig::new([3, 3], kernel_size)
            .with_stride(stride)
            .with_groups(3);
        let layer = cast(init::bilinear(&config, &device).unwrap(), dtype);

        let shape @ [.., h, w] = [2, 3, 4, 5];
        let values = Draw::new(12).whole_numbers(shape.iter().product());
        let input = tensor(&values, shape, &device, dtype);
        let output = layer.forward(input.clone());
        let size = [h * stride[0], w * stride[1]];
        assert_eq!(output.dims()[2..], size);

        let options = InterpolateOptions::new(InterpolateMode::Bilinear)
            .with_align_corners(false)
            .with_output_size(size);
        let resized = interpolate(input, options);
        let [top, left] = stride.map(|s| s / 2);
        let inside = |map: Tensor<4>| {
            flat(map.slice([0..2, 0..3, top..size[0] - top, left..size[1] - left]))
        };
        // Burn computes where each output lies in floating point: a few roundings of values up to
        // 3, in f32 (the layer's weights, too).
        for (got, expected) in inside(output.clone()).iter().zip(inside(resized.clone())) {
            assert!(
                (got - expected).abs() < 3e-6,
                "{got}, not {expected} at stride {stride:?}"
            );
        }
        // At the border they differ: the resize repeats it, the layer goes on with zeros.
        let corner = |map: Tensor<4>| flat(map.slice([0..1, 0..1, 0..1, 0..1]))[0];
        let first = values[0];
        assert!((corner(resized) - first).abs() < 3e-6);
        let share: f64 = stride
            .map(|s| 1. - (s as f64 - 1.) / (2. * s as f64))
            .iter()
            .product();
        assert!((corner(output) - first * share).abs() < 3e-6);
        assert_ne!(first, 0.);
    }
}

#[test]
fn bilinear_has_a_bias_if_the_config_says_so() {
    let config = Deconv2dLayerConfig::new([2, 2], [4, 4]).with_bias(false);
    let layer = init::bilinear(&config, &Device::default()).unwrap();
    assert!(layer.bias.is_none());
    assert_eq!(layer.config, config);
}

#[test]
fn bilinear_errors() {
    let error = |config: Deconv2dLayerConfig| {
        init::bilinear(&config, &Device::default())
            .unwrap_err()
            .to_string()
    };
    let config = Deconv2dLayerConfig::new([2, 2], [4, 4]);
    assert_eq!(
        error(config.clone().with_stride([2, 3])),
        "bilinear initialisation needs a kernel size of at least 2 * stride - 1, got 4 on the \
         width axis, where stride = 3: 5 or more is legal, 2 * stride - stride % 2 is usual"
    );
    assert_eq!(
        error(config.clone().with_dilation([3, 1])),
        "bilinear initialisation needs a dilation of 1, got 3 on the height axis"
    );
    assert_eq!(
        error(Deconv2dLayerConfig::new([4, 2], [4, 4])),
        "bilinear initialisation needs as many channels out as in, got 4 in and 2 out"
    );
    assert_eq!(
        error(config.with_groups(3)),
        "both channel counts must be divisible by groups, got 2 in, 2 out and groups = 3"
    );
}

/// The full map of the first pass is made of blocks of one value.
fn icnr_fills_blocks(device: Device, dtype: DType) {
    for (kernel_size, stride, groups) in [([4, 6], [2, 3], 1), ([2, 4], [2, 1], 2)] {
        let config = Deconv2dLayerConfig::new([4, 6], kernel_size)
            .with_stride(stride)
            .with_groups(groups)
            .with_padding(Padding::Valid);
        let mut layer = cast(init::icnr(&config, &device).unwrap(), dtype);
        assert_eq!(
            layer.weight.dims(),
            [6, 4 / groups, kernel_size[0], kernel_size[1]]
        );
        // The sums of whole numbers are exact in any order.
        let rounded = |value: Tensor<4>| (value * 40.).round();
        layer.weight = layer.weight.map(rounded);
        assert!(flat(layer.weight.val()).iter().any(|value| *value != 0.));
        layer.bias = None;

        let shape = [2, 4, 3, 4];
        let values = Draw::new(13).whole_numbers(shape.iter().product());
        let output = layer.forward(tensor(&values, shape, &device, dtype));
        let [n, c, h, w] = output.dims();
        let [s_h, s_w] = stride;
        assert_eq!((h % s_h, w % s_w), (0, 0));
        let output = flat(output);
        let value = |map: usize, y: usize, x: usize| output[(map * h + y) * w + x];
        for map in 0..n * c {
            for y in 0..h {
                for x in 0..w {
                    assert_eq!(value(map, y, x), value(map, y / s_h * s_h, x / s_w * s_w));
                }
            }
        }
    }
}

/// The variance between the phases of what a constant map becomes, far from its border; the mean
/// over the channels.
fn variance_between_phases(layer: &Deconv2dLayer, device: &Device) -> f64 {
    let output = layer.forward(Tensor::ones([1, 8, 8, 8], device));
    let c = output.dims()[1];
    let phases: Tensor<4> = output.slice([0..1, 0..c, 6..8, 6..8]);
    let phases = phases.reshape([c, 4]);
    flat(phases.var_bias(1).mean())[0]
}

#[test]
fn icnr_has_no_checkerboard() {
    let device = Device::default();
    // `Same` crops 1: the blocks are shifted, the constant's phases are equal nevertheless.
    let config = Deconv2dLayerConfig::new([8, 16], [4, 4]);
    let icnr = variance_between_phases(&init::icnr(&config, &device).unwrap(), &device);
    let default = variance_between_phases(&config.init(&device), &device);
    // By default, each of 64 phases sums 32 weights of a variance of 1 / (3 * 256): 1 / 24 between
    // phases, within about a fifth. With ICNR, only the rounding of sums below 10 differs.
    assert!(icnr < 1e-11, "{icnr}");
    assert!((0.01..0.1).contains(&default), "{default}");
}

#[test]
fn icnr_is_random_at_its_first_use_and_trains() {
    let device = Device::default().autodiff();
    let config = Deconv2dLayerConfig::new([4, 6], [4, 2]).with_groups(2);
    let layer = init::icnr(&config, &device).unwrap();
    assert!(!layer.weight.is_initialized());
    assert_eq!(layer.weight.lazy_shape().as_slice(), [6, 2, 4, 2]);
    let output = layer.forward(Tensor::ones([1, 4, 3, 3], &device));
    let gradient = layer.weight.grad(&output.sum().backward()).unwrap();
    assert_eq!(gradient.dims(), [6, 2, 4, 2]);

    // `Fan::Taps` of the layer is the `fan_in` of the random kernel.
    let config = Deconv2dLayerConfig::new([64, 32], [4, 6])
        .with_stride([2, 3])
        .with_fan(Fan::Taps);
    let layer = init::icnr(&config, &device).unwrap();
    close_to_bound(&layer.weight, 1. / f64::sqrt(64. * 2. * 2.));
}

#[test]
fn icnr_errors() {
    let error = |config: Deconv2dLayerConfig| {
        init::icnr(&config, &Device::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(Deconv2dLayerConfig::new([2, 2], [4, 3])),
        "ICNR initialisation needs a kernel size that is a multiple of the stride, got 3 on the \
         width axis, where stride = 2"
    );
    assert_eq!(
        error(Deconv2dLayerConfig::new([2, 2], [4, 4]).with_dilation([1, 3])),
        "ICNR initialisation needs a dilation of 1, got 3 on the width axis"
    );
    let orthogonal = Initializer::Orthogonal { gain: 1. };
    let config = Deconv2dLayerConfig::new([2, 2], [4, 4]).with_initializer(orthogonal);
    assert!(error(config).contains("a bias has one dimension"));
}

/// The largest of many uniform values is close to their bound, and not above it.
fn close_to_bound<const D: usize>(param: &Param<Tensor<D>>, bound: f64) {
    let values = flat(param.val());
    let largest = values.iter().fold(0., |most, value| value.abs().max(most));
    assert!(
        (0.99 * bound..=1.000001 * bound).contains(&largest),
        "{largest} for a bound of {bound}"
    );
}

/// The table of `Fan`.
#[test]
fn fans() {
    let device = Device::default();
    let config = Deconv2dLayerConfig::new([64, 48], [5, 3])
        .with_stride([2, 3])
        .with_groups(4);
    let weight = |fan, initializer| {
        let config = config.clone().with_fan(fan).with_initializer(initializer);
        config.init(&device).weight
    };
    let kaiming = |fan_out_only| Initializer::KaimingUniform {
        gain: 1. / f64::sqrt(3.),
        fan_out_only,
    };
    for (fan, fan_in, fan_out) in [
        (Fan::Burn, 48 / 4 * 15, 64 * 15),
        (Fan::Taps, 64 / 4 * 15 / 6, 48 / 4 * 15),
    ] {
        close_to_bound(&weight(fan, kaiming(false)), 1. / f64::sqrt(fan_in as f64));
        close_to_bound(&weight(fan, kaiming(true)), 1. / f64::sqrt(fan_out as f64));
        let xavier = f64::sqrt(6. / (fan_in + fan_out) as f64);
        close_to_bound(
            &weight(fan, Initializer::XavierUniform { gain: 1. }),
            xavier,
        );
    }
    // `fan_in` is at least 1, however many zeros there are.
    let sparse = Deconv2dLayerConfig::new([1, 500], [2, 2])
        .with_stride([9, 9])
        .with_fan(Fan::Taps);
    close_to_bound(&sparse.init(&device).weight, 1.);
}

/// With gain 1 and `Fan::Taps` an output has the variance of the input. With Burn's fan it has
/// `in / (out * s_h * s_w) * groups` of it: here twice.
#[test]
fn taps_keep_the_variance() {
    let device = Device::default();
    device.seed(1);
    let shape = [4, 48, 12, 12];
    let values = Draw::new(14).whole_numbers(shape.iter().product());
    let input = tensor(&values, shape, &device, DType::F32);
    let variance = |map: Tensor<4>| {
        let values = flat(map);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
    };
    for (fan, expected) in [(Fan::Taps, 1.), (Fan::Burn, 2.)] {
        let config = Deconv2dLayerConfig::new([48, 6], [4, 4])
            .with_fan(fan)
            .with_bias(false)
            .with_initializer(Initializer::KaimingNormal {
                gain: 1.,
                fan_out_only: false,
            });
        let output = config.init(&device).forward(input.clone());
        let inside = output.slice([0..4, 0..6, 2..22, 2..22]); // 4 of 16 taps each
        let ratio = variance(inside) / variance(input.clone());
        // 24 kernels of 192 weights each: a standard deviation of about 0.02.
        assert!((ratio / expected - 1.).abs() < 0.15, "{ratio} with {fan:?}");
    }
}
