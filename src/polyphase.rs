//! The transposed convolution without the inserted zeros, in Burn tensor operations, for any
//! device.
//!
//! Turn the correlation around and let every input value scatter: with `a` counting the kernel's
//! taps from its end, value `i` times tap `a` belongs to place `i * s + a * d` of the full map. So
//! write each place as `m * s + r`. Its row of phase `r` (`0 <= r < s`), the polyphase component,
//! is
//!
//! ```text
//! phase_r[m] = sum over the taps a with (a * d) mod s = r  of  x[m - (a * d) / s] * tap_a
//! ```
//!
//! and no zero appears. One matrix product multiplies every tap with every value; what is left is
//! to add up the taps of each phase, an axis at a time, and to interleave the phases. (Polyphase
//! decomposition: P. P. Vaidyanathan, *Multirate Systems and Filter Banks*, 1993, section 4.3.)

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use crate::explicit::window;
use crate::{AxisGeometry, Geometry};

/// Computes the output, `[n, c_out, O_h, O_w]`.
pub(crate) fn deconv2d(input: Tensor<4>, weight: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    let [height, width] = geometry.axes();
    let [n, c_out, ..] = geometry.output_shape();

    // No tensor has more than six dimensions, the most that burn-ndarray takes.
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
/// group: `[g, k_h, k_w, c_out/g * n, h, w]`, the taps counted from the kernel's end.
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

/// Adds up the taps of each phase on one axis: dimension `tap` turns from the kernel's `k` taps
/// into the `s` phases, dimension `space` from the input's `h` values into each phase's
/// `M = ceil(F / s)`.
fn sum_taps(products: Tensor<6>, axis: &AxisGeometry, tap: usize, space: usize) -> Tensor<6> {
    let length = axis.full().div_ceil(axis.stride());
    let place = |run: Run| {
        let mut padding = [(0, 0); 6];
        padding[tap] = (run.phase, axis.stride() - run.phase - run.taps.len());
        padding[space] = (run.shift, length - run.shift - axis.input());
        let part = match run.taps.len() == axis.kernel() {
            true => products.clone(),
            false => products.clone().slice_dim(tap, run.taps),
        };
        match padding == [(0, 0); 6] {
            true => part,
            false => part.pad(padding, PadMode::Constant(0.0)),
        }
    };
    runs(axis)
        .into_iter()
        .map(place)
        .reduce(|sum, part| sum + part)
        .expect("a kernel has a tap")
}

/// Neighbouring taps that move the input by the same number of values, `shift`, into neighbouring
/// phases, of which `phase` is the first. Without dilation there are `ceil(k / s)` of them.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Deconv2dOptions;

    fn runs_of(kernel: usize, stride: usize, dilation: usize) -> Vec<(usize, usize, usize, usize)> {
        let options = Deconv2dOptions::new()
            .with_stride([stride; 2])
            .with_dilation([dilation; 2]);
        let geometry = Geometry::new([1, 1, 3, 3], [1, 1, kernel, kernel], &options).unwrap();
        let runs = runs(geometry.axes()[0]);
        runs.into_iter()
            .map(|run| (run.taps.start, run.taps.end, run.shift, run.phase))
            .collect()
    }

    #[test]
    fn runs_without_dilation_are_ceil_k_over_s() {
        assert_eq!(runs_of(3, 2, 1), [(0, 2, 0, 0), (2, 3, 1, 0)]);
        assert_eq!(runs_of(4, 2, 1), [(0, 2, 0, 0), (2, 4, 1, 0)]);
        assert_eq!(runs_of(2, 3, 1), [(0, 2, 0, 0)]);
        assert_eq!(runs_of(3, 1, 1), [(0, 1, 0, 0), (1, 2, 1, 0), (2, 3, 2, 0)]);
    }

    #[test]
    fn dilation_parts_the_taps() {
        assert_eq!(runs_of(3, 2, 2), [(0, 1, 0, 0), (1, 2, 1, 0), (2, 3, 2, 0)]);
        assert_eq!(runs_of(3, 3, 2), [(0, 1, 0, 0), (1, 2, 0, 2), (2, 3, 1, 1)]);
    }
}
