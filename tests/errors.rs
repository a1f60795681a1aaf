//! Bad input: each check, its message, and that `try_*` never panics.

mod common;

use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{
    Algorithm, Deconv2dError, Deconv2dLayerConfig, Deconv2dOptions, Geometry, Padding, deconv2d,
    try_deconv2d,
};

fn config() -> Deconv2dLayerConfig {
    Deconv2dLayerConfig::new([4, 2], [3, 3])
}

/// The message of `try_init`, which must be that of `output_size`, too.
fn init_error(config: Deconv2dLayerConfig) -> String {
    let error = config.try_init(&Device::default()).unwrap_err();
    assert_eq!(config.output_size([3, 3]).unwrap_err(), error);
    error.to_string()
}

/// The message of the functional form, for both algorithms.
fn call_error(input: [usize; 4], weight: [usize; 4], options: Deconv2dOptions) -> String {
    let device = Device::default();
    let call = |algorithm| {
        let (input, weight) = (
            Tensor::zeros(input, &device),
            Tensor::zeros(weight, &device),
        );
        let options = options.clone().with_algorithm(algorithm);
        try_deconv2d(input, weight, None, options)
            .unwrap_err()
            .to_string()
    };
    let message = call(Algorithm::SkipZeros);
    assert_eq!(call(Algorithm::Explicit), message);
    message
}

/// The message of a geometry too large to have tensors.
fn size_error(input: [usize; 4], weight: [usize; 4], options: Deconv2dOptions) -> String {
    Geometry::new(input, weight, &options)
        .unwrap_err()
        .to_string()
}

#[test]
fn zero_kernel_size() {
    assert_eq!(
        init_error(Deconv2dLayerConfig::new([4, 2], [0, 3])),
        "kernel_size must be at least 1, got 0 on the height axis"
    );
    assert_eq!(
        call_error([1, 4, 3, 3], [2, 4, 3, 0], Deconv2dOptions::new()),
        "kernel_size must be at least 1, got 0 on the width axis"
    );
}

#[test]
fn zero_stride() {
    let expected = "stride must be at least 1, got 0 on the width axis";
    assert_eq!(init_error(config().with_stride([2, 0])), expected);
    let options = Deconv2dOptions::new().with_stride([2, 0]);
    assert_eq!(call_error([1, 4, 3, 3], [2, 4, 3, 3], options), expected);
}

#[test]
fn zero_dilation() {
    let expected = "dilation must be at least 1, got 0 on the height axis";
    assert_eq!(init_error(config().with_dilation([0, 1])), expected);
    let options = Deconv2dOptions::new().with_dilation([0, 1]);
    assert_eq!(call_error([1, 4, 3, 3], [2, 4, 3, 3], options), expected);
}

#[test]
fn zero_groups() {
    let expected = "groups must be at least 1, got 0";
    assert_eq!(init_error(config().with_groups(0)), expected);
    let options = Deconv2dOptions::new().with_groups(0);
    assert_eq!(call_error([1, 4, 3, 3], [2, 4, 3, 3], options), expected);
}

#[test]
fn zero_channels() {
    assert_eq!(
        init_error(Deconv2dLayerConfig::new([0, 2], [3, 3])),
        "channels must be at least 1 each, got 0 in and 2 out"
    );
    assert_eq!(
        call_error([1, 4, 3, 3], [0, 4, 3, 3], Deconv2dOptions::new()),
        "channels must be at least 1 each, got 4 in and 0 out"
    );
}

#[test]
fn channels_not_divisible_by_groups() {
    assert_eq!(
        init_error(config().with_groups(3)),
        "both channel counts must be divisible by groups, got 4 in, 2 out and groups = 3"
    );
    assert_eq!(
        call_error(
            [1, 4, 3, 3],
            [3, 2, 3, 3],
            Deconv2dOptions::new().with_groups(2)
        ),
        "both channel counts must be divisible by groups, got 4 in, 3 out and groups = 2"
    );
    let groups = Deconv2dOptions::new().with_groups(usize::MAX);
    assert!(matches!(
        Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &groups).unwrap_err(),
        Deconv2dError::ChannelsNotDivisible { .. }
    ));
}

#[test]
fn wrong_input_channels() {
    assert_eq!(
        call_error(
            [1, 4, 3, 3],
            [2, 3, 5, 5],
            Deconv2dOptions::new().with_groups(2)
        ),
        "the input has 4 channels, but the weight [2, 3, 5, 5] ([out, in / groups, k_h, k_w], \
         groups = 2) takes 6"
    );
}

#[test]
fn wrong_bias_length() {
    let device = Device::default();
    let error = try_deconv2d(
        Tensor::zeros([1, 4, 3, 3], &device),
        Tensor::zeros([2, 4, 3, 3], &device),
        Some(Tensor::zeros([4], &device)),
        Deconv2dOptions::new(),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "the bias must have one value for each of the 2 output channels, got 4"
    );
}

#[test]
fn padding_out_without_explicit_padding() {
    assert_eq!(
        init_error(config().with_padding_out([0, 1])),
        "padding_out goes with Padding::Explicit alone, got [0, 1] with Padding::Same, which \
         states its output size itself: leave it at [0, 0] (to choose another output size, call \
         forward_to)"
    );
}

#[test]
fn padding_out_too_large() {
    let explicit = config().with_padding(Padding::Explicit(1, 1, 1, 1));
    assert_eq!(
        init_error(
            explicit
                .clone()
                .with_stride([2, 3])
                .with_padding_out([1, 3])
        ),
        "padding_out must be smaller than the stride or the dilation, got 3 on the width axis, \
         where stride = 3 and dilation = 1: 0 to 2 is legal"
    );
    // Smaller than the dilation alone is legal, as in PyTorch.
    let legal = explicit
        .with_stride([2, 3])
        .with_dilation([1, 4])
        .with_padding_out([1, 3]);
    assert!(legal.try_init(&Device::default()).is_ok());
}

#[test]
fn crop_larger_than_the_map() {
    let crop = |padding| Deconv2dOptions::new().with_padding(padding);
    assert_eq!(
        call_error(
            [1, 4, 3, 3],
            [2, 4, 3, 3],
            crop(Padding::Explicit(4, 0, 3, 0))
        ),
        "padding crops 4 + 3 from a full map of height 7: at most 6 at the beginning and 6 \
         in all is legal, so that one value is left"
    );
    assert_eq!(
        call_error(
            [1, 4, 3, 3],
            [2, 4, 3, 3],
            crop(Padding::Explicit(0, 9, 0, 0))
        ),
        "padding crops 9 + 0 from a full map of width 7: at most 6 at the beginning and 6 \
         in all is legal, so that one value is left"
    );
    // One value left is legal; and padding_out may leave one where the crop takes all.
    let one = crop(Padding::Explicit(3, 6, 3, 0));
    assert_eq!(
        Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &one)
            .unwrap()
            .output_shape(),
        [1, 2, 1, 1]
    );
    let one = crop(Padding::Explicit(4, 0, 3, 0)).with_padding_out([1, 0]);
    assert_eq!(
        Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &one)
            .unwrap()
            .output_shape(),
        [1, 2, 1, 7]
    );
    let overflow = crop(Padding::Explicit(usize::MAX, 0, 1, 0));
    assert_eq!(
        size_error([1, 4, 3, 3], [2, 4, 3, 3], overflow),
        "the height of the full map does not fit a usize: an input height of 3 with this kernel \
         size, stride, dilation and padding is too large"
    );
}

#[test]
fn impossible_output_size() {
    let asked = |padding, size| {
        let options = Deconv2dOptions::new()
            .with_padding(padding)
            .with_output_size(Some(size));
        call_error([1, 4, 3, 3], [2, 4, 3, 3], options)
    };
    assert_eq!(
        asked(Padding::Same, [7, 6]),
        "requested an output height of 7, but legal sizes range from 5 to 6 for an input height \
         of 3"
    );
    assert_eq!(
        asked(Padding::SameLower, [5, 4]),
        "requested an output width of 4, but legal sizes range from 5 to 6 for an input width of 3"
    );
    assert_eq!(
        asked(Padding::Valid, [7, 9]),
        "requested an output width of 9, but legal sizes range from 7 to 8 for an input width of 3"
    );
    assert_eq!(
        asked(Padding::Explicit(1, 1, 1, 1), [4, 5]),
        "requested an output height of 4, but legal sizes range from 5 to 6 for an input height \
         of 3"
    );
    assert_eq!(
        asked(Padding::Explicit(4, 0, 4, 0), [1, 7]),
        "padding crops 4 + 4 from a full map of height 7: at most 6 at the beginning and 7 \
         in all is legal, so that one value is left"
    );
    assert_eq!(
        asked(Padding::Same, [0, 6]),
        "requested an output height of 0, but legal sizes range from 5 to 6 for an input height \
         of 3"
    );
}

#[test]
fn empty_map() {
    assert_eq!(
        call_error([1, 4, 0, 3], [2, 4, 3, 3], Deconv2dOptions::new()),
        "the input map must have at least one row and one column, got height 0 in [1, 4, 0, 3] \
         ([n, c, h, w]; an empty batch, n = 0, is legal)"
    );
    assert_eq!(
        config().output_size([3, 0]).unwrap_err(),
        Deconv2dError::EmptyMap {
            axis: burn_deconv::Axis::Width,
            input: [1, 4, 3, 0]
        }
    );
}

#[test]
fn sizes_that_overflow() {
    let huge = usize::MAX / 2;
    let axis = |axis, input| {
        format!(
            "the {axis} of the full map does not fit a usize: an input {axis} of {input} with \
             this kernel size, stride, dilation and padding is too large"
        )
    };
    let options = Deconv2dOptions::new();
    assert_eq!(
        size_error([1, 1, huge + 2, 3], [1, 1, 3, 3], options),
        axis("height", huge + 2)
    );
    let options = Deconv2dOptions::new().with_stride([1, usize::MAX]);
    assert_eq!(
        size_error([1, 1, 3, 1], [1, 1, 3, 3], options),
        axis("width", 1)
    );
    let options = Deconv2dOptions::new().with_dilation([huge, 1]);
    assert_eq!(
        size_error([1, 1, 3, 3], [1, 1, 4, 3], options),
        axis("height", 3)
    );

    // Each axis fits, the tensor does not.
    let edge = 1 << 31;
    assert_eq!(
        size_error([1, 1, edge, edge], [1, 1, 3, 3], Deconv2dOptions::new()),
        format!(
            "the zero-filled map would have the shape {:?}, more elements than memory can address",
            [1, 1, 2 * edge + 3, 2 * edge + 3]
        )
    );
    assert_eq!(
        init_error(Deconv2dLayerConfig::new([edge, edge], [3, 3])),
        format!(
            "the weight would have the shape {:?}, more elements than memory can address",
            [edge, edge, 3, 3]
        )
    );
    let options = Deconv2dOptions::new()
        .with_stride([huge / 4, 1])
        .with_padding(Padding::Same);
    assert!(matches!(
        Geometry::new([1, 1, 1, 1], [1, 1, 1, 1], &options).unwrap_err(),
        Deconv2dError::TensorOverflow {
            tensor: "output",
            ..
        }
    ));
}

/// A stride or a dilation beyond all bounds is legal where there is nothing to keep apart.
#[test]
fn huge_stride_of_one_value() {
    let device = Device::default();
    let far = usize::MAX / 4;
    for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
        let options = Deconv2dOptions::new()
            .with_stride([far, 2])
            .with_dilation([1, far])
            .with_padding(Padding::Explicit(0, 0, 0, 0))
            .with_algorithm(algorithm);
        let input = Tensor::<4>::full([1, 1, 1, 2], 2., &device);
        let weight = Tensor::<4>::from_data([[[[1.], [2.], [3.]]]], &device);
        let output = deconv2d(input, weight, None, options);
        assert_eq!(output.dims(), [1, 1, 3, 3]);
        assert_eq!(common::flat(output), [6., 0., 6., 4., 0., 4., 2., 0., 2.]);
    }
}

#[test]
fn different_data_types() {
    let device = Device::default();
    let zeros = |shape: [usize; 4], dtype| Tensor::<4>::zeros(shape, (&device, dtype));
    let bias = Tensor::<1>::zeros([2], (&device, DType::F64));
    let input = zeros([1, 4, 3, 3], DType::F32);
    let call = |weight, bias| {
        try_deconv2d(input.clone(), weight, bias, Deconv2dOptions::new())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        call(zeros([2, 4, 3, 3], DType::F64), None),
        "input and weight must have one data type, got an input of F32 and a weight of F64: cast \
         one of them"
    );
    assert_eq!(
        call(zeros([2, 4, 3, 3], DType::F32), Some(bias)),
        "input and bias must have one data type, got an input of F32 and a bias of F64: cast one \
         of them"
    );
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)] // Device::ndarray, by Burn
#[test]
fn different_devices() {
    let layer = config().init(&Device::ndarray());
    let input = Tensor::zeros([1, 4, 3, 3], &Device::flex());
    let error = layer.try_forward(input).unwrap_err().to_string();
    assert!(
        error.starts_with("input and weight must lie on one device, got the input on")
            && error.ends_with("move one of them"),
        "{error}"
    );
}

#[test]
fn different_checkpointing_strategies() {
    let plain = Device::default();
    let device = plain.clone().autodiff();
    let checkpointing = device.clone().gradient_checkpointing();
    let call = |input: &Device, weight: &Device, bias: &Device| {
        let input = Tensor::zeros([1, 4, 3, 3], input);
        let weight = Tensor::zeros([2, 4, 3, 3], weight);
        let bias = Tensor::zeros([2], bias);
        try_deconv2d(input, weight, Some(bias), Deconv2dOptions::new())
    };
    assert_eq!(
        call(&checkpointing, &device, &device)
            .unwrap_err()
            .to_string(),
        "input and weight must share one gradient checkpointing strategy, got Balanced and \
         Disabled: create both on the same autodiff device"
    );
    assert_eq!(
        call(&plain, &device, &checkpointing)
            .unwrap_err()
            .to_string(),
        "weight and bias must share one gradient checkpointing strategy, got Disabled and \
         Balanced: create both on the same autodiff device"
    );
    assert!(call(&plain, &device, &plain).is_ok());
}

#[test]
fn orthogonal_bias() {
    let orthogonal = config().with_initializer(Initializer::Orthogonal { gain: 1. });
    assert_eq!(
        orthogonal
            .try_init(&Device::default())
            .unwrap_err()
            .to_string(),
        "Initializer::Orthogonal fills matrices and cannot fill a bias, which has one dimension: \
         use with_bias(false) or another initializer"
    );
    let layer = orthogonal.with_bias(false).init(&Device::default());
    assert_eq!(layer.weight.dims(), [2, 4, 3, 3]);
}

#[test]
#[should_panic = "Deconv2dLayerConfig::init: both channel counts must be divisible by groups, got \
                  4 in, 2 out and groups = 3"]
fn init_panics_with_the_message() {
    config().with_groups(3).init(&Device::default());
}

#[test]
#[should_panic = "deconv2d: the input has 3 channels, but the weight [2, 4, 3, 3] ([out, in / \
                  groups, k_h, k_w], groups = 1) takes 4"]
fn forward_panics_with_the_message() {
    let device = Device::default();
    config()
        .init(&device)
        .forward(Tensor::zeros([1, 3, 3, 3], &device));
}

#[test]
#[should_panic = "deconv2d: requested an output width of 9, but legal sizes range from 5 to 6 for \
                  an input width of 3"]
fn forward_to_panics_with_the_message() {
    let device = Device::default();
    config()
        .init(&device)
        .forward_to(Tensor::zeros([1, 4, 3, 3], &device), [6, 9]);
}

#[test]
#[should_panic = "zero_fill: the input's shape"]
fn a_step_panics_on_another_shape() {
    let geometry = Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &Deconv2dOptions::new()).unwrap();
    burn_deconv::explicit::zero_fill(Tensor::zeros([1, 4, 3, 4], &Device::default()), &geometry);
}
