//! [`Geometry`]: all sizes of one transposed convolution, computed and checked once. Every step
//! reads them here. [`axis`](crate::axis) has the rule for one axis.

use core::fmt;

use crate::{Axis, AxisGeometry, Deconv2dError, Deconv2dOptions, Padding};

/// The sizes of one transposed convolution, checked.
///
/// # Formula
///
/// Per axis, with input length `h`, kernel size `k`, stride `s`, dilation `d`:
///
/// ```text
/// ke = (k - 1) * d + 1           the kernel's extent
/// F  = (h - 1) * s + ke          the full map
/// F + ke - 1                     the zero-filled map: value i stands at ke - 1 + i * s
/// [b, b + O)                     the window of the full map that is the output
/// ```
///
/// [`Padding`] decides `b` and `O`. The formula is that of Dumoulin and Visin, *A guide to
/// convolution arithmetic for deep learning*, [arXiv:1603.07285](https://arxiv.org/abs/1603.07285).
///
/// # Example
///
/// The article's layer: four channels of 3x3, two kernels of 4x3x3, stride 2. The last row and the
/// last column are cropped.
///
/// ```
/// use burn_deconv::{Deconv2dOptions, Geometry};
///
/// let geometry = Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &Deconv2dOptions::new())?;
/// assert_eq!(
///     geometry.to_string(),
///     "input [1, 4, 3, 3] -> zero-filled [1, 4, 9, 9] -> full map [1, 2, 7, 7] -> crop top 0, \
///      left 0, bottom 1, right 1 -> output [1, 2, 6, 6]"
/// );
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    batch: usize,
    channels: [usize; 2],
    groups: usize,
    height: AxisGeometry,
    width: AxisGeometry,
}

impl Geometry {
    /// Computes and checks all sizes for an input `[n, c_in, h, w]` and a weight
    /// `[c_out, c_in / groups, k_h, k_w]`. An empty batch, `n = 0`, is legal.
    ///
    /// # Errors
    ///
    /// - a kernel size, stride, dilation, `groups` or number of channels that is zero
    /// - channels that `groups` does not divide, or that do not fit the input
    /// - a `padding_out` that is too large, or that comes with a padding other than `Explicit`
    /// - an empty map, a crop that leaves nothing, an output size that no crop has
    /// - sizes that overflow
    ///
    /// Each names the value, what is legal, and the axis.
    pub fn new(
        input: [usize; 4],
        weight: [usize; 4],
        options: &Deconv2dOptions,
    ) -> Result<Self, Deconv2dError> {
        let [batch, c_in, h_in, w_in] = input;
        let [c_out, c_in_per_group, k_h, k_w] = weight;
        let groups = options.groups;
        let c_taken = c_in_per_group.saturating_mul(groups);
        check_parameters([c_taken, c_out], [k_h, k_w], options)?;
        if c_in != c_taken {
            return Err(Deconv2dError::InputChannels {
                got: c_in,
                weight,
                groups,
            });
        }
        for (axis, length) in [(Axis::Height, h_in), (Axis::Width, w_in)] {
            if length == 0 {
                return Err(Deconv2dError::EmptyMap { axis, input });
            }
        }

        let geometry = Self {
            batch,
            channels: [c_in, c_out],
            groups,
            height: AxisGeometry::new(Axis::Height, h_in, k_h, options)?,
            width: AxisGeometry::new(Axis::Width, w_in, k_w, options)?,
        };
        geometry.check_tensors()?;
        Ok(geometry)
    }

    /// The number of maps in the batch, `n`.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// `[c_in, c_out]`.
    pub fn channels(&self) -> [usize; 2] {
        self.channels
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The sizes on both axes, `[h, w]`.
    pub fn axes(&self) -> [&AxisGeometry; 2] {
        [&self.height, &self.width]
    }

    /// The distance between two kernel taps, `[h, w]`.
    pub fn dilation(&self) -> [usize; 2] {
        self.axes().map(AxisGeometry::dilation)
    }

    /// The input's shape, `[n, c_in, h, w]`.
    pub fn input_shape(&self) -> [usize; 4] {
        self.map_shape(self.channels[0], AxisGeometry::input)
    }

    /// The weight's shape, `[c_out, c_in / groups, k_h, k_w]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        let [c_in, c_out] = self.channels;
        let [k_h, k_w] = self.axes().map(AxisGeometry::kernel);
        [c_out, c_in / self.groups, k_h, k_w]
    }

    /// The zero-filled map's shape, `[n, c_in, F_h + ke_h - 1, F_w + ke_w - 1]`.
    pub fn filled_shape(&self) -> [usize; 4] {
        self.map_shape(self.channels[0], AxisGeometry::filled)
    }

    /// The full map's shape, `[n, c_out, F_h, F_w]`.
    pub fn full_shape(&self) -> [usize; 4] {
        self.map_shape(self.channels[1], AxisGeometry::full)
    }

    /// The output's shape, `[n, c_out, O_h, O_w]`.
    pub fn output_shape(&self) -> [usize; 4] {
        self.map_shape(self.channels[1], AxisGeometry::output)
    }

    fn map_shape(&self, channels: usize, length: fn(&AxisGeometry) -> usize) -> [usize; 4] {
        let [height, width] = self.axes().map(length);
        [self.batch, channels, height, width]
    }

    /// The same sizes in the words of the kernels.
    #[cfg(feature = "kernel")]
    pub(crate) fn problem(&self) -> deconv_kernel::Problem {
        deconv_kernel::Problem {
            batch: self.batch,
            groups: self.groups,
            c_in: self.channels[0],
            c_out: self.channels[1],
            axes: self.axes().map(AxisGeometry::problem),
        }
    }

    /// Checks that memory can address every tensor of either algorithm. An empty batch is held to
    /// the sizes of one map, which keeps every length of an axis below `isize::MAX`.
    fn check_tensors(&self) -> Result<(), Deconv2dError> {
        let [height, width] = self.axes();
        let taps = height.kernel() * width.kernel();
        let values = height.input().saturating_mul(width.input());
        let products = [self.batch, self.channels[1], taps, values];
        for (tensor, [batch, channels, rows, columns]) in [
            ("zero-filled map", self.filled_shape()),
            ("full map", self.full_shape()),
            ("output", self.output_shape()),
            ("product of taps and input", products),
        ] {
            check_tensor(tensor, [batch.max(1), channels, rows, columns])?;
        }
        Ok(())
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width] = self.axes();
        write!(
            f,
            "input {:?} -> zero-filled {:?} -> full map {:?} -> crop top {}, left {}, bottom {}, \
             right {} -> output {:?}",
            self.input_shape(),
            self.filled_shape(),
            self.full_shape(),
            height.crop_begin(),
            width.crop_begin(),
            height.crop_end(),
            width.crop_end(),
            self.output_shape(),
        )
    }
}

/// A geometry whose crops are those of every call of a layer. Without an output size that is asked
/// for, no input's size changes a crop, so a map that is large enough for every crop shows them.
pub(crate) fn with_the_crops_of(
    weight: [usize; 4],
    options: &Deconv2dOptions,
) -> Result<Geometry, Deconv2dError> {
    let large_enough = |begin: usize, end: usize| begin.saturating_add(end).saturating_add(2);
    let [h, w] = match options.padding {
        Padding::Explicit(top, left, bottom, right) => {
            [large_enough(top, bottom), large_enough(left, right)]
        }
        Padding::Same | Padding::SameLower | Padding::Valid => [2, 2],
    };
    let c_in = weight[1].saturating_mul(options.groups);
    Geometry::new([1, c_in, h, w], weight, options)
}

/// No allocation can be larger than `isize::MAX` bytes, and an `f64` has eight.
const MAX_ELEMENTS: usize = isize::MAX as usize / size_of::<f64>();

pub(crate) fn check_tensor(tensor: &'static str, shape: [usize; 4]) -> Result<(), Deconv2dError> {
    match shape.into_iter().try_fold(1, usize::checked_mul) {
        Some(elements) if elements <= MAX_ELEMENTS => Ok(()),
        _ => Err(Deconv2dError::TensorOverflow { tensor, shape }),
    }
}

/// Checks everything that does not depend on the input's size. `channels` is `[in, out]`.
pub(crate) fn check_parameters(
    channels: [usize; 2],
    kernel_size: [usize; 2],
    options: &Deconv2dOptions,
) -> Result<(), Deconv2dError> {
    let (groups, padding_out) = (options.groups, options.padding_out);
    if groups == 0 {
        return Err(Deconv2dError::ZeroGroups);
    }
    if channels.contains(&0) {
        return Err(Deconv2dError::ZeroChannels { channels });
    }
    if !channels.iter().all(|c| c.is_multiple_of(groups)) {
        return Err(Deconv2dError::ChannelsNotDivisible { channels, groups });
    }
    let padding = options.padding;
    if padding_out != [0, 0] && !matches!(padding, Padding::Explicit(..)) {
        return Err(Deconv2dError::PaddingOutNeedsExplicit {
            padding_out,
            padding,
        });
    }
    for axis in [Axis::Height, Axis::Width] {
        let i = axis as usize;
        let (stride, dilation, padding_out) =
            (options.stride[i], options.dilation[i], padding_out[i]);
        for (parameter, value) in [
            ("kernel_size", kernel_size[i]),
            ("stride", stride),
            ("dilation", dilation),
        ] {
            if value == 0 {
                return Err(Deconv2dError::ZeroParameter { parameter, axis });
            }
        }
        if padding_out >= stride.max(dilation) {
            return Err(Deconv2dError::PaddingOutTooLarge {
                axis,
                padding_out,
                stride,
                dilation,
            });
        }
    }
    let ([c_in, c_out], [k_h, k_w]) = (channels, kernel_size);
    check_tensor("weight", [c_out, c_in / groups, k_h, k_w])
}
