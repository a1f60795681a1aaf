//! [`Algorithm::SkipZeros`](crate::Algorithm): zero-fill, correlate, crop, with no zero inserted.
//!
//! The steps are lazy, in the manner of iterator adaptors: [`zero_fill`], [`ZeroFilled::correlate`]
//! and [`FullMap::crop`] describe a map, and [`Cropped::compute`] computes what is left of it.

use burn::tensor::Tensor;

use crate::{Geometry, explicit, polyphase};

/// Describes the zero-filled map: the values, and by the geometry where they stand.
pub(crate) fn zero_fill(input: Tensor<4>, geometry: &Geometry) -> ZeroFilled<'_> {
    ZeroFilled { input, geometry }
}

/// A zero-filled map that is not made.
pub(crate) struct ZeroFilled<'a> {
    /// `[n, c_in, h, w]`
    input: Tensor<4>,
    geometry: &'a Geometry,
}

impl<'a> ZeroFilled<'a> {
    /// Describes the full map: the kernel slides over the zero-filled map at stride 1.
    pub(crate) fn correlate(self, weight: Tensor<4>) -> FullMap<'a> {
        FullMap {
            filled: self,
            weight,
        }
    }
}

/// A full map that is not made.
pub(crate) struct FullMap<'a> {
    filled: ZeroFilled<'a>,
    /// `[c_out, c_in / groups, k_h, k_w]`
    weight: Tensor<4>,
}

impl<'a> FullMap<'a> {
    /// Describes the output: the window of the full map that stays.
    pub(crate) fn crop(self) -> Cropped<'a> {
        Cropped { full: self }
    }
}

/// An output that is not computed.
pub(crate) struct Cropped<'a> {
    full: FullMap<'a>,
}

impl Cropped<'_> {
    /// Computes the output, `[n, c_out, O_h, O_w]`, and adds the bias, `[c_out]`: by the kernels
    /// where they can read the tensors, in tensor operations elsewhere.
    pub(crate) fn compute(self, bias: Option<Tensor<1>>) -> Tensor<4> {
        let FullMap { filled, weight } = self.full;
        let ZeroFilled { input, geometry } = filled;
        #[cfg(feature = "kernel")]
        if crate::op::exists_for(&input) {
            return crate::op::deconv2d(input, weight, bias, geometry);
        }
        explicit::add_bias(polyphase::deconv2d(input, weight, geometry), bias)
    }
}
