//! The algorithm itself, one tensor per step: [`zero_fill`], [`correlate`], [`crop`].
//!
//! This is the specification: every other way to compute the layer must give the same numbers. It
//! is slow. With stride `s` in both directions, about one in `s * s` of its products is not a
//! product with an inserted zero. [`Algorithm::SkipZeros`](crate::Algorithm) skips the zeros. Burn
//! differentiates these steps.
//!
//! ```text
//! input 2x2        zero-filled 7x7            full map 5x5        output 4x4
//!                  . . . . . . .
//! 1 2              . . . . . . .              kernel 3x3          o o o o x
//! 3 4    stride 2  . . 1 . 2 . .    stride 1  slides over    Same o o o o x
//!      ----------> . . . . . . .  ----------> every place ------> o o o o x
//!       zero_fill  . . 3 . 4 . .   correlate               crop   o o o o x
//!                  . . . . . . .                                  x x x x x
//!                  . . . . . . .
//! ```
//!
//! # Example
//!
//! The article's: four 3x3 channels, two kernels of 4x3x3.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use burn_deconv::{Deconv2dOptions, Geometry, explicit};
//!
//! let device = Device::default();
//! let input = Tensor::<4>::from_data(
//!     [[
//!         [[1., 0., 1.], [0., 2., 1.], [1., 1., 0.]],
//!         [[2., 0., 2.], [0., 1., 0.], [1., 0., 0.]],
//!         [[1., 1., 1.], [2., 2., 0.], [1., 1., 1.]],
//!         [[1., 1., 2.], [1., 0., 1.], [0., 2., 2.]],
//!     ]],
//!     &device,
//! );
//! let weight = Tensor::<4>::from_data(
//!     [
//!         [
//!             [[1., 0., 1.], [-1., 1., 0.], [0., -1., 0.]],
//!             [[-1., 0., 1.], [0., 0., 1.], [1., 1., 1.]],
//!             [[0., 1., 1.], [2., 0., 1.], [1., 2., 1.]],
//!             [[1., 1., 1.], [0., 2., 1.], [1., 0., 1.]],
//!         ],
//!         [
//!             [[1., 0., 2.], [-2., 1., 1.], [1., -1., 0.]],
//!             [[-1., 0., 1.], [-1., 2., 1.], [1., 1., 1.]],
//!             [[0., 0., 0.], [2., 2., 1.], [1., -1., 1.]],
//!             [[2., 1., 1.], [0., -1., 1.], [1., 1., 1.]],
//!         ],
//!     ],
//!     &device,
//! );
//! let geometry = Geometry::new(input.dims(), weight.dims(), &Deconv2dOptions::new())?;
//!
//! let filled = explicit::zero_fill(input, &geometry);
//! assert_eq!(filled.dims(), [1, 4, 9, 9]);
//! let full = explicit::correlate(filled, weight, &geometry);
//! assert_eq!(full.dims(), [1, 2, 7, 7]);
//! let output = explicit::crop(full, &geometry);
//! assert_eq!(output.dims(), [1, 2, 6, 6]);
//!
//! let first_row = output.slice([0..1, 0..1, 0..1]).flatten::<1>(0, 3).into_data();
//! assert_eq!(first_row.as_slice::<f32>().unwrap(), [4., 3., 6., 2., 7., 3.]);
//! # Ok::<(), burn_deconv::Deconv2dError>(())
//! ```

use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Tensor, s};

use crate::Geometry;

/// Places the input's values `stride` apart on a map of zeros. The border of `ke - 1` zeros lets
/// the kernel reach every value with every tap. [`Geometry`] has the formula. (Elsewhere this step
/// is called zero insertion or input dilation.)
///
/// # Shapes
///
/// - input: `[n, c_in, h, w]`
/// - output: `[n, c_in, F_h + ke_h - 1, F_w + ke_w - 1]`
///
/// # Panics
///
/// If the input's shape is not [`Geometry::input_shape`].
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor, s};
/// use burn_deconv::{Deconv2dOptions, Geometry, explicit};
///
/// // The article's first channel, for a 3x3 kernel and stride 2.
/// let input = Tensor::<4>::from_data(
///     [[[[1., 0., 1.], [0., 2., 1.], [1., 1., 0.]]]],
///     &Device::default(),
/// );
/// let geometry = Geometry::new([1, 1, 3, 3], [1, 1, 3, 3], &Deconv2dOptions::new())?;
/// let filled = explicit::zero_fill(input, &geometry);
/// let inside = filled.slice(s![0, 0, 2..7, 2..7]).into_data();
/// assert_eq!(
///     inside.as_slice::<f32>().unwrap(),
///     [
///         1., 0., 0., 0., 1., //
///         0., 0., 0., 0., 0., //
///         0., 0., 2., 0., 1., //
///         0., 0., 0., 0., 0., //
///         1., 0., 1., 0., 0., //
///     ]
/// );
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
pub fn zero_fill(input: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    assert_eq!(
        input.dims(),
        geometry.input_shape(),
        "zero_fill: the input's shape"
    );
    let zeros = Tensor::zeros(geometry.filled_shape(), (&input.device(), input.dtype()));
    let [rows, columns] = geometry.axes().map(|axis| {
        let border = axis.extent() - 1;
        let end = border + (axis.input() - 1) * axis.stride() + 1;
        (border..end, axis.stride() as isize)
    });
    zeros.slice_assign(s![.., .., rows.0;rows.1, columns.0;columns.1], input)
}

/// Slides each kernel over the zero-filled map at stride 1 without padding, and sums over the input
/// channels of its group. The result is the full map. This is a plain correlation: no kernel is
/// flipped.
///
/// # Shapes
///
/// - filled: `[n, c_in, F_h + ke_h - 1, F_w + ke_w - 1]`
/// - weight: `[c_out, c_in / groups, k_h, k_w]`
/// - output: `[n, c_out, F_h, F_w]`
///
/// # Panics
///
/// If a tensor's shape is not [`Geometry::filled_shape`] or [`Geometry::weight_shape`].
///
/// # Example
///
/// A kernel with a single 1 copies the values. Here it is the last tap, and the input is the
/// article's first channel.
///
/// ```
/// use burn::tensor::{Device, Tensor, s};
/// use burn_deconv::{Deconv2dOptions, Geometry, explicit};
///
/// let device = Device::default();
/// let input = Tensor::<4>::from_data(
///     [[[[1., 0., 1.], [0., 2., 1.], [1., 1., 0.]]]],
///     &device,
/// );
/// let last_tap = Tensor::<4>::from_data(
///     [[[[0., 0., 0.], [0., 0., 0.], [0., 0., 1.]]]],
///     &device,
/// );
/// let geometry = Geometry::new(input.dims(), last_tap.dims(), &Deconv2dOptions::new())?;
/// let filled = explicit::zero_fill(input.clone(), &geometry);
/// let full = explicit::correlate(filled, last_tap, &geometry);
/// full.slice(s![.., .., 0..5;2, 0..5;2]).into_data().assert_eq(&input.into_data(), true);
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
pub fn correlate(filled: Tensor<4>, weight: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    assert_eq!(
        filled.dims(),
        geometry.filled_shape(),
        "correlate: the zero-filled map's shape"
    );
    assert_eq!(
        weight.dims(),
        geometry.weight_shape(),
        "correlate: the weight's shape"
    );
    let options = ConvOptions::new([1, 1], [0, 0], geometry.dilation(), geometry.groups());
    conv2d(filled, weight, None, options)
}

/// Takes the output's window `[b, b + O)` of the full map on each axis. Past the map's end it
/// appends zeros.
///
/// # Shapes
///
/// - full: `[n, c_out, F_h, F_w]`
/// - output: `[n, c_out, O_h, O_w]`
///
/// # Panics
///
/// If the full map's shape is not [`Geometry::full_shape`].
///
/// # Example
///
/// The article crops "the last row and the last column":
///
/// ```
/// use burn::tensor::{Device, Tensor, s};
/// use burn_deconv::{Deconv2dOptions, Geometry, explicit};
///
/// let geometry = Geometry::new([1, 4, 3, 3], [2, 4, 3, 3], &Deconv2dOptions::new())?;
/// let full = Tensor::<4>::ones([1, 2, 7, 7], &Device::default());
/// assert_eq!(explicit::crop(full, &geometry).dims(), [1, 2, 6, 6]);
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
pub fn crop(full: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    assert_eq!(
        full.dims(),
        geometry.full_shape(),
        "crop: the full map's shape"
    );
    window(full, geometry)
}

/// Does what [`crop`] does, on a map that may continue past the full map's end.
pub(crate) fn window(mut map: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    let [.., h, w] = map.dims();
    let [height, width] = geometry.axes();
    let (rows, columns) = (height.kept(), width.kept());
    if (&rows, &columns) != (&(0..h), &(0..w)) {
        map = map.slice(s![.., .., rows, columns]);
    }
    let zeros = [(0, height.appended()), (0, width.appended())];
    if zeros == [(0, 0); 2] {
        return map;
    }
    map.pad(zeros, PadMode::Constant(0.0))
}

/// Adds the bias, `[c_out]`, to every value of its channel.
pub(crate) fn add_bias(output: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let channels = output.dims()[1];
    match bias {
        Some(bias) => output + bias.reshape([1, channels, 1, 1]),
        None => output,
    }
}
