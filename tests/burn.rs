//! Both algorithms against Burn's own `conv_transpose2d`, forward and all gradients, with and
//! without gradient checkpointing: on generated cases, and on the cases of Burn's own test suites.

mod common;

use burn::tensor::{DType, Device};
use burn_deconv::{Algorithm, Deconv2dOptions, Padding};
use common::{Case, Values, burn_layer, ours, run, symmetric};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

on_every_backend!(generated_cases, burns_forward_suite, burns_autodiff_suite);

fn check(case: &Case, device: &Device, dtype: DType) {
    let values = Values::draw(case);
    let plain = device.clone().autodiff();
    let checkpointing = plain.clone().gradient_checkpointing();
    let expected = run(case, &values, &plain, dtype, burn_layer(case));
    for algorithm in [Algorithm::Explicit, Algorithm::SkipZeros] {
        for device in [&plain, &checkpointing] {
            let got = run(case, &values, device, dtype, ours(case, algorithm));
            assert_eq!(got, expected, "{algorithm:?} of {case:?} on {device:?}");
        }
    }
}

fn generated_cases(device: Device, dtype: DType) {
    let config = Config {
        cases: 2_000,
        rng_seed: RngSeed::Fixed(0x00de_c042),
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&case(), |case| {
            check(&case, &device, dtype);
            Ok(())
        })
        .unwrap();
}

/// Everything unequal on the two axes, kernels shorter than the stride, every padding, every legal
/// output size.
fn case() -> impl Strategy<Value = Case> {
    let channels = (1..=3_usize, [1..=3_usize, 1..=3]);
    let shapes = ([1..=5_usize, 1..=5], [1..=5_usize, 1..=5]);
    let steps = ([1..=4_usize, 1..=4], [1..=3_usize, 1..=3]);
    let padding = (0..4_usize, [0..30_usize, 0..30, 0..30, 0..30]);
    let sizes = ([0..12_usize, 0..12], any::<bool>());
    let rest = (0..=2_usize, any::<bool>(), any::<bool>(), any::<u64>());
    (channels, shapes, steps, padding, sizes, rest).prop_map(
        |(
            (groups, [c_in, c_out]),
            ([h, w], kernel),
            (stride, dilation),
            (kind, crop),
            (more, ask),
            (batch, bias, strided, seed),
        )| {
            let full =
                [0, 1].map(|i| ([h, w][i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1);
            // At least one value of the full map is left between the crops of an axis.
            let begin = [0, 1].map(|i| crop[i] % full[i]);
            let end = [0, 1].map(|i| crop[i + 2] % (full[i] - begin[i]));
            let padding = match kind {
                0 => Padding::Same,
                1 => Padding::SameLower,
                2 => Padding::Valid,
                _ => Padding::Explicit(begin[0], begin[1], end[0], end[1]),
            };
            let asked = [0, 1].map(|i| {
                let (s, step) = (stride[i], stride[i].max(dilation[i]));
                match padding {
                    Padding::Same | Padding::SameLower => [h, w][i] * s - more[i] % s,
                    Padding::Valid => full[i] + more[i] % s,
                    Padding::Explicit(..) => full[i] - begin[i] - end[i] + more[i] % step,
                }
            });
            let explicit = matches!(padding, Padding::Explicit(..));
            let padding_out = [0, 1].map(|i| more[i] % stride[i].max(dilation[i]));
            Case {
                input: [batch + 1, c_in * groups, h, w],
                weight: [c_out * groups, c_in, kernel[0], kernel[1]],
                options: Deconv2dOptions::new()
                    .with_stride(stride)
                    .with_dilation(dilation)
                    .with_groups(groups)
                    .with_padding(padding)
                    .with_padding_out(if explicit && !ask {
                        padding_out
                    } else {
                        [0, 0]
                    })
                    .with_output_size(ask.then_some(asked)),
                bias,
                strided,
                seed,
            }
        },
    )
}

/// A case of Burn's suites: batch, `[in, out]`, kernel, padding, padding_out, stride, dilation,
/// groups, size.
#[rustfmt::skip]
type Row = (usize, [usize; 2], [usize; 2], [usize; 2], [usize; 2], [usize; 2], [usize; 2], usize, [usize; 2]);

fn check_rows(rows: &[Row], device: Device, dtype: DType) {
    for (seed, row) in rows.iter().enumerate() {
        let &(batch, [c_in, c_out], kernel, padding, padding_out, stride, dilation, groups, size) =
            row;
        let case = Case {
            input: [batch, c_in, size[0], size[1]],
            weight: [c_out, c_in / groups, kernel[0], kernel[1]],
            options: symmetric(stride, padding, padding_out, dilation, groups),
            bias: true,
            strided: false,
            seed: seed as u64,
        };
        check(&case, &device, dtype);
    }
}

fn burns_forward_suite(device: Device, dtype: DType) {
    #[rustfmt::skip]
    let rows = [
        (1, [1, 1], [3, 3], [1, 1], [0, 0], [1, 1], [1, 1], 1, [2, 2]), // simple_1
        (1, [3, 3], [3, 3], [1, 1], [0, 0], [1, 1], [1, 1], 1, [4, 4]), // simple_2
        (1, [1, 1], [2, 2], [0, 0], [0, 0], [1, 1], [1, 1], 1, [2, 2]), // simple_3
        (1, [1, 1], [2, 2], [0, 0], [0, 0], [2, 2], [1, 1], 1, [2, 2]), // stride_2
        (1, [2, 2], [3, 3], [1, 1], [1, 1], [1, 1], [2, 2], 1, [2, 2]), // dilation_2
        (1, [2, 2], [3, 3], [1, 1], [1, 1], [2, 2], [1, 1], 1, [4, 4]), // stride2_out_padding
        (1, [2, 2], [3, 3], [1, 1], [0, 0], [1, 1], [1, 1], 2, [2, 2]), // groups_2
        (1, [2, 6], [3, 3], [0, 0], [0, 0], [1, 1], [1, 1], 2, [2, 2]), // groups_different_channels
    ];
    check_rows(&rows, device, dtype);
}

fn burns_autodiff_suite(device: Device, dtype: DType) {
    #[rustfmt::skip]
    let rows = [
        (2, [2, 2], [3, 3], [0, 0], [0, 0], [1, 1], [1, 1], 1, [4, 4]),   // basic
        (1, [1, 1], [3, 3], [1, 2], [0, 0], [1, 1], [1, 1], 1, [4, 4]),   // padding
        (1, [1, 1], [3, 3], [0, 0], [0, 0], [2, 3], [1, 1], 1, [4, 4]),   // stride
        (1, [1, 1], [3, 3], [0, 0], [1, 2], [2, 3], [1, 1], 1, [4, 4]),   // stride_padding_out
        (1, [1, 1], [3, 3], [0, 0], [0, 0], [1, 1], [2, 3], 1, [4, 4]),   // dilation
        (1, [2, 3], [3, 3], [0, 0], [0, 0], [1, 1], [1, 1], 1, [4, 4]),   // channels
        (1, [1, 1], [3, 5], [0, 0], [0, 0], [1, 1], [1, 1], 1, [6, 6]),   // kernel_size
        (1, [2, 2], [3, 3], [0, 0], [0, 0], [1, 1], [1, 1], 2, [4, 4]),   // groups
        (2, [2, 3], [3, 5], [1, 2], [1, 2], [2, 3], [2, 3], 1, [6, 8]),   // complex_no_groups
        (1, [4, 2], [2, 3], [1, 2], [1, 2], [2, 3], [1, 2], 1, [10, 10]), // complex_no_groups_2
        (1, [4, 2], [2, 3], [1, 2], [1, 2], [2, 3], [1, 2], 2, [10, 10]), // complex_groups
    ];
    check_rows(&rows, device, dtype);
}
