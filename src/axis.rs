//! [`AxisGeometry`]: the one rule for sizes and crops, on one axis.

use core::ops::{Range, RangeInclusive};

use crate::{Axis, Deconv2dError, Deconv2dOptions, Padding};

/// The sizes on one axis; the letters are those of [`Geometry`](crate::Geometry).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisGeometry {
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    output: usize,
    crop_begin: usize,
}

impl AxisGeometry {
    pub(crate) fn new(
        axis: Axis,
        input: usize,
        kernel: usize,
        options: &Deconv2dOptions,
    ) -> Result<Self, Deconv2dError> {
        let i = axis as usize;
        let (stride, dilation) = (options.stride[i], options.dilation[i]);
        let overflow = Deconv2dError::AxisOverflow { axis, input };

        let full = full_length(input, kernel, stride, dilation).ok_or(overflow.clone())?;
        // Neither overflows if `full + step` does not: `h * s < F + s`.
        let step = stride.max(dilation);
        let longest = full.checked_add(step).ok_or(overflow.clone())?;
        let same = input * stride;

        let (default, legal): (usize, RangeInclusive<usize>) = match options.padding {
            Padding::Same | Padding::SameLower => (same, same - stride + 1..=same),
            Padding::Valid => (full.max(same), full..=full + stride - 1),
            Padding::Explicit(top, left, bottom, right) => {
                let crop = [(top, bottom), (left, right)][i];
                let cropped = crop.0.checked_add(crop.1).ok_or(overflow.clone())?;
                let most = match options.output_size {
                    Some(_) => longest - 1,
                    None => full + options.padding_out[i],
                };
                if cropped >= most || crop.0 >= full {
                    let legal = most - 1;
                    return Err(Deconv2dError::CropTooLarge {
                        axis,
                        full,
                        crop,
                        legal,
                    });
                }
                (
                    most - cropped,
                    full.saturating_sub(cropped).max(1)..=most - cropped,
                )
            }
        };
        let output = options.output_size.map_or(default, |size| size[i]);
        if options.output_size.is_some() && !legal.contains(&output) {
            return Err(Deconv2dError::OutputSize {
                axis,
                requested: output,
                legal,
                input,
            });
        }

        let excess = full.saturating_sub(output);
        let crop_begin = match options.padding {
            Padding::Same => excess / 2,
            Padding::SameLower => excess.div_ceil(2),
            Padding::Valid => 0,
            Padding::Explicit(top, left, ..) => [top, left][i],
        };
        // A single value or tap has no neighbour: its distance is cut to what fits the map.
        let (stride, dilation) = (stride.min(full), dilation.min(full));
        let this = Self {
            input,
            kernel,
            stride,
            dilation,
            output,
            crop_begin,
        };
        match full.checked_add(this.extent()) {
            Some(_) => Ok(this),
            None => Err(overflow),
        }
    }

    /// The input's length, `h`.
    pub fn input(&self) -> usize {
        self.input
    }

    /// The number of kernel taps, `k`.
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// The distance between two input values in the zero-filled map, `s`; at most `F`, which a
    /// stride exceeds where there is one value alone.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The distance between two kernel taps, `d`; at most `F`, which a dilation exceeds where
    /// there is one tap alone.
    pub fn dilation(&self) -> usize {
        self.dilation
    }

    /// The output's length, `O`.
    pub fn output(&self) -> usize {
        self.output
    }

    /// The kernel's extent, `ke = (k - 1) * d + 1`.
    pub fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The full map's length, `F = (h - 1) * s + ke`.
    pub fn full(&self) -> usize {
        (self.input - 1) * self.stride + self.extent()
    }

    /// The zero-filled map's length, `F + ke - 1`.
    pub fn filled(&self) -> usize {
        self.full() + self.extent() - 1
    }

    /// How many values of the full map go before the first that stays, `b`.
    pub fn crop_begin(&self) -> usize {
        self.crop_begin
    }

    /// How many values of the full map go after the last that stays, `F - b - O`; negative where
    /// that many zeros are appended.
    pub fn crop_end(&self) -> isize {
        self.full() as isize - self.crop_begin as isize - self.output as isize
    }

    /// The values of the full map that stay, `[b, min(b + O, F))`.
    pub fn kept(&self) -> Range<usize> {
        let full = self.full();
        self.crop_begin.min(full)..(self.crop_begin + self.output).min(full)
    }

    /// The same sizes in the kernels' words.
    #[cfg(feature = "kernel")]
    pub(crate) fn problem(&self) -> deconv_kernel::Axis {
        deconv_kernel::Axis {
            input: self.input,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            crop_begin: self.crop_begin,
            output: self.output,
        }
    }

    /// How many zeros follow the values that stay, `O - kept`.
    pub fn appended(&self) -> usize {
        self.output - self.kept().len()
    }
}

/// `F = (h - 1) * s + (k - 1) * d + 1`, or `None` past a `usize`.
fn full_length(input: usize, kernel: usize, stride: usize, dilation: usize) -> Option<usize> {
    let reach = (input - 1).checked_mul(stride)?;
    let extent = (kernel - 1).checked_mul(dilation)?.checked_add(1)?;
    reach.checked_add(extent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;

    fn axis(h: usize, k: usize, s: usize, padding: Padding) -> AxisGeometry {
        let options = Deconv2dOptions::new()
            .with_stride([s; 2])
            .with_padding(padding);
        Geometry::new([1, 1, h, h], [1, 1, k, k], &options)
            .unwrap()
            .axes()[0]
            .clone()
    }

    fn crop(k: usize, s: usize, padding: Padding) -> (usize, isize) {
        let axis = axis(5, k, s, padding);
        (axis.crop_begin(), axis.crop_end())
    }

    /// TensorFlow's `SAME`, by kernel and stride; a negative crop appends zeros.
    #[test]
    fn same_crops_an_odd_one_at_the_end() {
        #[rustfmt::skip]
        let cells = [
            ((2, 2), (0, 0)), ((3, 2), (0, 1)), ((4, 2), (1, 1)), ((5, 2), (1, 2)),
            ((3, 1), (1, 1)), ((2, 1), (0, 1)), ((4, 1), (1, 2)), ((3, 3), (0, 0)),
            ((5, 3), (1, 1)), ((1, 2), (0, -1)), ((2, 3), (0, -1)), ((1, 4), (0, -3)),
        ];
        for ((k, s), expected) in cells {
            assert_eq!(
                crop(k, s, Padding::Same),
                expected,
                "kernel {k}, stride {s}"
            );
            let (begin, end) = expected;
            let lower = if begin as isize == end || end < 0 {
                expected
            } else {
                (end as usize, begin as isize)
            };
            assert_eq!(
                crop(k, s, Padding::SameLower),
                lower,
                "kernel {k}, stride {s}"
            );
        }
    }

    #[test]
    fn valid_keeps_the_full_map() {
        assert_eq!(axis(5, 3, 2, Padding::Valid).output(), 11);
        assert_eq!(axis(5, 1, 3, Padding::Valid).output(), 15);
        assert_eq!(crop(1, 3, Padding::Valid), (0, -2));
    }

    #[test]
    fn lengths_of_the_article() {
        let axis = axis(3, 3, 2, Padding::Same);
        assert_eq!((axis.extent(), axis.full(), axis.filled()), (3, 7, 9));
        assert_eq!((axis.output(), axis.kept(), axis.appended()), (6, 0..6, 0));
    }

    #[test]
    fn a_window_past_the_end_keeps_what_there_is() {
        let options = Deconv2dOptions::new()
            .with_stride([3, 3])
            .with_padding(Padding::Explicit(1, 0, 0, 0))
            .with_padding_out([2, 0]);
        let geometry = Geometry::new([1, 1, 2, 2], [1, 1, 2, 2], &options).unwrap();
        let [height, width] = geometry.axes();
        assert_eq!(
            (height.full(), height.output(), height.kept()),
            (5, 6, 1..5)
        );
        assert_eq!((height.appended(), height.crop_end()), (2, -2));
        assert_eq!(
            (width.output(), width.kept(), width.appended()),
            (5, 0..5, 0)
        );
    }
}
