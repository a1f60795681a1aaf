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

    /// Against the explicit steps. The devices that this form is for are on few machines; Flex, of
    /// which tests alone ask for it, stands in for them.
    #[cfg(feature = "flex")]
    mod against_explicit {
        use burn::tensor::{DType, Device, TensorData};

        use super::*;
        use crate::{Padding, explicit};

        /// Numbers that look drawn (splitmix64: Steele, Lea and Flood, OOPSLA 2014).
        struct Draw(u64);

        impl Draw {
            fn below(&mut self, end: usize) -> usize {
                self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = self.0;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                ((z ^ (z >> 31)) % end as u64) as usize
            }

            fn one_up_to(&mut self, most: usize) -> usize {
                1 + self.below(most)
            }

            /// Whole numbers from -3 to 3.
            fn tensor(&mut self, shape: [usize; 4], device: &Device) -> Tensor<4> {
                let count = shape.iter().product();
                let values: Vec<f32> = (0..count).map(|_| self.below(7) as f32 - 3.).collect();
                Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
            }

            /// All that options allow.
            fn geometry(&mut self) -> Geometry {
                let groups = self.one_up_to(3);
                let [c_in, c_out] = [0, 1].map(|_| self.one_up_to(3));
                let [h, w] = [0, 1].map(|_| self.one_up_to(5));
                let [k_h, k_w] = [0, 1].map(|_| self.one_up_to(5));
                let input = [self.one_up_to(2), groups * c_in, h, w];
                let weight = [groups * c_out, c_in, k_h, k_w];
                let options = Deconv2dOptions::new()
                    .with_stride([0, 1].map(|_| self.one_up_to(4)))
                    .with_dilation([0, 1].map(|_| self.one_up_to(3)))
                    .with_groups(groups);
                let (padding, ask) = (self.below(4), self.below(2) == 0);
                loop {
                    let [top, left, bottom, right] = [0; 4].map(|_| self.below(6));
                    let mut options = options.clone().with_padding(match padding {
                        0 => Padding::Same,
                        1 => Padding::SameLower,
                        2 => Padding::Valid,
                        _ => Padding::Explicit(top, left, bottom, right),
                    });
                    if padding == 3 && !ask {
                        let steps = [0, 1].map(|i| options.stride[i].max(options.dilation[i]));
                        options.padding_out = steps.map(|step| self.below(step));
                    }
                    // Some crops leave nothing.
                    let Ok(geometry) = Geometry::new(input, weight, &options) else {
                        continue;
                    };
                    if !ask {
                        return geometry;
                    }
                    options.output_size = Some(geometry.axes().map(|axis| {
                        let step = axis.stride().max(axis.dilation());
                        match padding {
                            0 | 1 => axis.output() - self.below(axis.stride()),
                            2 => axis.full() + self.below(axis.stride()),
                            _ => axis.output() + self.below(step),
                        }
                    }));
                    return Geometry::new(input, weight, &options).expect("a size that is legal");
                }
            }
        }

        /// Output, and the gradients of input and weight, of one of the two forms.
        fn run(
            f: impl Fn(Tensor<4>, Tensor<4>, &Geometry) -> Tensor<4>,
            [input, weight, grad_output]: [&Tensor<4>; 3],
            geometry: &Geometry,
        ) -> [Vec<f32>; 3] {
            let [input, weight] = [input, weight].map(|tensor| tensor.clone().require_grad());
            let output = f(input.clone(), weight.clone(), geometry);
            let gradients = (output.clone() * grad_output.clone()).sum().backward();
            let values = |tensor: Tensor<4>| tensor.try_into_vec_as::<f32>().unwrap();
            let gradient = |tensor: Tensor<4>| values(tensor.grad(&gradients).unwrap());
            [values(output), gradient(input), gradient(weight)]
        }

        fn three_steps(input: Tensor<4>, weight: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
            let filled = explicit::zero_fill(input, geometry);
            let full = explicit::correlate(filled, weight, geometry);
            explicit::crop(full, geometry)
        }

        #[test]
        fn output_and_gradients_are_equal_on_drawn_geometries() {
            let device = Device::flex().autodiff();
            let mut draw = Draw(1);
            for _ in 0..1_000 {
                let geometry = draw.geometry();
                let shapes = [
                    geometry.input_shape(),
                    geometry.weight_shape(),
                    geometry.output_shape(),
                ];
                let tensors = shapes.map(|shape| draw.tensor(shape, &device));
                let tensors = tensors.each_ref();
                let got = run(deconv2d, tensors, &geometry);
                let expected = run(three_steps, tensors, &geometry);
                let names = ["output", "gradient of the input", "gradient of the weight"];
                for ((got, expected), name) in got.iter().zip(&expected).zip(names) {
                    assert_eq!(got, expected, "{name}: {geometry:?}");
                }
            }
        }

        #[test]
        fn an_infinite_weight_meets_no_inserted_zero() {
            let device = Device::flex();
            let options = Deconv2dOptions::new()
                .with_stride([1, 2])
                .with_padding(Padding::Valid);
            let geometry = Geometry::new([1, 1, 1, 2], [1, 1, 1, 3], &options).unwrap();
            let input = Tensor::<4>::from_data([[[[1., 2.]]]], &device);
            let infinite = f32::INFINITY;
            let weight = Tensor::<4>::from_data([[[[1., 10., infinite]]]], &device);
            let output = deconv2d(input, weight, &geometry).into_data();
            let expected = [infinite, 10., infinite, 20., 2.];
            assert_eq!(output.as_slice::<f32>().unwrap(), expected);
        }
    }
}
