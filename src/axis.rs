//! [`AxisGeometry`]: the sizes on one axis. The padding rule stands here, in code, as one `match`.

use core::ops::{Range, RangeInclusive};

use crate::{Axis, Deconv2dError, Deconv2dOptions, Padding};

/// The sizes on one axis. [`Geometry`](crate::Geometry) explains the letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisGeometry {
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    output: usize,
    crop_begin: usize,
}

/// One row of the table of [`Padding`].
struct Window {
    output: usize,
    /// The outputs that a caller may ask for.
    legal: RangeInclusive<usize>,
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
        // If this sum fits a `usize`, so do all others: `input * stride < full + stride`.
        let step = full.checked_add(stride.max(dilation));
        let longest = step.ok_or(overflow.clone())? - 1; // with the largest padding_out
        let asked = options.output_size.map(|size| size[i]);

        let enlarged = input * stride;
        let same = asked.unwrap_or(enlarged);
        let excess = full.saturating_sub(same);
        let window = match options.padding {
            Padding::Same => Window {
                output: same,
                legal: enlarged - stride + 1..=enlarged,
                crop_begin: excess / 2,
            },
            Padding::SameLower => Window {
                output: same,
                legal: enlarged - stride + 1..=enlarged,
                crop_begin: excess.div_ceil(2),
            },
            Padding::Valid => Window {
                output: asked.unwrap_or(full.max(enlarged)),
                legal: full..=full + stride - 1,
                crop_begin: 0,
            },
            Padding::Explicit(top, left, bottom, right) => {
                let (begin, end) = ([top, left][i], [bottom, right][i]);
                let cropped = begin.checked_add(end).ok_or(overflow.clone())?;
                let available = match asked {
                    Some(_) => longest,
                    None => full + options.padding_out[i],
                };
                if cropped >= available || begin >= full {
                    return Err(Deconv2dError::CropTooLarge {
                        axis,
                        full,
                        begin,
                        end,
                        legal: available - 1,
                    });
                }
                Window {
                    output: asked.unwrap_or(available - cropped),
                    legal: full.saturating_sub(cropped).max(1)..=available - cropped,
                    crop_begin: begin,
                }
            }
        };
        if let Some(requested) = asked
            && !window.legal.contains(&requested)
        {
            return Err(Deconv2dError::OutputSize {
                axis,
                requested,
                legal: window.legal,
                input,
            });
        }

        let this = Self {
            input,
            kernel,
            // A single value or tap has no neighbour, so its distance does not matter.
            stride: stride.min(full),
            dilation: dilation.min(full),
            output: window.output,
            crop_begin: window.crop_begin,
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

    /// The distance between two input values in the zero-filled map, `s`. It is clamped to `F`:
    /// with a single input value the stride has no effect.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The distance between two kernel taps, `d`. It is clamped to `F`: with a single tap the
    /// dilation has no effect.
    pub fn dilation(&self) -> usize {
        self.dilation
    }

    /// The output's length, `O`.
    pub fn output(&self) -> usize {
        self.output
    }

    /// The kernel's extent, `ke`.
    pub fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The full map's length, `F`.
    pub fn full(&self) -> usize {
        (self.input - 1) * self.stride + self.extent()
    }

    /// The zero-filled map's length, `F + ke - 1`.
    pub fn filled(&self) -> usize {
        self.full() + self.extent() - 1
    }

    /// How many values of the full map are cropped at the beginning, `b`.
    pub fn crop_begin(&self) -> usize {
        self.crop_begin
    }

    /// How many values of the full map are cropped at the end, `F - b - O`. If it is negative, that
    /// many zeros are appended.
    pub fn crop_end(&self) -> isize {
        self.full() as isize - self.crop_begin as isize - self.output as isize
    }

    /// The values of the full map that the output keeps, `[b, min(b + O, F))`.
    pub fn kept(&self) -> Range<usize> {
        let full = self.full();
        self.crop_begin.min(full)..(self.crop_begin + self.output).min(full)
    }

    /// How many zeros are appended to the values that the output keeps.
    pub fn appended(&self) -> usize {
        self.output - self.kept().len()
    }

    /// The same sizes in the words of the kernels.
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
}

/// `F = (h - 1) * s + (k - 1) * d + 1`, or `None` if it does not fit a `usize`.
fn full_length(input: usize, kernel: usize, stride: usize, dilation: usize) -> Option<usize> {
    let reach = (input - 1).checked_mul(stride)?;
    let extent = (kernel - 1).checked_mul(dilation)?.checked_add(1)?;
    reach.checked_add(extent)
}
