//! Identities of every transposed convolution.

mod common;

use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{DType, Device, Tensor, s};
use burn_deconv::{Algorithm, Deconv2dOptions, Padding, deconv2d};
use common::{Case, Draw, Values, flat, symmetric, tensor, to_burn};

on_every_backend!(
    adjoint_of_the_convolution,
    delta_kernel_is_the_zero_filled_map,
    kernel_1_stride_1_mixes_the_channels,
    linear_in_input_and_weight,
    an_infinite_input_reaches_only_its_own_outputs,
    an_infinite_weight_meets_no_inserted_zero,
    an_empty_batch_has_an_empty_output_and_zero_gradients,
);

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Explicit, Algorithm::SkipZeros];

fn apply(input: Tensor<4>, weight: Tensor<4>, options: &Deconv2dOptions) -> Tensor<4> {
    deconv2d(input, weight, None, options.clone())
}

/// `<deconv x, y> = <x, conv y>`: the strided convolution over the output put back into its place
/// in the full map.
fn adjoint_of_the_convolution(device: Device, dtype: DType) {
    let options = [
        Deconv2dOptions::new().with_stride([2, 3]),
        Deconv2dOptions::new()
            .with_stride([1, 2])
            .with_padding(Padding::SameLower),
        Deconv2dOptions::new()
            .with_stride([4, 3])
            .with_padding(Padding::Valid),
        Deconv2dOptions::new().with_dilation([2, 3]).with_groups(2),
        symmetric([2, 1], [1, 2], [1, 0], [1, 2], 2),
        Deconv2dOptions::new()
            .with_padding(Padding::Explicit(0, 1, 2, 0))
            .with_groups(2),
    ];
    for (seed, options) in options.into_iter().enumerate() {
        for algorithm in ALGORITHMS {
            let case = Case {
                input: [2, 4, 3, 4],
                weight: [6, 4 / options.groups, 3, 2],
                options: options.clone().with_algorithm(algorithm),
                bias: false,
                strided: false,
                seed: seed as u64,
            };
            let (geometry, values) = (case.geometry(), Values::draw(&case));
            let x = tensor(&values.input, case.input, &device, dtype);
            let weight = tensor(&values.weight, case.weight, &device, dtype);
            let y = tensor(&values.grad_output, geometry.output_shape(), &device, dtype);

            let [rows, columns] = geometry.axes().map(|axis| {
                let (begin, kept) = (axis.crop_begin(), axis.kept().len());
                (kept, (begin, axis.full() - begin - kept))
            });
            let full = y
                .clone()
                .slice(s![.., .., 0..rows.0, 0..columns.0])
                .pad([rows.1, columns.1], PadMode::Constant(0.0));
            let conv = ConvOptions::new(options.stride, [0, 0], options.dilation, options.groups);
            let conv_y = conv2d(full, to_burn(weight.clone(), options.groups), None, conv);

            let left = flat((apply(x.clone(), weight, &case.options) * y).sum());
            let right = flat((x * conv_y).sum());
            assert_eq!(left, right, "{case:?}");
        }
    }
}

/// A kernel with a single 1 gives the zero-filled map, moved to where the 1 stands.
fn delta_kernel_is_the_zero_filled_map(device: Device, dtype: DType) {
    let ([h, w], [s_h, s_w], [k_h, k_w]) = ([3, 4], [2, 3], [3, 2]);
    let values = Draw::new(1).whole_numbers(h * w);
    for (row, column) in [(0, 0), (1, 0), (2, 1)] {
        let mut kernel = vec![0.; k_h * k_w];
        kernel[row * k_w + column] = 1.;
        for algorithm in ALGORITHMS {
            let options = Deconv2dOptions::new()
                .with_stride([s_h, s_w])
                .with_padding(Padding::Explicit(0, 0, 0, 0))
                .with_algorithm(algorithm);
            let x = tensor(&values, [1, 1, h, w], &device, dtype);
            let output = apply(
                x,
                tensor(&kernel, [1, 1, k_h, k_w], &device, dtype),
                &options,
            );

            let [full_h, full_w] = [(h - 1) * s_h + k_h, (w - 1) * s_w + k_w];
            assert_eq!(output.dims(), [1, 1, full_h, full_w]);
            let mut expected = vec![0.; full_h * full_w];
            for (at, value) in values.iter().enumerate() {
                // The kernel's first tap touches a value last.
                let i = at / w * s_h + k_h - 1 - row;
                let j = at % w * s_w + k_w - 1 - column;
                expected[i * full_w + j] = *value;
            }
            assert_eq!(
                flat(output),
                expected,
                "tap ({row}, {column}), {algorithm:?}"
            );
        }
    }
}

fn kernel_1_stride_1_mixes_the_channels(device: Device, dtype: DType) {
    let ([n, c_in, h, w], c_out) = ([2, 3, 2, 4], 5);
    let mut draw = Draw::new(2);
    let (x, mix) = (
        draw.whole_numbers(n * c_in * h * w),
        draw.whole_numbers(c_out * c_in),
    );
    for algorithm in ALGORITHMS {
        let options = Deconv2dOptions::new()
            .with_stride([1, 1])
            .with_algorithm(algorithm);
        let input = tensor(&x, [n, c_in, h, w], &device, dtype);
        let output = apply(
            input,
            tensor(&mix, [c_out, c_in, 1, 1], &device, dtype),
            &options,
        );

        let mut expected: Vec<f64> = vec![];
        for (image, out) in (0..n).flat_map(|image| (0..c_out).map(move |out| (image, out))) {
            for at in 0..h * w {
                let value = |c: usize| mix[out * c_in + c] * x[(image * c_in + c) * h * w + at];
                expected.push((0..c_in).map(value).sum());
            }
        }
        assert_eq!(flat(output), expected, "{algorithm:?}");
    }
}

fn linear_in_input_and_weight(device: Device, dtype: DType) {
    let ([n, c_in, h, w], [c_out, k_h, k_w]) = ([2, 3, 3, 2], [2, 3, 4]);
    let mut draw = Draw::new(3);
    let mut draw = |shape: [usize; 4]| {
        let values = draw.whole_numbers(shape.iter().product());
        tensor(&values, shape, &device, dtype)
    };
    let (x, u) = (draw([n, c_in, h, w]), draw([n, c_in, h, w]));
    let (v, k) = (draw([c_out, c_in, k_h, k_w]), draw([c_out, c_in, k_h, k_w]));
    for algorithm in ALGORITHMS {
        let options = Deconv2dOptions::new().with_algorithm(algorithm);
        let f = |x: &Tensor<4>, k: &Tensor<4>| apply(x.clone(), k.clone(), &options);

        let sum = f(&(x.clone() * 2 + u.clone() * 3), &k);
        assert_eq!(
            flat(sum),
            flat(f(&x, &k) * 2 + f(&u, &k) * 3),
            "{algorithm:?}"
        );
        let sum = f(&x, &(k.clone() * 2 + v.clone() * 3));
        assert_eq!(
            flat(sum),
            flat(f(&x, &k) * 2 + f(&x, &v) * 3),
            "{algorithm:?}"
        );
    }
}

fn an_infinite_input_reaches_only_its_own_outputs(device: Device, dtype: DType) {
    for value in [f64::INFINITY, f64::NAN] {
        let mut x = vec![1.; 9];
        x[4] = value;
        let x = tensor(&x, [1, 1, 3, 3], &device, dtype);
        let kernel = tensor(&[1.; 4], [1, 1, 2, 2], &device, dtype);
        let output = flat(apply(x, kernel, &Deconv2dOptions::new()));
        for (at, got) in output.iter().enumerate() {
            // Kernel 2, stride 2: each value has a 2x2 block of the 6x6 output to itself.
            let own = at / 6 / 2 == 1 && at % 6 / 2 == 1;
            let expected = if own { value } else { 1. };
            assert!(
                got.total_cmp(&expected).is_eq(),
                "{got} for {expected} at {at}"
            );
        }
    }
}

fn an_infinite_weight_meets_no_inserted_zero(device: Device, dtype: DType) {
    for value in [f64::INFINITY, f64::NAN] {
        let x = tensor(&[1., 2.], [1, 1, 1, 2], &device, dtype);
        let kernel = tensor(&[1., 10., value], [1, 1, 1, 3], &device, dtype);
        let options = Deconv2dOptions::new()
            .with_stride([1, 2])
            .with_padding(Padding::Valid);
        let output = flat(apply(x.clone(), kernel.clone(), &options));
        for (got, expected) in output.iter().zip([value, 10., value, 20., 2.]) {
            assert!(got.total_cmp(&expected).is_eq(), "{output:?}");
        }

        // The explicit algorithm multiplies its zeros by the weight, as its documentation says.
        let options = options.with_algorithm(Algorithm::Explicit);
        assert!(flat(apply(x, kernel, &options))[1].is_nan());
    }
}

fn an_empty_batch_has_an_empty_output_and_zero_gradients(device: Device, dtype: DType) {
    let device = device.autodiff();
    for algorithm in ALGORITHMS {
        let input = Tensor::<4>::zeros([0, 2, 3, 4], (&device, dtype)).require_grad();
        let weight = Tensor::<4>::ones([4, 1, 3, 2], (&device, dtype)).require_grad();
        let bias = Tensor::<1>::ones([4], (&device, dtype)).require_grad();
        let options = Deconv2dOptions::new()
            .with_groups(2)
            .with_algorithm(algorithm);
        let output = deconv2d(input.clone(), weight.clone(), Some(bias.clone()), options);
        assert_eq!(
            (output.dims(), output.dtype()),
            ([0, 4, 6, 8], dtype),
            "{algorithm:?}"
        );

        let gradients = output.sum().backward();
        assert_eq!(
            input.grad(&gradients).unwrap().dims(),
            [0, 2, 3, 4],
            "{algorithm:?}"
        );
        assert_eq!(
            flat(weight.grad(&gradients).unwrap()),
            [0.; 24],
            "{algorithm:?}"
        );
        assert_eq!(
            flat(bias.grad(&gradients).unwrap()),
            [0.; 4],
            "{algorithm:?}"
        );
    }
}
