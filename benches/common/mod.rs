//! What the benches share: the table of layers, their data, and the ways to compute a layer.

pub mod given;

use std::sync::LazyLock;

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Device, Tensor, TensorData};
use burn_deconv::{Algorithm, Deconv2dOptions, Geometry, Padding, deconv2d};
use serde::{Deserialize, Serialize};

/// What `layers.json` holds.
#[derive(Deserialize)]
pub struct Table {
    /// In real use.
    pub layers: Vec<Layer>,
    /// One layer whose map and batch grow.
    scaling: Vec<Layer>,
}

impl Table {
    pub fn find(&self, name: &str) -> Option<&Layer> {
        let mut layers = self.layers.iter().chain(&self.scaling);
        layers.find(|layer| layer.name == name)
    }
}

pub static TABLE: LazyLock<Table> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../layers.json")).expect("layers.json is a table of layers")
});

/// One layer of the table, without bias.
#[derive(Clone, Debug, Deserialize)]
pub struct Layer {
    pub name: String,
    /// `[n, c_in, h, w]`
    pub input: [usize; 4],
    pub channels_out: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
    pub padding: Padding,
}

impl Layer {
    fn options(&self) -> Deconv2dOptions {
        Deconv2dOptions::new()
            .with_stride(self.stride)
            .with_dilation(self.dilation)
            .with_groups(self.groups)
            .with_padding(self.padding)
    }

    pub fn geometry(&self) -> Geometry {
        let c_in = self.input[1];
        let [k_h, k_w] = self.kernel;
        let weight = [self.channels_out, c_in / self.groups, k_h, k_w];
        Geometry::new(self.input, weight, &self.options()).expect("a legal layer")
    }

    /// Multiplications and additions of the products that reach the output: none with an inserted
    /// zero, none that is cropped.
    pub fn flops(&self, pass: Pass) -> u64 {
        let geometry = self.geometry();
        let [dilation_h, dilation_w] = geometry.dilation();
        let [height, width] = geometry.axes();
        let products = [(height, dilation_h), (width, dilation_w)].map(|(axis, dilation)| {
            let kept = axis.crop_begin()..axis.crop_begin() + axis.output();
            let places = (0..axis.input())
                .flat_map(|i| (0..axis.kernel()).map(move |t| i * axis.stride() + t * dilation));
            places.filter(|place| kept.contains(place)).count()
        });
        let [c_in, c_out] = geometry.channels();
        let channels = c_in * (c_out / geometry.groups());
        let forward = 2 * geometry.batch() * channels * products[0] * products[1];
        // Each gradient is made of the same products, paired another way.
        forward as u64 * if pass == Pass::Forward { 1 } else { 3 }
    }

    /// The least that memory must move: input, weight and output once, and with the backward pass
    /// their gradients once.
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
}

impl Backend {
    pub fn device(self) -> Device {
        match self {
            Self::Flex => Device::flex(),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)] // by Burn, which ends its support with version 0.23
            Self::Ndarray => Device::ndarray(),
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
    /// In the layout of `row`, so that no conversion is timed.
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
            // Read back and written again: a tensor of its own, not a view of the other layout.
            Row::Burn => {
                Tensor::from_data(other_layout(weight, geometry.groups()).into_data(), &device)
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
            Row::Burn => other_layout(grad_weight, self.geometry.groups()),
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
        match output.dims() == shape {
            true => output,
            false => output.slice(shape.map(|length| 0..length)),
        }
    }
}

/// `[out, in / groups, k_h, k_w]` to Burn's `[in, out / groups, k_h, k_w]`, or back: kernels turned
/// by 180 degrees, channels swapped within each group.
fn other_layout(weight: Tensor<4>, groups: usize) -> Tensor<4> {
    let [a, b_per_group, k_h, k_w] = weight.dims();
    weight
        .flip([2, 3])
        .reshape([groups, a / groups, b_per_group, k_h, k_w])
        .swap_dims(1, 2)
        .reshape([groups * b_per_group, a / groups, k_h, k_w])
}

/// Which data: each number starts another sequence of [`value`].
const INPUT: u32 = 1;
const WEIGHT: u32 = 2;
const GRAD_OUTPUT: u32 = 3;
const PROJECTIONS: [u32; 4] = [4, 5, 6, 7];

/// Value `index` of a sequence: a multiple of 1/8 in [-1, 1).
///
/// Products are multiples of 1/64, and a sum of them in f32 is exact in any order as long as it
/// stays below 2^18. So all algorithms and frameworks must give the very same answers.
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

/// A tensor in a few numbers: its sums with deterministic weights, one for each place. Exact in
/// f64, so that equal tensors have equal digests, and a value that is off, or elsewhere, changes
/// them.
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
