//! [`deconv2d`]: the transposed convolution as a function. It checks the tensors, then takes the
//! three steps of [`explicit`], or computes the same output without the zeros.

use burn::tensor::Tensor;

use crate::error::or_panic;
use crate::{Algorithm, Deconv2dError, Deconv2dOptions, Geometry, explicit, fallback};

/// Applies a 2D transposed convolution: zero-fills the input, correlates it with each kernel, crops
/// the result and adds the bias.
///
/// # Shapes
///
/// - input: `[n, c_in, h, w]`
/// - weight: `[c_out, c_in / groups, k_h, k_w]`, in the layout
///   [`Article`](crate::KernelLayout::Article)
/// - bias: `[c_out]`
/// - output: `[n, c_out, O_h, O_w]`, with the sizes of [`Padding`](crate::Padding)
///
/// An empty batch, `n = 0`, gives an empty output. The output has the input's data type.
///
/// # Panics
///
/// With the message of the [`Deconv2dError`] that [`try_deconv2d`] returns.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::{Deconv2dOptions, deconv2d};
///
/// let device = Device::default();
/// let input = Tensor::<4>::from_data([[[[1., 2.]]]], &device);
/// let weight = Tensor::<4>::from_data([[[[1., 10., 100.]]]], &device);
/// let options = Deconv2dOptions::new().with_stride([1, 2]);
/// let output = deconv2d(input, weight, None, options);
/// // Zero-filled: 0 0 1 0 2 0 0. Correlated: 100 10 1+200 20 2. The last column is cropped:
/// assert_eq!(output.into_data().as_slice::<f32>().unwrap(), [100., 10., 201., 20.]);
/// ```
#[track_caller]
pub fn deconv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Deconv2dOptions,
) -> Tensor<4> {
    or_panic("deconv2d", try_deconv2d(input, weight, bias, options))
}

/// Does what [`deconv2d`] does, and returns an error where that panics.
///
/// # Errors
///
/// All errors of [`Geometry::new`]; a bias whose length is not `c_out`; quantized tensors; tensors
/// of different data types, on different devices, or with different gradient checkpointing
/// strategies.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::{Deconv2dOptions, try_deconv2d};
///
/// let device = Device::default();
/// let input = Tensor::<4>::zeros([1, 3, 5, 5], &device);
/// let weight = Tensor::<4>::zeros([2, 4, 3, 3], &device);
/// let error = try_deconv2d(input, weight, None, Deconv2dOptions::new()).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the input has 3 channels, but the weight [2, 4, 3, 3] ([out, in / groups, k_h, k_w], \
///      groups = 1) takes 4"
/// );
/// ```
pub fn try_deconv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Deconv2dOptions,
) -> Result<Tensor<4>, Deconv2dError> {
    let geometry = Geometry::new(input.dims(), weight.dims(), &options)?;
    check_kind("input", &input, &input)?;
    check_kind("weight", &weight, &input)?;
    if let Some(bias) = &bias {
        check_kind("bias", bias, &input)?;
        let (got, expected) = (bias.dims()[0], geometry.channels()[1]);
        if got != expected {
            return Err(Deconv2dError::BiasLength { got, expected });
        }
    }
    check_checkpointing(&input, &weight, bias.as_ref())?;

    if geometry.batch() == 0 {
        return Ok(explicit::add_bias(empty(input, weight, &geometry), bias));
    }
    Ok(match options.algorithm {
        Algorithm::Explicit => {
            let filled = explicit::zero_fill(input, &geometry);
            let full = explicit::correlate(filled, weight, &geometry);
            let output = explicit::crop(full, &geometry);
            explicit::add_bias(output, bias)
        }
        // The same output, without multiplying by the inserted zeros.
        Algorithm::SkipZeros => without_zeros(input, weight, bias, &geometry),
    })
}

/// Computes the output with our kernels on the backends that have them, and with Burn's on all
/// others.
fn without_zeros(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    geometry: &Geometry,
) -> Tensor<4> {
    #[cfg(any(feature = "kernel", feature = "cube"))]
    if crate::op::exists_for(&input) {
        return crate::op::deconv2d(input, weight, bias, geometry);
    }
    fallback::deconv2d(input, weight, bias, geometry)
}

/// The output of an empty batch. It depends on input and weight, so both receive a gradient of
/// zeros.
fn empty(input: Tensor<4>, weight: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    let shape = geometry.output_shape();
    let zeros = Tensor::zeros(shape, (&input.device(), input.dtype()));
    zeros + (input.sum() + weight.sum()).reshape([1, 1, 1, 1])
}

/// Checks that a tensor has a float type, which is the input's, and lies on the input's device.
fn check_kind<const D: usize>(
    parameter: &'static str,
    tensor: &Tensor<D>,
    input: &Tensor<4>,
) -> Result<(), Deconv2dError> {
    let (got, expected) = (tensor.dtype(), input.dtype());
    if !got.is_float() {
        return Err(Deconv2dError::Quantized {
            parameter,
            dtype: got,
        });
    }
    if got != expected {
        return Err(Deconv2dError::DTypeMismatch {
            parameter,
            got,
            expected,
        });
    }
    let (got, expected) = (tensor.device(), input.device());
    if got != expected {
        return Err(Deconv2dError::DeviceMismatch {
            parameter,
            got: format!("{got:?}"),
            expected: format!("{expected:?}"),
        });
    }
    Ok(())
}

/// Checks that Burn can differentiate all tensors together.
fn check_checkpointing(
    input: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
) -> Result<(), Deconv2dError> {
    let mut devices = vec![("input", input.device()), ("weight", weight.device())];
    devices.extend(bias.map(|bias| ("bias", bias.device())));
    let differentiated = devices.iter().filter_map(|(name, device)| {
        let strategy = device.gradient_checkpointing_strategy()?;
        Some((*name, strategy))
    });
    let mut first = None;
    for (name, strategy) in differentiated {
        let (first_name, first_strategy) = *first.get_or_insert((name, strategy));
        if strategy != first_strategy {
            return Err(Deconv2dError::CheckpointingMismatch {
                parameters: [first_name, name],
                strategies: [first_strategy, strategy],
            });
        }
    }
    Ok(())
}
