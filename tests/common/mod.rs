//! What the tests share: a case, its whole-number values, and Burn's own layer as the oracle.
//!
//! All values are whole numbers from -3 to 3. Every product and sum of a test is then a whole
//! number far below 2^24, exact in f32 and f64 in whatever order it is summed, so that results are
//! compared with `==`. The output gradient is random too: a plain sum as the loss could not see a
//! flipped kernel.

#![allow(dead_code)] // each test file uses its part

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::{ConvTransposeOptions, PadMode};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use burn_deconv::{Algorithm, Deconv2dOptions, Geometry, Padding, deconv2d};

/// Shapes and options of one call.
#[derive(Clone, Debug)]
pub struct Case {
    /// `[n, c_in, h, w]`
    pub input: [usize; 4],
    /// `[c_out, c_in / groups, k_h, k_w]`
    pub weight: [usize; 4],
    pub options: Deconv2dOptions,
    pub bias: bool,
    /// Whether input and weight are views whose values do not lie in order.
    pub strided: bool,
    /// Draws the values.
    pub seed: u64,
}

impl Case {
    pub fn geometry(&self) -> Geometry {
        Geometry::new(self.input, self.weight, &self.options).unwrap()
    }
}

/// The output and the gradients of one call, as flat values in the layouts of our layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub shape: [usize; 4],
    pub output: Vec<f64>,
    pub grad_input: Vec<f64>,
    pub grad_weight: Vec<f64>,
    pub grad_bias: Vec<f64>,
}

/// The values of one call, as flat values.
#[derive(Clone, Debug)]
pub struct Values {
    pub input: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
    pub grad_output: Vec<f64>,
}

impl Values {
    pub fn draw(case: &Case) -> Self {
        let mut whole = WholeNumbers(case.seed);
        Self {
            input: whole.draw(case.input.iter().product()),
            weight: whole.draw(case.weight.iter().product()),
            bias: whole.draw(case.weight[0]),
            grad_output: whole.draw(case.geometry().output_shape().iter().product()),
        }
    }
}

/// Whole numbers from -3 to 3 (splitmix64: Steele, Lea and Flood, OOPSLA 2014).
pub struct WholeNumbers(pub u64);

impl WholeNumbers {
    pub fn draw(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % 7) as f64 - 3.0
    }
}

/// The forward pass and all gradients of `f(input, weight, bias)` for the output gradient of
/// `values`. `device` must be an autodiff device.
pub fn run(
    case: &Case,
    values: &Values,
    device: &Device,
    dtype: DType,
    f: impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4>,
) -> Answer {
    let input = tensor(&values.input, case.input, device, dtype).require_grad();
    let weight = tensor(&values.weight, case.weight, device, dtype).require_grad();
    let bias = case
        .bias
        .then(|| tensor(&values.bias, [case.weight[0]], device, dtype).require_grad());

    let view = |t: &Tensor<4>| {
        if case.strided {
            strided(t.clone())
        } else {
            t.clone()
        }
    };
    let output = f(view(&input), view(&weight), bias.clone());
    assert_eq!(output.dtype(), dtype);
    let shape = output.dims();
    let grad_output = tensor(&values.grad_output, shape, device, dtype);
    let gradients = (output.clone() * grad_output).sum().backward();
    Answer {
        shape,
        output: flat(output),
        grad_input: gradient(&input, &gradients),
        grad_weight: gradient(&weight, &gradients),
        grad_bias: bias.map_or(vec![], |bias| gradient(&bias, &gradients)),
    }
}

fn gradient<const D: usize>(tensor: &Tensor<D>, gradients: &Gradients) -> Vec<f64> {
    let gradient = tensor.grad(gradients).expect("a gradient");
    let got = (gradient.dims(), gradient.dtype());
    assert_eq!(got, (tensor.dims(), tensor.dtype()));
    flat(gradient)
}

/// Our function under test.
pub fn ours(
    case: &Case,
    algorithm: Algorithm,
) -> impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4> {
    let options = Deconv2dOptions {
        algorithm,
        ..case.options.clone()
    };
    move |input, weight, bias| deconv2d(input, weight, bias, options.clone())
}

/// Burn's `conv_transpose2d` on the same values: the weight's layout changed, the crop that its
/// symmetric `padding` cannot express sliced off the end.
pub fn burn_layer(case: &Case) -> impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4> {
    let geometry = case.geometry();
    let options = case.options.clone();
    move |input, weight, bias| {
        let crop = geometry
            .axes()
            .map(|axis| (axis.crop_begin() as isize, axis.crop_end()));
        let padding = crop.map(|(begin, _)| begin as usize);
        let padding_out = crop.map(|(begin, end)| (begin - end).max(0) as usize);
        let options = ConvTransposeOptions::new(
            options.stride,
            padding,
            padding_out,
            options.dilation,
            options.groups,
        );
        let weight = to_burn(weight, options.groups);
        let [n, c, h, w] = geometry.output_shape();
        conv_transpose2d(input, weight, bias, options).slice([0..n, 0..c, 0..h, 0..w])
    }
}

/// `[out, in / groups, k_h, k_w]` to Burn's `[in, out / groups, k_h, k_w]`, turned by 180 degrees.
pub fn to_burn(weight: Tensor<4>, groups: usize) -> Tensor<4> {
    let [c_out, c_in_per_group, k_h, k_w] = weight.dims();
    weight
        .flip([2, 3])
        .reshape([groups, c_out / groups, c_in_per_group, k_h, k_w])
        .swap_dims(1, 2)
        .reshape([groups * c_in_per_group, c_out / groups, k_h, k_w])
}

pub fn tensor<const D: usize>(
    values: &[f64],
    shape: [usize; D],
    device: &Device,
    dtype: DType,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
}

/// The same values in a tensor whose memory order is another.
pub fn strided(tensor: Tensor<4>) -> Tensor<4> {
    let padded = tensor
        .permute([3, 1, 0, 2])
        .pad([(1, 0), (0, 1)], PadMode::Constant(f32::NAN));
    let [w, c, n, h] = padded.dims();
    padded
        .slice([0..w, 0..c, 1..n, 0..h - 1])
        .permute([2, 1, 3, 0])
}

pub fn flat<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f64>().unwrap()
}

/// Names the options as a caller of Burn's or PyTorch's layer would.
pub fn symmetric(
    stride: [usize; 2],
    padding: [usize; 2],
    padding_out: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
) -> Deconv2dOptions {
    let [p_h, p_w] = padding;
    Deconv2dOptions::new()
        .with_stride(stride)
        .with_padding(Padding::Explicit(p_h, p_w, p_h, p_w))
        .with_padding_out(padding_out)
        .with_dilation(dilation)
        .with_groups(groups)
}

/// Runs each named check, a function of the test file that takes a device and a dtype, as a test
/// of its own for every backend and dtype.
#[macro_export]
macro_rules! on_every_backend {
    ($($check:ident),+ $(,)?) => {
        mod flex {
            $crate::on_every_backend!(@dtypes burn::tensor::Device::flex(), $($check),+);
        }

        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // by Burn, which ends its support with version 0.23
        mod ndarray {
            $crate::on_every_backend!(@dtypes burn::tensor::Device::ndarray(), $($check),+);
        }
    };
    (@dtypes $device:expr, $($check:ident),+) => {
        mod f32 {
            $(#[test] fn $check() { super::super::$check($device, burn::tensor::DType::F32); })+
        }

        mod f64 {
            $(#[test] fn $check() { super::super::$check($device, burn::tensor::DType::F64); })+
        }
    };
}
