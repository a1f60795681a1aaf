//! The kernels, applied to tensors of Flex and NdArray.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, Element as BurnElement, TensorData};
use deconv_kernel::{self as kernel, Arch};

use super::Passes;
use crate::Geometry;

/// Evaluates an expression with `$float` as the type of a tensor's values. `op::deconv2d` passes
/// only f32 and f64.
macro_rules! with_float {
    ($tensor:expr, $float:ident => $body:expr) => {
        match $tensor.dtype() {
            DType::F64 => {
                type $float = f64;
                $body
            }
            _ => {
                type $float = f32;
                $body
            }
        }
    };
}

/// A backend whose memory the kernels can read.
trait Cpu: Values<f32> + Values<f64> {
    /// The tensor, copied if its values do not lie in memory in the order of its shape.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;

    /// A result as Burn's data.
    fn data<T: Element, const D: usize>(values: Vec<T>, shape: [usize; D]) -> TensorData;
}

fn forward<B: Cpu>(
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    geometry: Geometry,
) -> FloatTensor<B> {
    let (weight, bias) = (B::contiguous(weight), bias.map(B::contiguous));
    with_float!(input, T => {
        let (x, w): (&[T], &[T]) = (B::values(&input), B::values(&weight));
        let bias = bias.as_ref().map(|bias| -> &[T] { B::values(bias) });
        let output = kernel::forward(Arch::new(), &geometry.problem(), x, w, bias);
        tensor_like::<B, T, 4>(&input, output, geometry.output_shape())
    })
}

fn grad_input<B: Cpu>(
    weight: FloatTensor<B>,
    grad_output: FloatTensor<B>,
    geometry: Geometry,
) -> FloatTensor<B> {
    let weight = B::contiguous(weight);
    with_float!(weight, T => {
        let (w, dy): (&[T], &[T]) = (B::values(&weight), B::values(&grad_output));
        let grad = kernel::grad_input(Arch::new(), &geometry.problem(), w, dy);
        tensor_like::<B, T, 4>(&weight, grad, geometry.input_shape())
    })
}

fn grad_weight<B: Cpu>(
    input: FloatTensor<B>,
    grad_output: FloatTensor<B>,
    geometry: Geometry,
) -> FloatTensor<B> {
    with_float!(input, T => {
        let (x, dy): (&[T], &[T]) = (B::values(&input), B::values(&grad_output));
        let grad = kernel::grad_weight(Arch::new(), &geometry.problem(), x, dy);
        tensor_like::<B, T, 4>(&input, grad, geometry.weight_shape())
    })
}

fn grad_bias<B: Cpu>(grad_output: FloatTensor<B>, geometry: Geometry) -> FloatTensor<B> {
    let [_, c_out] = geometry.channels();
    with_float!(grad_output, T => {
        let dy: &[T] = B::values(&grad_output);
        let grad = kernel::grad_bias(&geometry.problem(), dy);
        tensor_like::<B, T, 1>(&grad_output, grad, [c_out])
    })
}

/// How the kernels read a tensor.
trait Values<T>: Backend {
    /// The values of a tensor of this type that lies in order.
    fn values(tensor: &FloatTensor<Self>) -> &[T];
}

/// A number of Burn and of the kernels.
trait Element: BurnElement + kernel::Element {}
impl Element for f32 {}
impl Element for f64 {}

/// A tensor on the device of `tensor`.
fn tensor_like<B: Cpu, T: Element, const D: usize>(
    tensor: &FloatTensor<B>,
    values: Vec<T>,
    shape: [usize; D],
) -> FloatTensor<B> {
    B::float_from_data(B::data(values, shape), &tensor.device())
}

#[cfg(feature = "flex")]
mod flex {
    use burn::backend::Flex;

    use super::super::recycled;
    use super::*;

    impl Cpu for Flex {
        fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
            tensor.to_contiguous()
        }

        fn data<T: Element, const D: usize>(values: Vec<T>, shape: [usize; D]) -> TensorData {
            TensorData::from_bytes(recycled::bytes(values), shape, T::dtype())
        }
    }

    impl Values<f32> for Flex {
        fn values(tensor: &FloatTensor<Self>) -> &[f32] {
            tensor.as_slice().expect("a tensor of f32, in order")
        }
    }

    impl Values<f64> for Flex {
        fn values(tensor: &FloatTensor<Self>) -> &[f64] {
            tensor.as_slice().expect("a tensor of f64, in order")
        }
    }
}

/// Burn removes NdArray in version 0.23. Only this module depends on it.
#[cfg(feature = "ndarray")]
mod ndarray {
    use burn::backend::NdArray;
    use burn::backend::ndarray::NdArrayTensor;
    use burn::backend::ops::FloatTensorOps;

    use super::*;

    macro_rules! values {
        ($float:ty, $variant:ident) => {
            impl Values<$float> for NdArray {
                fn values(tensor: &FloatTensor<Self>) -> &[$float] {
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
        fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
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

        // NdArray takes a vector's memory as it is.
        fn data<T: Element, const D: usize>(values: Vec<T>, shape: [usize; D]) -> TensorData {
            TensorData::new(values, shape)
        }
    }
}

macro_rules! passes {
    ($feature:literal, $backend:ident) => {
        #[cfg(feature = $feature)]
        impl Passes for burn::backend::$backend {
            fn in_order(map: FloatTensor<Self>) -> FloatTensor<Self> {
                Self::contiguous(map)
            }

            fn forward(
                input: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                forward::<Self>(input, weight, None, geometry)
            }

            fn forward_bias(
                input: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                forward::<Self>(input, weight, Some(bias), geometry)
            }

            fn grad_input(
                weight: FloatTensor<Self>,
                grad_output: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                grad_input::<Self>(weight, grad_output, geometry)
            }

            fn grad_weight(
                input: FloatTensor<Self>,
                grad_output: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                grad_weight::<Self>(input, grad_output, geometry)
            }

            fn grad_bias(grad_output: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
                grad_bias::<Self>(grad_output, geometry)
            }
        }
    };
}
passes!("flex", Flex);
passes!("ndarray", NdArray);
