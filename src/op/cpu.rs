//! The kernels over the tensors of Flex and NdArray.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, Element, TensorData};

use super::Deconv2dOps;
use crate::Geometry;
use deconv_kernel::{self as kernel, Arch};

/// A backend whose memory the kernels can read. The tensors that its functions take lie in the
/// order of their shapes, as [`in_order`](Self::in_order) gives them.
pub(super) trait Cpu: Backend + CpuValues<f32> + CpuValues<f64> {
    /// The tensor, copied if its values do not lie in memory in the order of its shape.
    fn in_order(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    fn forward(
        input: &FloatTensor<Self>,
        weight: &FloatTensor<Self>,
        bias: Option<&FloatTensor<Self>>,
        geometry: &Geometry,
    ) -> FloatTensor<Self> {
        fn run<B: CpuValues<T>, T: kernel::Element + Element>(
            [input, weight]: [&FloatTensor<B>; 2],
            bias: Option<&FloatTensor<B>>,
            geometry: &Geometry,
        ) -> FloatTensor<B> {
            let bias = bias.map(B::values);
            let (input_values, weight) = (B::values(input), B::values(weight));
            let output =
                kernel::forward(Arch::new(), &geometry.problem(), input_values, weight, bias);
            tensor_like::<B, T, 4>(input, output, geometry.output_shape())
        }
        match input.dtype() {
            DType::F64 => run::<Self, f64>([input, weight], bias, geometry),
            _ => run::<Self, f32>([input, weight], bias, geometry),
        }
    }

    fn grad_input(
        weight: &FloatTensor<Self>,
        grad_output: &FloatTensor<Self>,
        geometry: &Geometry,
    ) -> FloatTensor<Self> {
        fn run<B: CpuValues<T>, T: kernel::Element + Element>(
            [weight, grad_output]: [&FloatTensor<B>; 2],
            geometry: &Geometry,
        ) -> FloatTensor<B> {
            let (weight_values, grad_output) = (B::values(weight), B::values(grad_output));
            let grad =
                kernel::grad_input(Arch::new(), &geometry.problem(), weight_values, grad_output);
            tensor_like::<B, T, 4>(weight, grad, geometry.input_shape())
        }
        match weight.dtype() {
            DType::F64 => run::<Self, f64>([weight, grad_output], geometry),
            _ => run::<Self, f32>([weight, grad_output], geometry),
        }
    }

    fn grad_weight(
        input: &FloatTensor<Self>,
        grad_output: &FloatTensor<Self>,
        geometry: &Geometry,
    ) -> FloatTensor<Self> {
        fn run<B: CpuValues<T>, T: kernel::Element + Element>(
            [input, grad_output]: [&FloatTensor<B>; 2],
            geometry: &Geometry,
        ) -> FloatTensor<B> {
            let (input_values, grad_output) = (B::values(input), B::values(grad_output));
            let grad =
                kernel::grad_weight(Arch::new(), &geometry.problem(), input_values, grad_output);
            tensor_like::<B, T, 4>(input, grad, geometry.weight_shape())
        }
        match input.dtype() {
            DType::F64 => run::<Self, f64>([input, grad_output], geometry),
            _ => run::<Self, f32>([input, grad_output], geometry),
        }
    }

    fn grad_bias(grad_output: &FloatTensor<Self>, geometry: &Geometry) -> FloatTensor<Self> {
        fn run<B: CpuValues<T>, T: kernel::Element + Element>(
            grad_output: &FloatTensor<B>,
            geometry: &Geometry,
        ) -> FloatTensor<B> {
            let grad = kernel::grad_bias(&geometry.problem(), B::values(grad_output));
            tensor_like::<B, T, 1>(grad_output, grad, [geometry.channels()[1]])
        }
        match grad_output.dtype() {
            DType::F64 => run::<Self, f64>(grad_output, geometry),
            _ => run::<Self, f32>(grad_output, geometry),
        }
    }
}

/// How a backend gives its values.
pub(super) trait CpuValues<T>: Backend {
    /// The values of a tensor that lies in order.
    fn values(tensor: &FloatTensor<Self>) -> &[T];
}

/// A tensor of the same backend.
fn tensor_like<B: Backend, T: Element, const D: usize>(
    tensor: &FloatTensor<B>,
    values: Vec<T>,
    shape: [usize; D],
) -> FloatTensor<B> {
    B::float_from_data(TensorData::new(values, shape), &tensor.device())
}

#[cfg(feature = "flex")]
mod flex {
    use burn::backend::Flex;

    use super::*;

    macro_rules! values {
        ($type:ty) => {
            impl CpuValues<$type> for Flex {
                fn values(tensor: &FloatTensor<Self>) -> &[$type] {
                    tensor.as_slice().expect("a tensor of the type, in order")
                }
            }
        };
    }
    values!(f32);
    values!(f64);

    impl Cpu for Flex {
        fn in_order(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
            tensor.to_contiguous()
        }
    }
}

/// Burn ends its support of NdArray with version 0.23; all that is its own is here.
#[cfg(feature = "ndarray")]
mod ndarray {
    use burn::backend::NdArray;
    use burn::backend::ndarray::NdArrayTensor;
    use burn::backend::ops::FloatTensorOps;

    use super::*;

    macro_rules! values {
        ($type:ty, $variant:ident) => {
            impl CpuValues<$type> for NdArray {
                fn values(tensor: &FloatTensor<Self>) -> &[$type] {
                    let NdArrayTensor::$variant(values) = tensor else {
                        panic!("a tensor of {:?}", tensor.dtype())
                    };
                    values.view().to_slice().expect("a tensor in order")
                }
            }
        };
    }
    values!(f32, F32);
    values!(f64, F64);

    impl Cpu for NdArray {
        fn in_order(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
            let data = match &tensor {
                NdArrayTensor::F32(values) if !values.view().is_standard_layout() => {
                    let values: Vec<f32> = values.view().iter().copied().collect();
                    TensorData::new(values, tensor.shape())
                }
                NdArrayTensor::F64(values) if !values.view().is_standard_layout() => {
                    let values: Vec<f64> = values.view().iter().copied().collect();
                    TensorData::new(values, tensor.shape())
                }
                _ => return tensor,
            };
            Self::float_from_data(data, &tensor.device())
        }
    }
}

macro_rules! operation {
    ($feature:literal, $backend:ident) => {
        #[cfg(feature = $feature)]
        impl Deconv2dOps for burn::backend::$backend {
            fn deconv2d(
                input: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                let [input, weight] = [input, weight].map(Self::in_order);
                Self::forward(&input, &weight, None, &geometry)
            }

            fn deconv2d_bias(
                input: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                let [input, weight, bias] = [input, weight, bias].map(Self::in_order);
                Self::forward(&input, &weight, Some(&bias), &geometry)
            }
        }
    };
}
operation!("flex", Flex);
operation!("ndarray", NdArray);
