//! [`Deconv2dError`]: everything that can be wrong with a transposed convolution. Each variant has
//! the value, what is legal, and the axis.

use core::fmt;
use core::ops::RangeInclusive;

use burn::nn::Initializer;
use burn::tensor::{DType, GradientCheckpointingStrategy};
use thiserror::Error;

use crate::{Fan, Padding};

/// One of the two spatial axes of an `[n, c, h, w]` tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The rows, `h`.
    Height,
    /// The columns, `w`.
    Width,
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Axis::Height => "height",
            Axis::Width => "width",
        })
    }
}

/// Why a transposed convolution cannot be initialized, applied or converted.
///
/// Every function of this crate that can fail returns it. Like the layers of `burn::nn`, `init`,
/// `forward`, `forward_to` and [`deconv2d`](crate::deconv2d) panic with its message instead.
///
/// # Example
///
/// ```
/// use burn_deconv::{Deconv2dLayerConfig, Padding};
///
/// let config = Deconv2dLayerConfig::new([4, 2], [3, 3])
///     .with_padding(Padding::Explicit(4, 0, 4, 0));
/// assert_eq!(
///     config.output_size([3, 3]).unwrap_err().to_string(),
///     "padding crops 4 + 4 from a full map of height 7: at most 6 at the beginning and 6 in all \
///      is legal, because one value must be left"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Deconv2dError {
    /// A kernel size, stride or dilation of zero.
    #[error("{parameter} must be at least 1, got 0 on the {axis} axis")]
    ZeroParameter {
        /// The parameter's name.
        parameter: &'static str,
        /// Where it is zero.
        axis: Axis,
    },
    /// No groups.
    #[error("groups must be at least 1, got 0")]
    ZeroGroups,
    /// A number of channels of zero.
    #[error(
        "channels must be at least 1 each, got {} in and {} out",
        .channels[0], .channels[1]
    )]
    ZeroChannels {
        /// `[in, out]`.
        channels: [usize; 2],
    },
    /// `groups` does not divide both channel counts.
    #[error(
        "both channel counts must be divisible by groups, got {} in, {} out and groups = {groups}",
        .channels[0], .channels[1]
    )]
    ChannelsNotDivisible {
        /// `[in, out]`.
        channels: [usize; 2],
        /// The number of groups.
        groups: usize,
    },
    /// A `padding_out` with a padding other than [`Padding::Explicit`].
    #[error(
        "only Padding::Explicit has a padding_out, got {padding_out:?} with Padding::{padding:?}: \
         leave padding_out at [0, 0] (to choose another output size, call forward_to)"
    )]
    PaddingOutNeedsExplicit {
        /// The `padding_out`, `[h, w]`.
        padding_out: [usize; 2],
        /// The padding.
        padding: Padding,
    },
    /// `padding_out` is not smaller than the larger of stride and dilation.
    #[error(
        "padding_out must be smaller than the stride or the dilation, got {padding_out} on the \
         {axis} axis, where stride = {stride} and dilation = {dilation}: 0 to {} is legal",
        .stride.max(.dilation) - 1
    )]
    PaddingOutTooLarge {
        /// Where.
        axis: Axis,
        /// The `padding_out` on that axis.
        padding_out: usize,
        /// The stride on that axis.
        stride: usize,
        /// The dilation on that axis.
        dilation: usize,
    },
    /// The initializer cannot fill a bias, which has one dimension.
    #[error(
        "Initializer::Orthogonal fills only matrices, but a bias has one dimension: use \
         with_bias(false) or another initializer"
    )]
    BiasInitializer,
    /// The kernel is too short for the triangle of a bilinear interpolation.
    #[error(
        "bilinear initialisation needs a kernel size of at least 2 * stride - 1, got {kernel} on the \
         {axis} axis, where stride = {stride}: {} or more is legal, 2 * stride - stride % 2 is usual",
        .stride.saturating_mul(2) - 1
    )]
    BilinearKernel {
        /// Where.
        axis: Axis,
        /// The kernel size on that axis.
        kernel: usize,
        /// The stride on that axis.
        stride: usize,
    },
    /// Bilinear interpolation maps each channel to itself, so it needs as many out as in.
    #[error(
        "bilinear initialisation needs as many channels out as in, got {} in and {} out",
        .channels[0], .channels[1]
    )]
    BilinearChannels {
        /// `[in, out]`.
        channels: [usize; 2],
    },
    /// The stride does not divide the kernel size, so the phases have unequal kernels.
    #[error(
        "ICNR initialisation needs a kernel size that is a multiple of the stride, got {kernel} on \
         the {axis} axis, where stride = {stride}"
    )]
    IcnrKernel {
        /// Where.
        axis: Axis,
        /// The kernel size on that axis.
        kernel: usize,
        /// The stride on that axis.
        stride: usize,
    },
    /// A dilation with an initialisation that needs neighbouring taps.
    #[error(
        "{initialisation} initialisation needs a dilation of 1, got {dilation} on the {axis} axis"
    )]
    InitialisationDilation {
        /// `"bilinear"` or `"ICNR"`.
        initialisation: &'static str,
        /// Where.
        axis: Axis,
        /// The dilation on that axis.
        dilation: usize,
    },
    /// Burn's `ConvTranspose2d` cannot crop as this layer does.
    #[error(
        "Burn's ConvTranspose2d cannot crop {begin} at the beginning and {end} at the end of the \
         {axis} axis: with {begin} at the beginning, {} to {begin} at the end is legal (a negative \
         crop appends zeros); call to_conv_transpose2d_and_crop and apply the crop to the output",
        least_end(*.begin, *.most)
    )]
    NotSymmetric {
        /// Where.
        axis: Axis,
        /// How many values the layer crops at the beginning.
        begin: usize,
        /// How many values it crops at the end. A negative crop appends zeros.
        end: isize,
        /// The larger of stride and dilation. Burn's `padding_out` must be smaller.
        most: usize,
    },
    /// Burn's `ConvTranspose2dConfig` would start with other values.
    #[error(
        "Burn's ConvTranspose2d cannot start with the values of {initializer:?} and Fan::{fan:?}: it \
         counts fan_in as Fan::Burn does, has no fan_out, and stores the weight as [in, out, ..]; \
         choose another initializer, or initialize the layer and call to_conv_transpose2d"
    )]
    BurnInitializer {
        /// The initializer.
        initializer: Initializer,
        /// How its fans are counted.
        fan: Fan,
    },
    /// More than one group in a layout that has no groups.
    #[error("the layout {layout} has no groups: groups must be 1, got {groups}")]
    LayoutGroups {
        /// The layout's name and axes.
        layout: &'static str,
        /// The number of groups.
        groups: usize,
    },
    /// A weight with an axis of zero.
    #[error(
        "a weight must have a length of at least 1 on each axis, got the shape {shape:?} of the \
         layout {layout}"
    )]
    EmptyWeight {
        /// The layout's name and axes.
        layout: &'static str,
        /// The weight's shape in that layout.
        shape: [usize; 4],
    },
    /// `groups` does not divide the channels of a weight.
    #[error(
        "groups must divide the number of {channels} channels of a weight, got {got} in the shape \
         {shape:?} of the layout {layout} and groups = {groups}"
    )]
    WeightNotDivisible {
        /// The layout's name and axes.
        layout: &'static str,
        /// `"in"` or `"out"`.
        channels: &'static str,
        /// The number of these channels.
        got: usize,
        /// The weight's shape in that layout.
        shape: [usize; 4],
        /// The number of groups.
        groups: usize,
    },
    /// A weight that does not have four axes.
    #[error("a weight must have 4 axes, got {} in the shape {shape:?}", .shape.len())]
    WeightRank {
        /// The weight's shape.
        shape: Vec<usize>,
    },
    /// The values of a weight do not have one size in bytes, for example because it is quantized.
    #[error(
        "every value of a weight must have the same number of bytes, got {bytes} bytes of {dtype:?} \
         in the shape {shape:?}: dequantize it first"
    )]
    WeightBytes {
        /// The weight's shape.
        shape: [usize; 4],
        /// Its data type.
        dtype: DType,
        /// The number of bytes.
        bytes: usize,
    },
    /// The input's number of channels is not the one that the weight takes.
    #[error(
        "the input has {got} channels, but the weight {weight:?} ([out, in / groups, k_h, k_w], \
         groups = {groups}) takes {}",
        .weight[1].saturating_mul(*.groups)
    )]
    InputChannels {
        /// The input's channels.
        got: usize,
        /// The weight's shape, `[out, in / groups, k_h, k_w]`.
        weight: [usize; 4],
        /// The number of groups.
        groups: usize,
    },
    /// The bias's length is not the number of output channels.
    #[error("the bias must have one value for each of the {expected} output channels, got {got}")]
    BiasLength {
        /// The bias's length.
        got: usize,
        /// The output channels.
        expected: usize,
    },
    /// The input map has no rows or no columns.
    #[error(
        "the input map must have at least one row and one column, got {axis} 0 in {input:?} ([n, \
         c, h, w]; an empty batch, n = 0, is legal)"
    )]
    EmptyMap {
        /// Where.
        axis: Axis,
        /// The input's shape, `[n, c, h, w]`.
        input: [usize; 4],
    },
    /// The crop leaves nothing of the full map.
    #[error(
        "padding crops {begin} + {end} from a full map of {axis} {full}: at most {} at the \
         beginning and {legal} in all is legal, because one value must be left",
        .full - 1
    )]
    CropTooLarge {
        /// Where.
        axis: Axis,
        /// The full map's length.
        full: usize,
        /// What the padding crops at the beginning.
        begin: usize,
        /// What it crops at the end.
        end: usize,
        /// The largest legal sum of the two.
        legal: usize,
    },
    /// The requested output size is not legal.
    #[error(
        "requested an output {axis} of {requested}, but legal sizes range from {} to {} for an \
         input {axis} of {input}",
        .legal.start(), .legal.end()
    )]
    OutputSize {
        /// Where.
        axis: Axis,
        /// The requested output length.
        requested: usize,
        /// The legal output lengths.
        legal: RangeInclusive<usize>,
        /// The input's length.
        input: usize,
    },
    /// A length on one axis does not fit a `usize`.
    #[error(
        "the {axis} of the full map does not fit a usize: an input {axis} of {input} with this \
         kernel size, stride, dilation and padding is too large"
    )]
    AxisOverflow {
        /// Where.
        axis: Axis,
        /// The input's length.
        input: usize,
    },
    /// A tensor would have more elements than memory can address.
    #[error("the {tensor} would have the shape {shape:?}, more elements than memory can address")]
    TensorOverflow {
        /// Which tensor.
        tensor: &'static str,
        /// Its shape.
        shape: [usize; 4],
    },
    /// A quantized tensor.
    #[error("the {parameter} must have a float type, got {dtype:?}: dequantize it first")]
    Quantized {
        /// `"input"`, `"weight"` or `"bias"`.
        parameter: &'static str,
        /// Its data type.
        dtype: DType,
    },
    /// Weight or bias does not have the input's data type.
    #[error(
        "input and {parameter} must have the same data type, got an input of {expected:?} and a \
         {parameter} of {got:?}: cast one of them"
    )]
    DTypeMismatch {
        /// `"weight"` or `"bias"`.
        parameter: &'static str,
        /// Its data type.
        got: DType,
        /// The input's data type.
        expected: DType,
    },
    /// Weight or bias is not on the input's device.
    #[error(
        "input and {parameter} must be on the same device, got the input on {expected} and the \
         {parameter} on {got}: move one of them"
    )]
    DeviceMismatch {
        /// `"weight"` or `"bias"`.
        parameter: &'static str,
        /// Its device.
        got: String,
        /// The input's device.
        expected: String,
    },
    /// Two of the tensors have different gradient checkpointing strategies.
    #[error(
        "{} and {} must have the same gradient checkpointing strategy, got {:?} and {:?}: create \
         both on the same autodiff device",
        .parameters[0], .parameters[1], .strategies[0], .strategies[1]
    )]
    CheckpointingMismatch {
        /// Two of `"input"`, `"weight"` and `"bias"`.
        parameters: [&'static str; 2],
        /// The strategy of each.
        strategies: [GradientCheckpointingStrategy; 2],
    },
}

/// The smallest crop at the end that Burn's `ConvTranspose2d` has with `begin` at the beginning. A
/// stride may be as large as a `usize`.
fn least_end(begin: usize, most: usize) -> i128 {
    begin as i128 - (most as i128 - 1)
}

/// The value, or a panic at the caller's line with the error's message.
#[track_caller]
pub(crate) fn or_panic<T>(operation: &str, result: Result<T, Deconv2dError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{operation}: {error}"),
    }
}
