//! [`Problem`]: the sizes of one transposed convolution, the only vocabulary that the kernels have
//! for them.

use core::ops::Range;

/// The sizes of one transposed convolution.
///
/// # Shapes
///
/// - input: `[batch, c_in, h, w]`
/// - weight: `[c_out, c_in / groups, k_h, k_w]`
/// - output: `[batch, c_out, O_h, O_w]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The number of maps.
    pub batch: usize,
    /// The number of groups that the channels are divided into.
    pub groups: usize,
    /// The input's channels, of all groups.
    pub c_in: usize,
    /// The output's channels, of all groups.
    pub c_out: usize,
    /// The sizes per axis, `[height, width]`.
    pub axes: [Axis; 2],
}

/// The sizes of a [`Problem`] on one axis.
///
/// Input value `i` and kernel tap `a` meet at output place
/// `i * stride + (kernel - 1 - a) * dilation - crop_begin`, if that is in `0..output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The input's length.
    pub input: usize,
    /// The number of kernel taps.
    pub kernel: usize,
    /// The distance between two input values in the full map.
    pub stride: usize,
    /// The distance between two kernel taps.
    pub dilation: usize,
    /// How many values of the full map go before the first that stays.
    pub crop_begin: usize,
    /// The output's length.
    pub output: usize,
}

impl Axis {
    /// The kernel's extent, `(kernel - 1) * dilation + 1`.
    pub fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The full map's length, `(input - 1) * stride + extent`.
    pub fn full(&self) -> usize {
        (self.input - 1) * self.stride + self.extent()
    }

    /// The values of the full map that the output keeps. Zeros follow them where the output is
    /// longer.
    pub fn kept(&self) -> Range<usize> {
        let full = self.full();
        self.crop_begin.min(full)..(self.crop_begin + self.output).min(full)
    }
}

impl Problem {
    /// The input's shape, `[batch, c_in, h, w]`.
    pub fn input_shape(&self) -> [usize; 4] {
        let [height, width] = self.axes;
        [self.batch, self.c_in, height.input, width.input]
    }

    /// The weight's shape, `[c_out, c_in / groups, k_h, k_w]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        let [height, width] = self.axes;
        [
            self.c_out,
            self.c_in / self.groups,
            height.kernel,
            width.kernel,
        ]
    }

    /// The output's shape, `[batch, c_out, O_h, O_w]`.
    pub fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.axes;
        [self.batch, self.c_out, height.output, width.output]
    }
}
