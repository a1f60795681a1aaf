//! [`Problem`]: the sizes of one transposed convolution. The kernels have no other words for them.

use core::ops::Range;

/// The sizes of one transposed convolution.
///
/// # Shapes
///
/// - input: `[batch, c_in, h, w]`
/// - weight: `[c_out, c_in / groups, k_h, k_w]`
/// - output: `[batch, c_out, O_h, O_w]`
///
/// # Example
///
/// A 3x3 kernel at stride 2 on a 4x5 map, with TensorFlow's `SAME`: the output is twice as long as
/// the input on each axis.
///
/// ```
/// use deconv_kernel::{Axis, Problem};
///
/// let axis = |input| Axis { input, kernel: 3, stride: 2, dilation: 1, crop_begin: 0, output: 2 * input };
/// let problem = Problem { batch: 1, groups: 1, c_in: 8, c_out: 6, axes: [axis(4), axis(5)] };
/// assert_eq!(problem.output_shape(), [1, 6, 8, 10]);
/// assert_eq!(problem.axes[0].full(), 9);
/// ```
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
    /// How many values of the full map are cropped before the first that stays.
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

    /// Input channels of a group.
    pub(crate) fn group_c_in(&self) -> usize {
        self.c_in / self.groups
    }

    /// Output channels of a group.
    pub(crate) fn group_c_out(&self) -> usize {
        self.c_out / self.groups
    }

    /// Values of one channel's input map.
    pub(crate) fn input_plane(&self) -> usize {
        let [height, width] = &self.axes;
        height.input * width.input
    }

    /// Values of one channel's output map.
    pub(crate) fn output_plane(&self) -> usize {
        let [height, width] = &self.axes;
        height.output * width.output
    }

    /// Taps of one pair of channels.
    pub(crate) fn taps(&self) -> usize {
        let [height, width] = &self.axes;
        height.kernel * width.kernel
    }

    /// Weights of one group.
    pub(crate) fn group_weights(&self) -> usize {
        self.group_c_out() * self.group_c_in() * self.taps()
    }

    /// The products of a value and a weight, those that are cropped included. Saturates.
    pub(crate) fn products(&self) -> usize {
        let sizes = [
            self.batch,
            self.c_in,
            self.input_plane(),
            self.group_c_out(),
            self.taps(),
        ];
        sizes.into_iter().fold(1, usize::saturating_mul)
    }

    /// Refuses sizes that no kernel has, and a slice that has not as many values as its shape.
    ///
    /// # Panics
    ///
    /// The message names the operand, its shape, and the expected and the given length.
    #[track_caller]
    pub(crate) fn check(&self, operand: &str, shape: &[usize], got: usize) {
        let positive = self
            .axes
            .iter()
            .all(|axis| axis.input > 0 && axis.kernel > 0 && axis.stride > 0 && axis.dilation > 0);
        assert!(
            positive && self.groups > 0,
            "deconv-kernel: groups, input, kernel, stride and dilation must be at least 1, got {self:?}"
        );
        assert!(
            self.c_in.is_multiple_of(self.groups) && self.c_out.is_multiple_of(self.groups),
            "deconv-kernel: {} groups must divide {} input and {} output channels",
            self.groups,
            self.c_in,
            self.c_out
        );
        let expected = shape
            .iter()
            .try_fold(1_usize, |product, size| product.checked_mul(*size));
        assert_eq!(
            Some(got),
            expected,
            "deconv-kernel: the {operand} has {got} values, expected {expected:?} for shape {shape:?}"
        );
    }
}
