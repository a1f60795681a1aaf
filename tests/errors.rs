//! Wrong parameters and tensors: the message of each check, and `try_*` never panics. The sizes
//! that are not legal are in `geometry.rs`.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::nn::Initializer;
use burn::tensor::quantization::QuantScheme;
use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{
    Algorithm, Deconv2dError, Deconv2dLayerConfig, Deconv2dOptions, Geometry, Padding, deconv2d,
    try_deconv2d,
};

fn config() -> Deconv2dLayerConfig {
    Deconv2dLayerConfig::new([4, 2], [3, 3])
}

/// The message of `try_init`, which is also the message of `output_size`.
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
        "only Padding::Explicit has a padding_out, got [0, 1] with Padding::Same: leave padding_out \
         at [0, 0] (to choose another output size, call forward_to)"
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
    // As in PyTorch, less than the dilation is enough.
    let legal = explicit
        .with_stride([2, 3])
        .with_dilation([1, 4])
        .with_padding_out([1, 3]);
    assert!(legal.try_init(&Device::default()).is_ok());
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
        "input and weight must have the same data type, got an input of F32 and a weight of F64: \
         cast one of them"
    );
    assert_eq!(
        call(zeros([2, 4, 3, 3], DType::F32), Some(bias)),
        "input and bias must have the same data type, got an input of F32 and a bias of F64: cast \
         one of them"
    );
}

#[test]
fn quantized_tensors() {
    let device = Device::default();
    let zeros = |shape: [usize; 4]| Tensor::<4>::zeros(shape, &device);
    let (input, weight) = (zeros([1, 4, 3, 3]), zeros([2, 4, 3, 3]));
    let quantize = |tensor: &Tensor<4>| tensor.clone().quantize_dynamic(&QuantScheme::default());
    let (quantized_input, quantized_weight) = (quantize(&input), quantize(&weight));
    for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
        let message = |input: &Tensor<4>, weight: &Tensor<4>| {
            let options = Deconv2dOptions::new().with_algorithm(algorithm);
            let error = try_deconv2d(input.clone(), weight.clone(), None, options).unwrap_err();
            error.to_string()
        };
        for (parameter, message) in [
            ("input", message(&quantized_input, &weight)),
            ("weight", message(&input, &quantized_weight)),
            ("input", message(&quantized_input, &quantized_weight)),
        ] {
            let start = format!("the {parameter} must have a float type, got QFloat(");
            assert!(message.starts_with(&start), "{message}");
            assert!(message.ends_with(": dequantize it first"), "{message}");
        }
    }
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)] // Device::ndarray, by Burn
#[test]
fn different_devices() {
    let layer = config().init(&Device::ndarray());
    let input = Tensor::zeros([1, 4, 3, 3], &Device::flex());
    let error = layer.try_forward(input).unwrap_err().to_string();
    assert!(
        error.starts_with("input and weight must be on the same device, got the input on")
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
        "input and weight must have the same gradient checkpointing strategy, got Balanced and \
         Disabled: create both on the same autodiff device"
    );
    assert_eq!(
        call(&plain, &device, &checkpointing)
            .unwrap_err()
            .to_string(),
        "weight and bias must have the same gradient checkpointing strategy, got Disabled and \
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
        "Initializer::Orthogonal fills only matrices, but a bias has one dimension: use \
         with_bias(false) or another initializer"
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
#[should_panic = "Deconv2dLayer::forward: the input has 3 channels, but the weight [2, 4, 3, 3] ([out, in / \
                  groups, k_h, k_w], groups = 1) takes 4"]
fn forward_panics_with_the_message() {
    let device = Device::default();
    config()
        .init(&device)
        .forward(Tensor::zeros([1, 3, 3, 3], &device));
}

#[test]
#[should_panic = "Deconv2dLayer::forward_to: requested an output width of 9, but legal sizes range from 5 to 6 for \
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

/// The line of a panic is the caller's.
#[test]
fn panics_name_the_callers_line() {
    std::thread_local!(static FILE: RefCell<String> = RefCell::default());
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let file = info.location().map_or("", |location| location.file());
        FILE.set(file.to_string());
        default(info);
    }));
    let layer = config().init(&Device::default());
    let wrong = || Tensor::<4>::zeros([1, 3, 3, 3], &Device::default());
    let weight = || layer.weight.val();
    let calls: [&dyn Fn(); 4] = [
        &|| drop(layer.forward(wrong())),
        &|| drop(layer.forward_to(wrong(), [6, 6])),
        &|| drop(deconv2d(wrong(), weight(), None, Deconv2dOptions::new())),
        &|| drop(config().with_groups(3).init(&Device::default())),
    ];
    for call in calls {
        catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        assert_eq!(FILE.take(), file!());
    }
}
