//! [`Geometry`]: all sizes and checks of one transposed convolution. No file but this one and
//! [`axis`](crate::axis) computes or checks a size.

use core::fmt;

use crate::{Axis, AxisGeometry, Deconv2dError, Deconv2dOptions, Padding};

/// The sizes of one transposed convolution, checked once and handed to every step.
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
/// `b` and `O` are the [`Padding`]'s. After Dumoulin and Visin, *A guide to convolution arithmetic
/// for deep learning*, [arXiv:1603.07285](https://arxiv.org/abs/1603.07285), and TensorFlow's
/// `SAME`.
///
/// # Example
///
/// The article's: four channels of 3x3, two kernels of 4x3x3, stride 2, the last row and the last
/// column cropped.
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
    /// A [`Deconv2dError`] that names the value, what is legal and the axis: for a zero where one
    /// is the least, channels that `groups` does not divide or that do not fit the input, a
    /// `padding_out` that is too large or goes with another padding than `Explicit`, an empty map,
    /// a crop that leaves nothing, an output size that no crop has, and sizes that overflow.
    pub fn new(
        input: [usize; 4],
        weight: [usize; 4],
        options: &Deconv2dOptions,
    ) -> Result<Self, Deconv2dError> {
        let [batch, c_in, h_in, w_in] = input;
        let [c_out, c_in_per_group, k_h, k_w] = weight;
        let c_taken = c_in_per_group.saturating_mul(options.groups);
        check_parameters([c_taken, c_out], [k_h, k_w], options)?;
        if c_in != c_taken {
            let groups = options.groups;
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
            groups: options.groups,
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
        self.axes().map(|axis| axis.dilation())
    }

    /// The input's shape, `[n, c_in, h, w]`.
    pub fn input_shape(&self) -> [usize; 4] {
        [
            self.batch,
            self.channels[0],
            self.height.input(),
            self.width.input(),
        ]
    }

    /// The weight's shape, `[c_out, c_in / groups, k_h, k_w]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        let [c_in, c_out] = self.channels;
        [
            c_out,
            c_in / self.groups,
            self.height.kernel(),
            self.width.kernel(),
        ]
    }

    /// The zero-filled map's shape, `[n, c_in, F_h + ke_h - 1, F_w + ke_w - 1]`.
    pub fn filled_shape(&self) -> [usize; 4] {
        [
            self.batch,
            self.channels[0],
            self.height.filled(),
            self.width.filled(),
        ]
    }

    /// The full map's shape, `[n, c_out, F_h, F_w]`.
    pub fn full_shape(&self) -> [usize; 4] {
        [
            self.batch,
            self.channels[1],
            self.height.full(),
            self.width.full(),
        ]
    }

    /// The output's shape, `[n, c_out, O_h, O_w]`.
    pub fn output_shape(&self) -> [usize; 4] {
        [
            self.batch,
            self.channels[1],
            self.height.output(),
            self.width.output(),
        ]
    }

    /// The same sizes in the kernels' words.
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

    /// Checks that memory can address each tensor that an algorithm makes.
    fn check_tensors(&self) -> Result<(), Deconv2dError> {
        let [height, width] = self.axes();
        let [taps, values] = [
            height.kernel() * width.kernel(),
            height.input().saturating_mul(width.input()),
        ];
        check_tensor("zero-filled map", self.filled_shape())?;
        check_tensor("full map", self.full_shape())?;
        check_tensor("output", self.output_shape())?;
        check_tensor(
            "product of taps and input",
            [self.batch, self.channels[1], taps, values],
        )
    }
}

/// What a layer crops at the beginning and at the end of each axis, `(b, F - b - O)`, negative where
/// zeros are appended. No input's length changes it, as long as no output size is asked for; it is
/// read off a map that is large enough for every crop.
pub(crate) fn crops(
    weight: [usize; 4],
    options: &Deconv2dOptions,
) -> Result<[(usize, isize); 2], Deconv2dError> {
    let [h, w] = match options.padding {
        Padding::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
        _ => [(0, 0); 2],
    }
    .map(|(begin, end)| begin.saturating_add(end).saturating_add(2));
    let c_in = weight[1].saturating_mul(options.groups);
    let geometry = Geometry::new([1, c_in, h, w], weight, options)?;
    Ok(geometry
        .axes()
        .map(|axis| (axis.crop_begin(), axis.crop_end())))
}

/// No allocation can be larger than `isize::MAX` bytes, and an `f64` has eight.
const MOST_ELEMENTS: usize = isize::MAX as usize / 8;

pub(crate) fn check_tensor(tensor: &'static str, shape: [usize; 4]) -> Result<(), Deconv2dError> {
    match shape.into_iter().try_fold(1, usize::checked_mul) {
        Some(elements) if elements <= MOST_ELEMENTS => Ok(()),
        _ => Err(Deconv2dError::TensorOverflow { tensor, shape }),
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

/// Checks all that does not depend on the input's size; `channels` is `[in, out]`.
pub(crate) fn check_parameters(
    channels: [usize; 2],
    kernel_size: [usize; 2],
    options: &Deconv2dOptions,
) -> Result<(), Deconv2dError> {
    if options.groups == 0 {
        return Err(Deconv2dError::ZeroGroups);
    }
    if channels.contains(&0) {
        return Err(Deconv2dError::ZeroChannels { channels });
    }
    if !channels.iter().all(|c| c.is_multiple_of(options.groups)) {
        let groups = options.groups;
        return Err(Deconv2dError::ChannelsNotDivisible { channels, groups });
    }
    let explicit = matches!(options.padding, Padding::Explicit(..));
    if options.padding_out != [0, 0] && !explicit {
        return Err(Deconv2dError::PaddingOutNeedsExplicit {
            padding_out: options.padding_out,
            padding: options.padding,
        });
    }
    for axis in [Axis::Height, Axis::Width] {
        let i = axis as usize;
        let (stride, dilation) = (options.stride[i], options.dilation[i]);
        let at_least_one = [
            ("kernel_size", kernel_size[i]),
            ("stride", stride),
            ("dilation", dilation),
        ];
        if let Some((parameter, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(Deconv2dError::ZeroParameter { parameter, axis });
        }
        let padding_out = options.padding_out[i];
        if padding_out >= stride.max(dilation) {
            return Err(Deconv2dError::PaddingOutTooLarge {
                axis,
                padding_out,
                stride,
                dilation,
            });
        }
    }
    let weight = [
        channels[1],
        channels[0] / options.groups,
        kernel_size[0],
        kernel_size[1],
    ];
    check_tensor("weight", weight)
}
