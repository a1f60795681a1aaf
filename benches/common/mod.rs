//! What the benches share: the cost of a layer of the table, its data, and the ways to compute it.

pub mod given;
#[path = "../../tests/common/table.rs"]
pub mod table;

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Device, Tensor, TensorData};
use burn_deconv::{Algorithm, Deconv2dOptions, Geometry, KernelLayout, deconv2d};
use serde::{Deserialize, Serialize};

pub use table::{Layer, TABLE};

impl Layer {
    /// The multiplications and additions whose result reaches the output. Products with an inserted
    /// zero and products that are cropped do not count.
    pub fn flops(&self, pass: Pass) -> u64 {
        let geometry = self.geometry();
        let products = geometry.axes().map(|axis| {
            let kept = axis.crop_begin()..axis.crop_begin() + axis.output();
            let places = (0..axis.input()).flat_map(|i| {
                let taps = 0..axis.kernel();
                taps.map(move |tap| i * axis.stride() + tap * axis.dilation())
            });
            places.filter(|place| kept.contains(place)).count()
        });
        let [c_in, c_out] = geometry.channels();
        let channels = c_in * (c_out / geometry.groups());
        let forward = 2 * geometry.batch() * channels * products[0] * products[1];
        // Each gradient sums the same number of products.
        forward as u64 * if pass == Pass::Forward { 1 } else { 3 }
    }

    /// The bytes that memory must move at least: input, weight and output once. With the backward
    /// pass, also their gradients once.
    pub fn bytes(&self, pass: Pass) -> u64 {
        let geometry = self.geometry();
        let tensors = [
            geometry.input_shape(),
            geometry.weight_shape(),
            geometry.output_shape(),
        ];
        let values: usize = tensors.iter().map(|shape| elements(*shape)).sum();
        (values * size_of::<f32>()) as u64 * if pass == Pass::Forward { 1 } else { 2 }
    }
}

/// Who computes the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    Explicit,
    SkipZeros,
    /// Burn's own `conv_transpose2d`.
    Burn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    Flex,
    #[cfg(feature = "ndarray")]
    Ndarray,
    #[cfg(feature = "wgpu")]
    Wgpu,
}

impl Backend {
    pub fn device(self) -> Device {
        match self {
            Self::Flex => Device::flex(),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)] // by Burn, which ends its support with version 0.23
            Self::Ndarray => Device::ndarray(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(Default::default()),
        }
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    Forward,
    ForwardBackward,
}

/// A layer with its data, ready to be computed in one way.
pub struct Case {
    geometry: Geometry,
    options: Deconv2dOptions,
    row: Row,
    input: Tensor<4>,
    /// In the layout of `row`, so no conversion is timed.
    weight: Tensor<4>,
    grad_output: Tensor<4>,
}

impl Case {
    pub fn new(layer: &Layer, row: Row, backend: Backend) -> Self {
        let (geometry, device) = (layer.geometry(), backend.device());
        let algorithm = match row {
            Row::Explicit => Algorithm::Explicit,
            Row::SkipZeros | Row::Burn => Algorithm::SkipZeros,
        };
        let input = tensor(INPUT, geometry.input_shape(), &device);
        let weight = tensor(WEIGHT, geometry.weight_shape(), &device);
        let weight = match row {
            Row::Explicit | Row::SkipZeros => weight,
            Row::Burn => {
                let burns = KernelLayout::Burn.from_article(weight, geometry.groups());
                // The copy has the memory order of Burn's layout; the conversion may be a view.
                Tensor::from_data(burns.expect("a legal weight").into_data(), &device)
            }
        };
        Self {
            options: layer.options().with_algorithm(algorithm),
            grad_output: tensor(GRAD_OUTPUT, geometry.output_shape(), &device),
            geometry,
            row,
            input,
            weight,
        }
    }

    pub fn forward(&self) -> Tensor<4> {
        self.compute(self.input.clone(), self.weight.clone())
    }

    /// Input and weight as the leaves of a new graph.
    pub fn leaves(&self) -> [Tensor<4>; 2] {
        [&self.input, &self.weight].map(|leaf| Tensor::from_inner(leaf.clone()).require_grad())
    }

    /// Output, gradient of the input, gradient of the weight, for a gradient of the output that was
    /// there before.
    pub fn forward_backward(&self, [input, weight]: [Tensor<4>; 2]) -> [Tensor<4>; 3] {
        let output = self.compute(input.clone(), weight.clone());
        let grad_output = Tensor::from_inner(self.grad_output.clone());
        let mut gradients = given::loss(output.clone(), grad_output).backward();
        let [grad_input, grad_weight] = [input, weight].map(|leaf| {
            leaf.grad_remove(&mut gradients)
                .expect("both leaves are tracked")
        });
        [output, grad_input, grad_weight]
    }

    /// Digests of the output and, for a gradient of the output that is different at each value, of
    /// both gradients; the weight's in the article's layout.
    pub fn digests(&self) -> [Digest; 3] {
        let [output, grad_input, grad_weight] = self.forward_backward(self.leaves());
        let grad_weight = match self.row {
            Row::Explicit | Row::SkipZeros => grad_weight,
            Row::Burn => KernelLayout::Burn
                .to_article(grad_weight, self.geometry.groups())
                .expect("a legal weight"),
        };
        [output.inner(), grad_input, grad_weight].map(Digest::new)
    }

    fn compute(&self, input: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        match self.row {
            Row::Explicit | Row::SkipZeros => deconv2d(input, weight, None, self.options.clone()),
            Row::Burn => self.burn(input, weight),
        }
    }

    /// Burn crops as much at the end as at the beginning; what `Same` crops beyond that is sliced
    /// off, what it crops less is Burn's `padding_out`.
    fn burn(&self, input: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        let geometry = &self.geometry;
        let axes = geometry.axes();
        let options = ConvTransposeOptions::new(
            axes.map(|axis| axis.stride()),
            axes.map(|axis| axis.crop_begin()),
            axes.map(|axis| (axis.output() + 2 * axis.crop_begin()).saturating_sub(axis.full())),
            geometry.dilation(),
            geometry.groups(),
        );
        let output = conv_transpose2d(input, weight, None, options);
        let shape = geometry.output_shape();
        if output.dims() == shape {
            return output;
        }
        output.slice(shape.map(|length| 0..length))
    }
}

/// The sequences of [`value`].
const INPUT: u32 = 1;
const WEIGHT: u32 = 2;
const GRAD_OUTPUT: u32 = 3;
const PROJECTIONS: [u32; 4] = [4, 5, 6, 7];

/// Value `index` of a sequence: a multiple of 1/8 in [-1, 1).
///
/// Products are multiples of 1/64. Their sum in f32 is exact in any order while it stays below
/// 2^18, so all algorithms and frameworks must give exactly the same answers.
fn value(sequence: u32, index: u32) -> f32 {
    let mut bits = index.wrapping_mul(0x9E37_79B1);
    bits = bits.wrapping_add(sequence.wrapping_mul(0x85EB_CA77));
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
    bits = (bits ^ (bits >> 12)).wrapping_mul(0x297A_2D39);
    bits ^= bits >> 15;
    (bits >> 28) as f32 / 8.0 - 1.0
}

fn tensor(sequence: u32, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..elements(shape) as u32)
        .map(|i| value(sequence, i))
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn elements(shape: [usize; 4]) -> usize {
    shape.iter().product()
}

/// A tensor in a few numbers: sums of its values, each multiplied by a number for its place. They
/// are exact in f64, so equal tensors have equal digests. A wrong or misplaced value changes them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Digest {
    pub shape: [usize; 4],
    pub projections: [f64; 4],
}

impl Digest {
    fn new(tensor: Tensor<4>) -> Self {
        let shape = tensor.dims();
        let data = tensor.into_data();
        let values = data.as_slice::<f32>().expect("a tensor of f32");
        let projections = PROJECTIONS.map(|sequence| {
            let terms = (0..).zip(values);
            terms
                .map(|(i, x)| f64::from(value(sequence, i)) * f64::from(*x))
                .sum()
        });
        Self { shape, projections }
    }
}
