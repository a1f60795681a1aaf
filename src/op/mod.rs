//! The transposed convolution as one differentiable operation of Burn, on the backends that have
//! kernels for it.
//!
//! | file | what it has |
//! |---|---|
//! | `backward.rs` | the operation as a step of Burn's autodiff graph |
//! | `cpu.rs` | its passes on Flex and NdArray: the native kernels |
//! | `recycled.rs` | memory of large results on Flex, kept for later ones |
//! | `cube.rs` | its passes on CubeCL's backends (wgpu, CUDA and others): kernels in CubeCL |

#![allow(deprecated)] // by Burn: NdArray

mod backward;
#[cfg(feature = "kernel")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod recycled;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
#[cfg(feature = "fusion")]
use burn::tensor::Shape;
use burn::tensor::{DType, FloatDType, Tensor};

use crate::Geometry;

/// The operation, as Burn dispatches it to the tensors' backend.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
#[diagnostic::on_unimplemented(
    message = "burn's feature `fusion` is on, but burn-deconv's is off",
    note = "add `fusion` to the features of burn-deconv"
)]
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

/// What a backend computes: the output and the three gradients. None of them is tracked by
/// autodiff; `backward.rs` does that.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(all(feature = "cube", feature = "fusion"))
)]
#[diagnostic::on_unimplemented(
    message = "burn's feature `fusion` is on, but burn-deconv's is off",
    note = "add `fusion` to the features of burn-deconv"
)]
trait Passes: Backend {
    /// A map, `[n, c, h, w]`, in the order in memory in which the passes read it. Every map that is
    /// given to a pass was returned by this function.
    #[fusion(dtype = map, shape = map)]
    fn in_order(map: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = input, shape = output_shape(geometry))]
    fn forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = input, shape = output_shape(geometry))]
    fn forward_bias(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = grad_output, shape = input_shape(geometry))]
    fn grad_input(
        weight: FloatTensor<Self>,
        grad_output: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = grad_output, shape = weight_shape(geometry))]
    fn grad_weight(
        input: FloatTensor<Self>,
        grad_output: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = grad_output, shape = bias_shape(geometry))]
    fn grad_bias(grad_output: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn output_shape(geometry: &Geometry) -> Shape {
    geometry.output_shape().into()
}

#[cfg(feature = "fusion")]
fn input_shape(geometry: &Geometry) -> Shape {
    geometry.input_shape().into()
}

#[cfg(feature = "fusion")]
fn weight_shape(geometry: &Geometry) -> Shape {
    geometry.weight_shape().into()
}

#[cfg(feature = "fusion")]
fn bias_shape(geometry: &Geometry) -> Shape {
    [geometry.channels()[1]].into()
}

/// Implements the operation for a backend by its passes. (One implementation for all backends with
/// passes would overlap with that for `Autodiff`.)
macro_rules! operation {
    ($feature:literal, $backend:ty) => {
        #[cfg(feature = $feature)]
        impl Deconv2dOps for $backend {
            fn deconv2d(
                input: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                Self::forward(Self::in_order(input), weight, geometry)
            }

            fn deconv2d_bias(
                input: FloatTensor<Self>,
                weight: FloatTensor<Self>,
                bias: FloatTensor<Self>,
                geometry: Geometry,
            ) -> FloatTensor<Self> {
                Self::forward_bias(Self::in_order(input), weight, bias, geometry)
            }
        }
    };
}
operation!("flex", burn::backend::Flex);
operation!("ndarray", burn::backend::NdArray);
#[cfg(not(feature = "fusion"))]
operation!("cube", burn_cubecl::CubeBackend);
#[cfg(feature = "fusion")]
operation!(
    "cube",
    burn::backend::fusion::Fusion<burn_cubecl::CubeBackend>
);

/// The backends that have the operation.
#[derive(Clone, Copy)]
enum Kernels {
    #[cfg(feature = "kernel")]
    Native,
    #[cfg(feature = "cube")]
    Cube,
}

impl Kernels {
    /// CubeCL's kernels read half precision. The native kernels do not.
    fn read(self, dtype: DType) -> bool {
        match self {
            #[cfg(feature = "kernel")]
            Self::Native => matches!(dtype, DType::F32 | DType::F64),
            #[cfg(feature = "cube")]
            Self::Cube => dtype.is_float(),
        }
    }
}

/// The kernels for a device, if there are any.
fn kernels_for(device: &DispatchDevice) -> Option<Kernels> {
    match device {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => Some(Kernels::Native),
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => Some(Kernels::Native),
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(_) => Some(Kernels::Cube),
        DispatchDevice::Autodiff(device) => kernels_for(device),
        #[allow(unreachable_patterns)] // if no other backend is compiled
        _ => None,
    }
}

/// Whether the tensor's backend has the operation.
pub(crate) fn exists_for(tensor: &Tensor<4>) -> bool {
    kernels_for(tensor.device().as_dispatch()).is_some()
}

/// The output, `[n, c_out, O_h, O_w]`. Sums of half-precision tensors are computed in f32, and each
/// is rounded once.
pub(crate) fn deconv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    geometry: &Geometry,
) -> Tensor<4> {
    let dtype = input.dtype();
    let kernels = kernels_for(input.device().as_dispatch());
    if kernels.is_some_and(|kernels| !kernels.read(dtype)) {
        let [input, weight] = [input, weight].map(|tensor| tensor.cast(FloatDType::F32));
        let bias = bias.map(|bias| bias.cast(FloatDType::F32));
        return deconv2d(input, weight, bias, geometry).cast(dtype);
    }
    let (input, weight) = (input.into_dispatch(), weight.into_dispatch());
    let geometry = geometry.clone();
    Tensor::from_dispatch(match bias {
        Some(bias) => {
            <Dispatch as Deconv2dOps>::deconv2d_bias(input, weight, bias.into_dispatch(), geometry)
        }
        None => <Dispatch as Deconv2dOps>::deconv2d(input, weight, geometry),
    })
}
