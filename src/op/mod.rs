//! The transposed convolution as one differentiable operation of Burn, on the CPU backends whose
//! memory the native kernels can read.
//!
//! | file | what it has |
//! |---|---|
//! | `cpu.rs` | the kernels, applied to tensors of Flex and NdArray |
//! | `backward.rs` | the operation as a step of Burn's autodiff graph |

#![allow(deprecated)] // by Burn: NdArray

mod backward;
mod cpu;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{DType, FloatDType, Tensor};

use crate::Geometry;

/// The operation, as Burn dispatches it to the tensors' backend.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
trait Deconv2dOps: Backend {
    fn deconv2d(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    fn deconv2d_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;
}

/// Whether the tensor's backend has the operation.
pub(crate) fn exists_for(tensor: &Tensor<4>) -> bool {
    fn is_cpu(device: &DispatchDevice) -> bool {
        match device {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => true,
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => true,
            DispatchDevice::Autodiff(device) => is_cpu(device),
            #[allow(unreachable_patterns)] // if no other backend is compiled
            _ => false,
        }
    }
    is_cpu(tensor.device().as_dispatch())
}

/// The output, `[n, c_out, O_h, O_w]`. Half-precision tensors are computed in f32, and the output
/// is rounded once.
pub(crate) fn deconv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    geometry: &Geometry,
) -> Tensor<4> {
    let dtype = input.dtype();
    if !matches!(dtype, DType::F32 | DType::F64) {
        let [input, weight] = [input, weight].map(|tensor| tensor.cast(FloatDType::F32));
        let bias = bias.map(|bias| bias.cast(FloatDType::F32));
        return deconv2d(input, weight, bias, geometry).cast(dtype);
    }
    let (input, weight) = (input.into_dispatch(), weight.into_dispatch());
    let geometry = geometry.clone();
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::deconv2d_bias(input, weight, bias.into_dispatch(), geometry),
        None => Dispatch::deconv2d(input, weight, geometry),
    })
}
