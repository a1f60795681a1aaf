//! [`overlap()`]: how many taps reach each phase of the output. Unequal numbers cause
//! checkerboards.

use core::fmt;

use crate::geometry::{check_parameters, with_the_crops_of};
use crate::{Deconv2dError, Deconv2dLayerConfig};

/// Counts the kernel taps that reach each phase of a layer's output.
///
/// The outputs at `[y, x]` with the same `[y % s_h, x % s_w]` are a phase. Each of them is a sum
/// over the same taps of the kernel. If one phase has more taps than another, the output of a
/// constant input has a pattern with the stride's period: the checkerboard of Odena, Dumoulin and
/// Olah, *Deconvolution and Checkerboard Artifacts*, Distill 2016,
/// [doi:10.23915/distill.00003](https://distill.pub/2016/deconv-checkerboard).
///
/// # Formula
///
/// Per axis, with kernel size `k`, stride `s`, dilation `d` and `b` cropped at the beginning:
///
/// ```text
/// taps(phase) = the number of t in 0..k with  t * d % s == (phase + b) % s
/// ```
///
/// The number of taps at `[phase_h, phase_w]` is the product of the two axes' numbers. All are
/// equal if and only if, on each axis, `s` divides `k` and has no common factor with `d`.
///
/// # Errors
///
/// Those errors of [`Geometry::new`](crate::Geometry::new) that do not depend on the input.
///
/// # Example
///
/// ```
/// use burn_deconv::{Deconv2dLayerConfig, overlap};
///
/// let config = Deconv2dLayerConfig::new([4, 2], [3, 3]); // stride [2, 2]
/// let uneven = overlap(&config)?;
/// assert_eq!(uneven.taps([0, 0]), 4);
/// assert_eq!(uneven.to_string(), "4 2\n2 1\n");
/// assert!(!uneven.is_even());
///
/// let config = Deconv2dLayerConfig::new([4, 2], [4, 4]);
/// assert_eq!(overlap(&config)?.to_string(), "4 4\n4 4\n");
/// assert!(overlap(&config)?.is_even());
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
pub fn overlap(config: &Deconv2dLayerConfig) -> Result<Overlap, Deconv2dError> {
    let options = config.options(None);
    check_parameters(config.channels, config.kernel_size, &options)?;
    let geometry = with_the_crops_of(config.weight_shape(), &options)?;
    Ok(Overlap {
        axes: [0, 1].map(|i| AxisOverlap {
            kernel: config.kernel_size[i],
            stride: config.stride[i],
            dilation: config.dilation[i],
            crop_begin: geometry.axes()[i].crop_begin(),
        }),
    })
}

/// The number of taps that reach each phase of an output. [`overlap()`] makes it.
///
/// It displays as a table with a row for each phase of the rows.
///
/// # Example
///
/// ```
/// use burn_deconv::{Deconv2dLayerConfig, overlap};
///
/// let config = Deconv2dLayerConfig::new([1, 1], [5, 2]).with_stride([3, 2]);
/// let overlap = overlap(&config)?;
/// assert_eq!(overlap.phases(), [3, 2]);
/// assert_eq!([0, 1, 2].map(|row| overlap.taps([row, 0])), [2, 1, 2]);
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    axes: [AxisOverlap; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AxisOverlap {
    kernel: usize,
    stride: usize,
    dilation: usize,
    crop_begin: usize,
}

impl Overlap {
    /// The number of phases, `[h, w]`. This is the stride.
    pub fn phases(&self) -> [usize; 2] {
        let [height, width] = &self.axes;
        [height.stride, width.stride]
    }

    /// The number of taps that reach the output at `[y, x]`, for each input channel. Only the
    /// position within the stride matters. Fewer taps reach the outputs near the map's border.
    pub fn taps(&self, position: [usize; 2]) -> usize {
        let [height, width] = &self.axes;
        height.taps(position[0]) * width.taps(position[1])
    }

    /// Whether the same number of taps reaches all phases.
    pub fn is_even(&self) -> bool {
        self.axes.iter().all(AxisOverlap::is_even)
    }
}

impl AxisOverlap {
    fn taps(&self, position: usize) -> usize {
        let stride = self.stride as u128;
        let phase = (position as u128 + self.crop_begin as u128) % stride;
        (0..self.kernel)
            .filter(|&tap| tap as u128 * self.dilation as u128 % stride == phase)
            .count()
    }

    fn is_even(&self) -> bool {
        self.kernel.is_multiple_of(self.stride) && common_divisor(self.stride, self.dilation) == 1
    }
}

/// The greatest common divisor (Euclid).
fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 {
        return a;
    }
    common_divisor(b, a % b)
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, columns] = self.phases();
        for row in 0..rows {
            for column in 0..columns {
                let separator = if column == 0 { "" } else { " " };
                write!(f, "{separator}{}", self.taps([row, column]))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
