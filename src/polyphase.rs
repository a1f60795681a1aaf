//! The transposed convolution without the inserted zeros, in Burn's tensor operations, for every
//! backend.
//!
//! Let every input value scatter. With `a` counting the kernel's taps from its end, the product of
//! value `i` and tap `a` is added to place `i * s + a * d` of the full map. Write each place as
//! `m * s + r`. The places with one `r` (`0 <= r < s`) are a phase, the polyphase component:
//!
//! ```text
//! phase_r[m] = sum over the taps a with (a * d) mod s = r  of  x[m - (a * d) / s] * tap_a
//! ```
//!
//! No zero appears. One matrix product multiplies every tap with every value. The taps of each
//! phase are then summed, one axis at a time, and the phases are interleaved. (Polyphase
//! decomposition: P. P. Vaidyanathan, *Multirate Systems and Filter Banks*, 1993, section 4.3.)

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use crate::explicit::window;
use crate::{AxisGeometry, Geometry};

/// Computes the output, `[n, c_out, O_h, O_w]`.
pub(crate) fn deconv2d(input: Tensor<4>, weight: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    let [height, width] = geometry.axes();
    let [n, c_out, ..] = geometry.output_shape();

    // At most six dimensions, because burn-ndarray has no more.
    let products = products(input, weight, geometry); //  [g, k_h, k_w, c_out/g * n, h, w]
    let rows = sum_taps(products, height, 1, 4); //       [g, s_h, k_w, c_out/g * n, M_h, w]
    let phases = sum_taps(rows, width, 2, 5); //          [g, s_h, s_w, c_out/g * n, M_h, M_w]
    let [_, s_h, s_w, _, m_h, m_w] = phases.dims();
    let map = phases
        .permute([0, 3, 4, 1, 5, 2])
        .reshape([c_out, n, m_h * s_h, m_w * s_w]);
    window(map.swap_dims(0, 1), geometry)
}

/// Every tap of the kernel times every value of the input, summed over the input channels of a
/// group: `[g, k_h, k_w, c_out/g * n, h, w]`. The taps are counted from the kernel's end.
fn products(input: Tensor<4>, weight: Tensor<4>, geometry: &Geometry) -> Tensor<6> {
    let [n, c_in, h, w] = geometry.input_shape();
    let [c_out, _, k_h, k_w] = geometry.weight_shape();
    let g = geometry.groups();
    let (taps, c_in, c_out) = (k_h * k_w, c_in / g, c_out / g);

    let turned = weight.flip([2, 3]).permute([2, 3, 0, 1]);
    let weight = turned.reshape([taps, g, c_out, c_in]).swap_dims(0, 1);
    let input = input.reshape([n, g, c_in, h * w]).permute([1, 2, 0, 3]);
    let weight: Tensor<3> = weight.reshape([g, taps * c_out, c_in]);
    let input: Tensor<3> = input.reshape([g, c_in, n * h * w]);
    weight.matmul(input).reshape([g, k_h, k_w, c_out * n, h, w])
}

/// Sums the taps of each phase on one axis. Dimension `tap` has the kernel's `k` taps, and then the
/// `s` phases. Dimension `space` has the input's `h` values, and then the `M = ceil(F / s)` values
/// of each phase.
fn sum_taps(products: Tensor<6>, axis: &AxisGeometry, tap: usize, space: usize) -> Tensor<6> {
    let length = axis.full().div_ceil(axis.stride());
    let mut sum: Option<Tensor<6>> = None;
    for run in runs(axis) {
        let mut padding = [(0, 0); 6];
        padding[tap] = (run.phase, axis.stride() - run.phase - run.taps.len());
        padding[space] = (run.shift, length - run.shift - axis.input());
        let mut placed = products.clone().slice_dim(tap, run.taps);
        if padding != [(0, 0); 6] {
            placed = placed.pad(padding, PadMode::Constant(0.0));
        }
        sum = Some(match sum {
            Some(sum) => sum + placed,
            None => placed,
        });
    }
    sum.expect("a kernel has a tap")
}

/// Neighbouring taps that shift the input by the same number of values, `shift`, into neighbouring
/// phases. `phase` is the first. Without dilation a kernel has `ceil(k / s)` runs.
#[derive(Debug, PartialEq)]
struct Run {
    taps: core::ops::Range<usize>,
    shift: usize,
    phase: usize,
}

fn runs(axis: &AxisGeometry) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for tap in 0..axis.kernel() {
        let place = tap * axis.dilation();
        let (shift, phase) = (place / axis.stride(), place % axis.stride());
        match runs.last_mut() {
            Some(run) if run.shift == shift && run.phase + run.taps.len() == phase => {
                run.taps.end += 1;
            }
            _ => runs.push(Run {
                taps: tap..tap + 1,
                shift,
                phase,
            }),
        }
    }
    runs
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::common::{Case, Values, ours, run};
    use crate::{Algorithm, Deconv2dOptions};

    fn runs_of(kernel: usize, stride: usize, dilation: usize) -> Vec<Run> {
        let options = Deconv2dOptions::new()
            .with_stride([stride; 2])
            .with_dilation([dilation; 2]);
        let geometry = Geometry::new([1, 1, 3, 3], [1, 1, kernel, kernel], &options).unwrap();
        runs(geometry.axes()[0])
    }

    /// A run costs a slice, a padding and a sum.
    #[test]
    fn few_runs() {
        for (kernel, stride) in [(3, 2), (4, 2), (2, 3), (3, 1), (64, 32)] {
            assert_eq!(runs_of(kernel, stride, 1).len(), kernel.div_ceil(stride));
        }
        let starts = |runs: Vec<Run>| -> Vec<_> {
            let starts = |run: Run| (run.taps, run.shift, run.phase);
            runs.into_iter().map(starts).collect()
        };
        assert_eq!(starts(runs_of(3, 2, 1)), [(0..2, 0, 0), (2..3, 1, 0)]);
        let dilated = [(0..1, 0, 0), (1..2, 0, 2), (2..3, 1, 1)];
        assert_eq!(starts(runs_of(3, 3, 2)), dilated);
    }

    /// The backends that use this form are not on every machine, so Flex stands in for them.
    #[test]
    fn output_and_gradients_are_those_of_the_explicit_steps() {
        let device = Device::flex().autodiff();
        for case in Case::random(1, 200) {
            let values = Values::draw(&case);
            let explicit = ours(&case, Algorithm::Explicit);
            let expected = run(&case, &values, &device, DType::F32, explicit);
            let geometry = case.geometry();
            let polyphase = |input, weight, bias| {
                crate::explicit::add_bias(deconv2d(input, weight, &geometry), bias)
            };
            let got = run(&case, &values, &device, DType::F32, polyphase);
            assert_eq!(got, expected, "{case:?}");
        }
    }

    #[test]
    fn an_infinite_weight_meets_no_inserted_zero() {
        let device = Device::flex();
        let options = Deconv2dOptions::new()
            .with_stride([1, 2])
            .with_padding(crate::Padding::Valid);
        let geometry = Geometry::new([1, 1, 1, 2], [1, 1, 1, 3], &options).unwrap();
        let input = Tensor::<4>::from_data([[[[1., 2.]]]], &device);
        let infinite = f32::INFINITY;
        let weight = Tensor::<4>::from_data([[[[1., 10., infinite]]]], &device);
        let output = deconv2d(input, weight, &geometry).into_data();
        let expected = [infinite, 10., infinite, 20., 2.];
        assert_eq!(output.as_slice::<f32>().unwrap(), expected);
    }
}
