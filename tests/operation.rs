//! The operation of the CPU backends as a step of Burn's autodiff graph. These layers are large
//! enough for the kernels with vectors and threads, which the small maps of the other files do not
//! reach.

mod common;

use burn::tensor::{DType, Device, Tensor};
use burn_deconv::{Algorithm, Deconv2dOptions, Padding};
use common::{Answer, Case, Draw, Values, burn_layer, flat, ours, run, tensor};

on_every_backend!(
    layers_equal_burns,
    large_kernels_equal_burns,
    only_tracked_tensors_get_gradients,
    a_layer_used_twice_adds_up_its_gradients,
    the_same_values_give_the_same_bits,
);

/// The layer with a bias. Every second one gets views.
fn layer(seed: usize, input: [usize; 4], weight: [usize; 4], options: Deconv2dOptions) -> Case {
    let case = Case {
        input,
        weight,
        options,
        bias: true,
        strided: seed % 2 == 1,
        seed: seed as u64,
    };
    let groups = case.options.groups;
    let products = input.iter().product::<usize>() * weight[0] / groups * weight[2] * weight[3];
    assert!(products > 1 << 14, "{case:?} is a small call");
    case
}

fn large_layers() -> Vec<Case> {
    let options = Deconv2dOptions::new;
    let layers = [
        // Kernel 3, stride 2.
        ([1, 8, 9, 7], [6, 8, 3, 3], options()),
        // Kernel 4, stride 2, groups; a batch.
        ([2, 6, 8, 7], [10, 3, 4, 4], options().with_groups(2)),
        // Kernel 2, stride 2: no output has two taps.
        ([3, 12, 6, 7], [10, 12, 2, 2], options()),
        // A large kernel to one channel.
        (
            [1, 7, 6, 8],
            [1, 7, 9, 9],
            options()
                .with_stride([3, 3])
                .with_padding(Padding::SameLower),
        ),
        // Kernel 1, stride 2 and 3: most outputs have no tap.
        (
            [2, 24, 9, 6],
            [16, 24, 1, 1],
            options().with_stride([2, 3]).with_padding(Padding::Valid),
        ),
        // Dilation.
        (
            [1, 6, 11, 9],
            [7, 6, 3, 2],
            options().with_stride([2, 1]).with_dilation([2, 3]),
        ),
        // Few channels, and rows of 65 values: past a whole number of vectors.
        (
            [1, 3, 8, 32],
            [5, 3, 3, 3],
            options().with_padding(Padding::Valid),
        ),
        // Four different crops, with zeros appended.
        (
            [2, 5, 7, 8],
            [6, 5, 4, 3],
            options()
                .with_stride([3, 2])
                .with_padding(Padding::Explicit(1, 0, 0, 2))
                .with_padding_out([2, 1]),
        ),
        // A chosen output size.
        (
            [1, 9, 7, 6],
            [8, 9, 3, 4],
            options()
                .with_stride([2, 3])
                .with_padding(Padding::Explicit(0, 2, 1, 1))
                .with_output_size(Some([15, 18])),
        ),
        // Depthwise: each channel to itself, then to two.
        ([2, 9, 8, 10], [9, 1, 4, 4], options().with_groups(9)),
        (
            [1, 10, 7, 11],
            [20, 1, 5, 3],
            options().with_groups(10).with_stride([1, 2]),
        ),
        // Many channels: blocks of them are summed one after the other.
        ([1, 70, 5, 6], [50, 70, 4, 3], options().with_stride([1, 2])),
        // Many channels to many, in a batch: enough work for threads.
        ([3, 33, 7, 10], [70, 33, 3, 3], options()),
        // The same for few channels, and for one in each group.
        (
            [2, 3, 40, 70],
            [16, 3, 3, 3],
            options().with_padding(Padding::SameLower),
        ),
        ([2, 32, 40, 52], [32, 1, 4, 4], options().with_groups(32)),
        // Taps farther apart than the map is long.
        (
            [1, 20, 3, 4],
            [20, 20, 3, 3],
            options().with_stride([1, 1]).with_dilation([7, 9]),
        ),
        // A single row, a kernel of a single row.
        (
            [1, 16, 1, 130],
            [20, 16, 1, 5],
            options().with_stride([1, 2]),
        ),
        // A crop down to one row.
        (
            [2, 20, 5, 6],
            [18, 20, 4, 5],
            options().with_padding(Padding::Explicit(7, 3, 4, 1)),
        ),
    ];
    let layers = layers.into_iter().enumerate();
    layers
        .map(|(seed, (input, weight, options))| layer(seed, input, weight, options))
        .collect()
}

fn layers_equal_burns(device: Device, dtype: DType) {
    for case in large_layers() {
        assert_equals_burns(&case, &device, dtype);
    }
}

/// Kernels of more than 64 taps, on maps whose copies do not fit a cache.
fn large_kernels_equal_burns(device: Device, dtype: DType) {
    let options = Deconv2dOptions::new;
    let layers = [
        // FCN-32s upsamples each class by a kernel of 64 at stride 32.
        (
            [1, 3, 8, 8],
            [3, 1, 64, 64],
            options().with_stride([32, 32]).with_groups(3),
        ),
        // Stride 1: every output has 961 taps.
        (
            [1, 1, 39, 40],
            [1, 1, 31, 31],
            options().with_stride([1, 1]),
        ),
        // An inverse STFT.
        (
            [1, 2, 1, 400],
            [1, 2, 1, 1024],
            options().with_stride([1, 256]),
        ),
        // A single column, dilated.
        (
            [2, 2, 4, 8],
            [3, 2, 256, 3],
            options()
                .with_stride([1, 1])
                .with_dilation([6, 1])
                .with_padding(Padding::Valid),
        ),
    ];
    for (seed, (input, weight, options)) in layers.into_iter().enumerate() {
        let case = layer(seed, input, weight, options);
        assert_equals_burns(&case, &device, dtype);
    }
}

/// The operation with and without gradient checkpointing.
fn assert_equals_burns(case: &Case, device: &Device, dtype: DType) {
    let plain = device.clone().autodiff();
    let checkpointing = plain.clone().gradient_checkpointing();
    let values = Values::draw(case);
    let expected = run(case, &values, &plain, dtype, burn_layer(case));
    for device in [&plain, &checkpointing] {
        let f = ours(case, Algorithm::SkipZeros);
        let got = run(case, &values, device, dtype, f);
        // Not `assert_eq`, which would print thousands of values.
        assert!(got == expected, "{case:?} on {device:?}");
    }
}

/// One layer for the plain loops and one for the kernels with vectors.
fn small_and_large_layer() -> [Case; 2] {
    let large = Case {
        strided: false,
        ..large_layers().swap_remove(1)
    };
    let small = Case {
        input: [2, 4, 3, 2],
        weight: [6, 2, 4, 4],
        ..large.clone()
    };
    [small, large]
}

/// Every choice of tracked tensors. Their gradients are those of Burn's layer, which tracks all
/// three. The other tensors are constants, on the autodiff device or on the device below it.
fn only_tracked_tensors_get_gradients(device: Device, dtype: DType) {
    let plain = device.clone().autodiff();
    let checkpointing = plain.clone().gradient_checkpointing();
    for case in small_and_large_layer() {
        let values = Values::draw(&case);
        let all = run(&case, &values, &plain, dtype, burn_layer(&case));
        for (tracking, constants) in [
            (&plain, &plain),
            (&plain, &device),
            (&checkpointing, &checkpointing),
            (&checkpointing, &device),
        ] {
            for subset in 0..8 {
                let tracked = [0, 1, 2].map(|i| subset >> i & 1 == 1);
                let got = run_tracked(&case, &values, tracked, [tracking, constants], dtype);
                let expected = Tracked {
                    output: all.output.clone(),
                    gradients: [
                        tracked[0].then(|| all.grad_input.clone()),
                        tracked[1].then(|| all.grad_weight.clone()),
                        tracked[2].then(|| all.grad_bias.clone()),
                    ],
                };
                assert!(
                    got == expected,
                    "{tracked:?} on {tracking:?}, the others on {constants:?}"
                );
            }
        }
    }
}

/// The output, and the gradients of input, weight and bias, if there are any.
#[derive(PartialEq)]
struct Tracked {
    output: Vec<f64>,
    gradients: [Option<Vec<f64>>; 3],
}

/// One call. `tracked` says for input, weight and bias whether the tensor is tracked on the first
/// device or untracked on the second.
fn run_tracked(
    case: &Case,
    values: &Values,
    tracked: [bool; 3],
    [tracking, constants]: [&Device; 2],
    dtype: DType,
) -> Tracked {
    fn leaf<const D: usize>(
        values: &[f64],
        shape: [usize; D],
        tracked: bool,
        [tracking, constants]: [&Device; 2],
        dtype: DType,
    ) -> Tensor<D> {
        if tracked {
            tensor(values, shape, tracking, dtype).require_grad()
        } else {
            tensor(values, shape, constants, dtype)
        }
    }
    let devices = [tracking, constants];
    let input = leaf(&values.input, case.input, tracked[0], devices, dtype);
    let weight = leaf(&values.weight, case.weight, tracked[1], devices, dtype);
    let bias = leaf(&values.bias, [case.weight[0]], tracked[2], devices, dtype);
    let f = ours(case, Algorithm::SkipZeros);
    let output = f(input.clone(), weight.clone(), Some(bias.clone()));
    assert_eq!(output.is_tracked(), tracked != [false; 3]);

    let mut gradients = [None, None, None];
    if output.is_tracked() {
        let grad_output = tensor(&values.grad_output, output.dims(), tracking, dtype);
        let all = (output.clone() * grad_output).sum().backward();
        gradients = [
            input.grad(&all).map(flat),
            weight.grad(&all).map(flat),
            bias.grad(&all).map(flat),
        ];
    }
    Tracked {
        output: flat(output),
        gradients,
    }
}

/// A layer after itself, with the same weight and bias. The last two cases add the first output to
/// the second, so the first output is used twice.
fn a_layer_used_twice_adds_up_its_gradients(device: Device, dtype: DType) {
    let plain = device.autodiff();
    let checkpointing = plain.clone().gradient_checkpointing();
    // Two small layers and two large ones; few enough channels that all sums stay exact.
    for (input, kernel, stride, add) in [
        ([2, 3, 3, 2], [3, 2], [2, 3], false),
        ([1, 8, 6, 5], [3, 4], [2, 1], false),
        ([2, 3, 4, 3], [2, 3], [1, 1], true),
        ([1, 8, 9, 7], [4, 3], [1, 1], true),
    ] {
        let channels = input[1];
        let case = Case {
            input,
            weight: [channels, channels, kernel[0], kernel[1]],
            options: Deconv2dOptions::new().with_stride(stride),
            bias: true,
            strided: false,
            seed: 1,
        };
        let size = [0, 1].map(|i| input[i + 2] * stride[i] * stride[i]);
        let values = Values {
            grad_output: Draw::new(2).whole_numbers(input[0] * channels * size[0] * size[1]),
            ..Values::draw(&case)
        };
        let twice = |algorithm| {
            let f = ours(&case, algorithm);
            move |input: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>| {
                let first = f(input, weight.clone(), bias.clone());
                let second = f(first.clone(), weight, bias);
                if add { first + second } else { second }
            }
        };
        let expected = run(&case, &values, &plain, dtype, twice(Algorithm::Explicit));
        for device in [&plain, &checkpointing] {
            let got = run(&case, &values, device, dtype, twice(Algorithm::SkipZeros));
            assert!(got == expected, "{case:?} on {device:?}");
        }
    }
}

/// Sevenths. Their sums are rounded, unlike those of whole numbers, and so depend on the order.
fn sevenths(values: Values) -> Values {
    let seventh = |values: Vec<f64>| values.into_iter().map(|value| value / 7.).collect();
    Values {
        input: seventh(values.input),
        weight: seventh(values.weight),
        bias: seventh(values.bias),
        grad_output: seventh(values.grad_output),
    }
}

fn the_same_values_give_the_same_bits(device: Device, dtype: DType) {
    let device = device.autodiff();
    for case in large_layers() {
        let values = sevenths(Values::draw(&case));
        let run = || {
            let f = ours(&case, Algorithm::SkipZeros);
            run(&case, &values, &device, dtype, f)
        };
        let first = run();
        for _ in 0..3 {
            assert!(run() == first, "{case:?}");
        }
    }
}

/// The values of a data type that are nearest to these.
fn rounded_to(dtype: DType, values: &[f64]) -> Vec<f64> {
    flat(tensor(values, [values.len()], &Device::flex(), dtype))
}

/// Sevenths that a data type holds.
fn rounded_sevenths(case: &Case, dtype: DType) -> Values {
    let values = sevenths(Values::draw(case));
    Values {
        input: rounded_to(dtype, &values.input),
        weight: rounded_to(dtype, &values.weight),
        bias: rounded_to(dtype, &values.bias),
        grad_output: rounded_to(dtype, &values.grad_output),
    }
}

/// NdArray has no half precision.
#[test]
fn half_precision_is_computed_in_f32_and_rounded_once() {
    let plain = Device::flex().autodiff();
    let checkpointing = plain.clone().gradient_checkpointing();
    for dtype in [DType::F16, DType::BF16] {
        let rounded = |values: &[f64]| rounded_to(dtype, values);
        for case in small_and_large_layer() {
            let values = rounded_sevenths(&case, dtype);
            let f = || ours(&case, Algorithm::SkipZeros);
            let in_f32 = run(&case, &values, &plain, DType::F32, f());
            let expected = Answer {
                shape: in_f32.shape,
                output: rounded(&in_f32.output),
                grad_input: rounded(&in_f32.grad_input),
                grad_weight: rounded(&in_f32.grad_weight),
                grad_bias: rounded(&in_f32.grad_bias),
            };
            assert!(
                in_f32 != expected,
                "values that {dtype:?} holds show no rounding"
            );
            for device in [&plain, &checkpointing] {
                let got = run(&case, &values, device, dtype, f());
                assert!(got == expected, "{dtype:?}, {case:?} on {device:?}");
            }
        }
    }
}

/// The order of the sums is the device's own, so a sum may be rounded the other way: an error of half
/// a unit in the last place is allowed. On top, 8 roundings of f32 for the sum before it is rounded
/// (1e-6 of the largest value): sums have up to some thousand terms, whose errors grow as the root of that.
#[cfg(feature = "wgpu")]
#[test]
fn half_precision_on_wgpu_is_rounded_once() {
    let (flex, wgpu) = (Device::flex().autodiff(), Device::wgpu(Default::default()));
    assert!(wgpu.supports_dtype(DType::F16), "this device has no f16");
    for (dtype, half_a_place) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        if !wgpu.supports_dtype(dtype) {
            continue;
        }
        for case in large_layers().into_iter().chain(small_and_large_layer()) {
            let values = rounded_sevenths(&case, dtype);
            let f = || ours(&case, Algorithm::SkipZeros);
            let exact = run(&case, &values, &flex, DType::F64, f());
            let got = run(&case, &values, &wgpu.clone().autodiff(), dtype, f());
            for (name, got, exact) in [
                ("output", got.output, exact.output),
                ("grad_input", got.grad_input, exact.grad_input),
                ("grad_weight", got.grad_weight, exact.grad_weight),
                ("grad_bias", got.grad_bias, exact.grad_bias),
            ] {
                let largest = exact.iter().fold(0f64, |largest, x| largest.max(x.abs()));
                for (got, exact) in got.iter().zip(&exact) {
                    let bound = half_a_place * exact.abs() + 1e-6 * largest;
                    let error = (got - exact).abs();
                    assert!(
                        error <= bound,
                        "{dtype:?} {name} {got} for {exact}, {case:?}"
                    );
                }
            }
        }
    }
}
