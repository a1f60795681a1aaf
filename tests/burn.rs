//! Both algorithms against Burn's own `conv_transpose2d`: outputs and all gradients, with and
//! without gradient checkpointing, on random cases and on the cases of Burn's own test suites.

mod common;

use burn::tensor::{DType, Device};
use burn_deconv::Algorithm;
use common::{Case, Values, burn_layer, ours, run, symmetric};

on_every_backend!(random_cases, burns_forward_suite, burns_autodiff_suite);

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Explicit, Algorithm::SkipZeros];

/// The explicit algorithm multiplies by the inserted zeros, so large kernels at large strides would
/// take it minutes. In random cases with more products it does not run.
const MAX_EXPLICIT_PRODUCTS: usize = 1 << 15;

fn check(case: &Case, algorithms: &[Algorithm], device: &Device, dtype: DType) {
    let values = Values::draw(case);
    let plain = device.clone().autodiff();
    let checkpointing = plain.clone().gradient_checkpointing();
    let expected = run(case, &values, &plain, dtype, burn_layer(case));
    for &algorithm in algorithms {
        for device in [&plain, &checkpointing] {
            let got = run(case, &values, device, dtype, ours(case, algorithm));
            assert_eq!(got, expected, "{algorithm:?} of {case:?} on {device:?}");
        }
    }
}

fn random_cases(device: Device, dtype: DType) {
    let seed = if dtype == DType::F32 { 1 } else { 2 };
    let mut explicit = 0;
    for case in Case::random(seed, 1_000) {
        if case.explicit_products() > MAX_EXPLICIT_PRODUCTS {
            check(&case, &[Algorithm::SkipZeros], &device, dtype);
        } else {
            check(&case, &ALGORITHMS, &device, dtype);
            explicit += 1;
        }
    }
    assert!(
        explicit > 500,
        "{explicit} cases for the explicit algorithm"
    );
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
        check(&case, &ALGORITHMS, &device, dtype);
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
