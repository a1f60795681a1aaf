//! [`deconv2d`], the transposed convolution as a function: check, zero-fill, correlate, crop, add
//! the bias.

use burn::tensor::Tensor;

use crate::{Algorithm, Deconv2dError, Deconv2dOptions, Geometry, explicit, skip_zeros};

/// Applies a 2D transposed convolution with a weight in the article's layout: the input is
/// zero-filled, correlated with each kernel, and cropped.
///
/// # Shapes
///
/// - input: `[n, c_in, h, w]`
/// - weight: `[c_out, c_in / groups, k_h, k_w]`
/// - bias: `[c_out]`
/// - output: `[n, c_out, O_h, O_w]`, with the sizes of [`Padding`](crate::Padding)
///
/// An empty batch, `n = 0`, gives an empty output. The dtype of the output is that of the input.
///
/// # Panics
///
/// With the message of the [`Deconv2dError`] that [`try_deconv2d`] returns in its place.
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
/// // Zero-filled: 0 0 1 0 2 0 0. Correlated: 100 10 1+200 20 2. The last column cropped:
/// assert_eq!(output.into_data().as_slice::<f32>().unwrap(), [100., 10., 201., 20.]);
/// ```
#[track_caller]
pub fn deconv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: Deconv2dOptions,
) -> Tensor<4> {
    try_deconv2d(input, weight, bias, options).unwrap_or_else(|error| panic!("deconv2d: {error}"))
}

/// As [`deconv2d`], with an error in place of a panic.
///
/// # Errors
///
/// All of [`Geometry::new`]'s; and a bias of another length than `c_out`, tensors of different
/// data types, on different devices, or under different gradient checkpointing strategies.
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
    check_kind("weight", &weight, &input)?;
    if let Some(bias) = &bias {
        check_kind("bias", bias, &input)?;
        let (got, expected) = (bias.dims()[0], geometry.channels()[1]);
        if got != expected {
            return Err(Deconv2dError::BiasLength { got, expected });
        }
    }

    check_checkpointing(&input, &weight, bias.as_ref())?;

    let geometry = &geometry;
    Ok(match options.algorithm {
        _ if geometry.batch() == 0 => explicit::add_bias(empty(input, weight, geometry), bias),
        Algorithm::Explicit => {
            let filled = explicit::zero_fill(input, geometry);
            let full = explicit::correlate(filled, weight, geometry);
            let output = explicit::crop(full, geometry);
            explicit::add_bias(output, bias)
        }
        Algorithm::SkipZeros => {
            let filled = skip_zeros::zero_fill(input, geometry);
            let full = filled.correlate(weight);
            let output = full.crop();
            output.compute(bias)
        }
    })
}

/// The output of an empty batch. It hangs on input and weight, so that they get a gradient: zero.
fn empty(input: Tensor<4>, weight: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    let shape = geometry.output_shape();
    let zeros = Tensor::zeros(shape, (&input.device(), input.dtype()));
    zeros + (input.sum() + weight.sum()).reshape([1, 1, 1, 1])
}

/// Checks that a parameter has the input's data type and lies on its device.
fn check_kind<const D: usize>(
    parameter: &'static str,
    tensor: &Tensor<D>,
    input: &Tensor<4>,
) -> Result<(), Deconv2dError> {
    let (got, expected) = (tensor.dtype(), input.dtype());
    if got != expected {
        return Err(Deconv2dError::DTypeMismatch {
            parameter,
            got,
            expected,
        });
    }
    let (got, expected) = (tensor.device(), input.device());
    if got != expected {
        let [got, expected] = [got, expected].map(|device| format!("{device:?}"));
        return Err(Deconv2dError::DeviceMismatch {
            parameter,
            got,
            expected,
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
    let strategies = [
        ("input", input.device().gradient_checkpointing_strategy()),
        ("weight", weight.device().gradient_checkpointing_strategy()),
        (
            "bias",
            bias.and_then(|bias| bias.device().gradient_checkpointing_strategy()),
        ),
    ];
    let mut differentiated = strategies
        .into_iter()
        .filter_map(|(name, strategy)| Some((name, strategy?)));
    let Some(first) = differentiated.next() else {
        return Ok(());
    };
    match differentiated.find(|(_, strategy)| *strategy != first.1) {
        Some(second) => Err(Deconv2dError::CheckpointingMismatch { first, second }),
        None => Ok(()),
    }
}
