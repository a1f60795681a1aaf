//! The kernels over the tensors of Flex and NdArray.

use std::borrow::Cow;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, Element, TensorData};
use pulp::Arch;

use super::Deconv2dOps;
use crate::{Geometry, kernel};

/// A backend whose memory the kernels can read.
pub(super) trait Cpu: Backend + CpuValues<f32> + CpuValues<f64> {
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
            let output = kernel::forward(
                Arch::new(),
                geometry,
                &input_values,
                &weight,
                bias.as_deref(),
            );
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
            let grad = kernel::grad_input(Arch::new(), geometry, &weight_values, &grad_output);
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
            let grad = kernel::grad_weight(Arch::new(), geometry, &input_values, &grad_output);
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
            let grad = kernel::grad_bias(geometry, &B::values(grad_output));
            tensor_like::<B, T, 1>(grad_output, grad, [geometry.channels()[1]])
        }
        match grad_output.dtype() {
            DType::F64 => run::<Self, f64>(grad_output, geometry),
            _ => run::<Self, f32>(grad_output, geometry),
        }
    }
}

/// How a backend gives its values.
pub(super) trait CpuValues<T: Clone>: Backend {
    /// A tensor's values in the order of its shape; a copy where they do not lie in memory so.
    fn values(tensor: &FloatTensor<Self>) -> Cow<'_, [T]>;
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
                fn values(tensor: &FloatTensor<Self>) -> Cow<'_, [$type]> {
                    match tensor.as_slice::<$type>() {
                        Some(values) => Cow::Borrowed(values),
                        None => {
                            let tensor = tensor.to_contiguous();
                            let values = tensor.as_slice::<$type>();
                            Cow::Owned(values.expect("a contiguous tensor of the type").to_vec())
                        }
                    }
                }
            }
        };
    }
    values!(f32);
    values!(f64);

    impl Cpu for Flex {}
}

/// Burn ends its support of NdArray with version 0.23; all that is its own is here.
#[cfg(feature = "ndarray")]
mod ndarray {
    use burn::backend::NdArray;
    use burn::backend::ndarray::NdArrayTensor;

    use super::*;

    macro_rules! values {
        ($type:ty, $variant:ident) => {
            impl CpuValues<$type> for NdArray {
                fn values(tensor: &FloatTensor<Self>) -> Cow<'_, [$type]> {
                    let NdArrayTensor::$variant(values) = tensor else {
                        panic!("a tensor of {:?}", tensor.dtype())
                    };
                    let values = values.view();
                    match values.to_slice() {
                        Some(values) => Cow::Borrowed(values),
                        None => Cow::Owned(values.iter().copied().collect()),
                    }
                }
            }
        };
    }
    values!(f32, F32);
    values!(f64, F64);

    impl Cpu for NdArray {}
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
                Self::forward(&input, &weight, None, &geometry)
            }

            fn deconv2d_bias(
                input: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                Self::forward(&input, &weight, Some(&bias), &geometry)
            }
        }
    };
}
operation!("flex", Flex);
operation!("ndarray", NdArray);
