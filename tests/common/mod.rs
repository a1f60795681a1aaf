//! What the tests share: random cases, whole-number values, and Burn's own layer as the oracle.
//!
//! All values are whole numbers from -3 to 3. Every product and every sum of a test is then a whole
//! number far below 2^24, which f32 and f64 hold exactly in every order of summation. So results
//! are compared with `==`. The output gradient is random too, because a plain sum as the loss
//! cannot see a flipped kernel.

#![allow(dead_code)] // No test file uses everything.

#[path = "../../crates/deconv-kernel/src/draw.rs"]
mod draw;
pub mod table;

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::{ConvTransposeOptions, PadMode};
use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
use burn_deconv::{Algorithm, Deconv2dOptions, Geometry, Padding, deconv2d};

pub use draw::{Draw, Sizes};

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
    /// The seed of the values.
    pub seed: u64,
}

/// The most products of a value and a weight in a random case with a small kernel. Burn's own
/// operations are compiled without optimisation: a test of 1,000 cases with four times as many
/// takes minutes.
const MAX_PRODUCTS: usize = 1 << 11;

impl Case {
    /// Random cases with every padding and every legal output size. One in 16 has a large kernel.
    pub fn random(seed: u64, count: usize) -> Vec<Self> {
        let mut draw = Draw::new(seed);
        let sizes: Vec<Sizes> = (0..count).map(|_| small_sizes(&mut draw)).collect();
        let case = |sizes| Self::with_sizes(&mut draw, sizes);
        sizes.into_iter().map(case).collect()
    }

    fn with_sizes(draw: &mut Draw, sizes: Sizes) -> Self {
        let [height, width] = sizes.axes;
        Self {
            input: [sizes.batch, sizes.c_in, height.input, width.input],
            weight: [
                sizes.c_out,
                sizes.c_in / sizes.groups,
                height.kernel,
                width.kernel,
            ],
            options: random_options(draw, &sizes),
            bias: draw.below(2) == 0,
            strided: draw.below(2) == 0,
            seed: draw.next(),
        }
    }

    pub fn geometry(&self) -> Geometry {
        Geometry::new(self.input, self.weight, &self.options).unwrap()
    }

    /// The products of the explicit algorithm, which multiplies by the inserted zeros too.
    pub fn explicit_products(&self) -> usize {
        let [_, c_in_per_group, k_h, k_w] = self.weight;
        let full: usize = self.geometry().full_shape().iter().product();
        full * c_in_per_group * k_h * k_w
    }
}

/// Random sizes with at most [`MAX_PRODUCTS`]. A large kernel has more on a map of one value; such
/// sizes stay.
fn small_sizes(draw: &mut Draw) -> Sizes {
    loop {
        let mut sizes = draw.sizes();
        while sizes.products() > MAX_PRODUCTS {
            let [height, width] = &mut sizes.axes;
            let longer = if height.input > width.input {
                &mut height.input
            } else {
                &mut width.input
            };
            if *longer > 1 {
                *longer = longer.div_ceil(2);
            } else if sizes.batch > 1 {
                sizes.batch = 1;
            } else {
                break;
            }
        }
        if sizes.products() <= 16 * MAX_PRODUCTS {
            return sizes;
        }
    }
}

/// Options with these sizes, and a random padding and output size.
fn random_options(draw: &mut Draw, sizes: &Sizes) -> Deconv2dOptions {
    let options = Deconv2dOptions::new()
        .with_stride(sizes.axes.map(|axis| axis.stride))
        .with_dilation(sizes.axes.map(|axis| axis.dilation))
        .with_groups(sizes.groups);
    let full = sizes
        .axes
        .map(|axis| (axis.input - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1);
    // At least one value of the full map is left between the crops of an axis.
    let begin = full.map(|full| draw.below(full));
    let end = [0, 1].map(|i| draw.below(full[i] - begin[i]));
    let crop = Padding::Explicit(begin[0], begin[1], end[0], end[1]);
    let padding = draw.pick(&[Padding::Same, Padding::SameLower, Padding::Valid, crop]);
    // Less than the stride, and for `Explicit` less than the stride or the dilation.
    let step = sizes.axes.map(|axis| match padding {
        Padding::Explicit(..) => axis.stride.max(axis.dilation),
        _ => axis.stride,
    });
    let more = step.map(|step| draw.below(step));
    let output_size = [0, 1].map(|i| match padding {
        Padding::Same | Padding::SameLower => sizes.axes[i].input * sizes.axes[i].stride - more[i],
        Padding::Valid => full[i] + more[i],
        Padding::Explicit(..) => full[i] - begin[i] - end[i] + more[i],
    });
    let options = options.with_padding(padding);
    if draw.below(2) == 0 {
        options.with_output_size(Some(output_size))
    } else if padding == crop {
        options.with_padding_out(more)
    } else {
        options
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
        let mut draw = Draw::new(case.seed);
        Self {
            input: draw.whole_numbers(case.input.iter().product()),
            weight: draw.whole_numbers(case.weight.iter().product()),
            bias: draw.whole_numbers(case.weight[0]),
            grad_output: draw.whole_numbers(case.geometry().output_shape().iter().product()),
        }
    }
}

/// The output of `f(input, weight, bias)` and all gradients, for the output gradient of `values`.
/// `device` must be an autodiff device.
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

    let [mut x, mut w] = [input.clone(), weight.clone()];
    if case.strided {
        [x, w] = [x, w].map(strided);
    }
    let output = f(x, w, bias.clone());
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

/// Burn's `conv_transpose2d` on the same values. The weight's layout is converted, and the crop
/// that the symmetric `padding` cannot express is sliced off the end.
pub fn burn_layer(case: &Case) -> impl Fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>) -> Tensor<4> {
    let geometry = case.geometry();
    let options = case.options.clone();
    move |input, weight, bias| {
        let padding = geometry.axes().map(|axis| axis.crop_begin());
        let padding_out = geometry.axes().map(|axis| {
            let more = axis.crop_begin() as isize - axis.crop_end();
            more.max(0) as usize
        });
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
/// It does not use `KernelLayout`, so it can check it.
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

/// The same values in a tensor with another order in memory.
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

/// The options in the words of Burn's or PyTorch's layer.
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

/// Makes a test of each named check for every backend and dtype. A check is a function of the test
/// file that takes a device and a dtype.
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

        // Few GPUs compute in f64. `CUBECL_WGPU_DEFAULT_DEVICE=Cpu` selects a software device.
        #[cfg(feature = "wgpu")]
        mod wgpu {
            $crate::on_every_backend!(
                @f32 burn::tensor::Device::wgpu(Default::default()),
                $($check),+
            );
        }
    };
    (@dtypes $device:expr, $($check:ident),+) => {
        $crate::on_every_backend!(@f32 $device, $($check),+);

        mod f64 {
            $(#[test] fn $check() { super::super::$check($device, burn::tensor::DType::F64); })+
        }
    };
    (@f32 $device:expr, $($check:ident),+) => {
        mod f32 {
            $(#[test] fn $check() { super::super::$check($device, burn::tensor::DType::F32); })+
        }
    };
}
