//! Burn's own layer, `burn::nn::conv::ConvTranspose2d`, into ours and back.

use burn::module::Param;
use burn::nn::conv::ConvTranspose2d;
use burn::tensor::{Tensor, s};

use crate::geometry::{check_parameters, crops};
use crate::{
    Axis, Deconv2dError, Deconv2dLayer, Deconv2dLayerConfig, Deconv2dOptions, KernelLayout, Padding,
};

/// What is to be sliced off a map's four sides, in rows and columns.
///
/// [`Deconv2dLayer::to_conv_transpose2d_and_crop`] returns it.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::Crop;
///
/// let crop = Crop { top: 0, left: 1, bottom: 1, right: 2 };
/// let map = Tensor::<4>::ones([1, 2, 7, 9], &Device::default());
/// assert_eq!(crop.apply(map).dims(), [1, 2, 6, 6]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crop {
    /// Rows at the beginning.
    pub top: usize,
    /// Columns at the beginning.
    pub left: usize,
    /// Rows at the end.
    pub bottom: usize,
    /// Columns at the end.
    pub right: usize,
}

impl Crop {
    /// Slices a map's sides off.
    ///
    /// # Shapes
    ///
    /// - map: `[n, c, h, w]`
    /// - output: `[n, c, h - top - bottom, w - left - right]`
    ///
    /// # Panics
    ///
    /// As Burn's `slice`, if the map is smaller than the crop.
    pub fn apply(&self, map: Tensor<4>) -> Tensor<4> {
        let [.., h, w] = map.dims();
        let rows = self.top..h.saturating_sub(self.bottom);
        let columns = self.left..w.saturating_sub(self.right);
        map.slice(s![.., .., rows, columns])
    }
}

impl Deconv2dLayer {
    /// Makes the layer that computes what `conv`, a layer of Burn, computes.
    ///
    /// Values, data type, device, parameter ids and what is trained stay as they are; the weight
    /// changes its layout, and a symmetric `padding` of `[p_h, p_w]` becomes
    /// `Padding::Explicit(p_h, p_w, p_h, p_w)`. The channels and the kernel size are those of the
    /// weight. The config's initializer, which has no more to do, is the default.
    ///
    /// # Errors
    ///
    /// Parameters that [`try_init`](Deconv2dLayerConfig::try_init) refuses, above all a
    /// `padding_out` that is smaller neither than the stride nor than the dilation, and a weight or
    /// bias whose shape does not fit the groups.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::nn::conv::ConvTranspose2dConfig;
    /// use burn::tensor::{Device, Tensor};
    /// use burn_deconv::Deconv2dLayer;
    ///
    /// let device = Device::default();
    /// let burns = ConvTranspose2dConfig::new([1, 1], [2, 3]).with_stride([2, 2]).init(&device);
    /// let ours = Deconv2dLayer::from_conv_transpose2d(&burns)?;
    ///
    /// let one = Tensor::<4>::ones([1, 1, 1, 1], &device);
    /// let [ours, burns] = [ours.forward(one.clone()), burns.forward(one)];
    /// ours.into_data().assert_eq(&burns.into_data(), true);
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn from_conv_transpose2d(conv: &ConvTranspose2d) -> Result<Self, Deconv2dError> {
        let groups = conv.groups;
        let weight = KernelLayout::Burn.to_article(conv.weight.val(), groups)?;
        let [c_out, c_in_per_group, k_h, k_w] = weight.dims();
        let [p_h, p_w] = conv.padding;
        let config = Deconv2dLayerConfig::new([c_in_per_group * groups, c_out], [k_h, k_w])
            .with_stride(conv.stride)
            .with_dilation(conv.dilation)
            .with_groups(groups)
            .with_padding(Padding::Explicit(p_h, p_w, p_h, p_w))
            .with_padding_out(conv.padding_out)
            .with_bias(conv.bias.is_some());
        check_parameters(config.channels, config.kernel_size, &config.options(None))?;
        check_bias(conv.bias.as_ref(), c_out)?;
        Ok(Self {
            weight: with_value(&conv.weight, weight),
            bias: conv.bias.as_ref().map(keep),
            config,
        })
    }

    /// Makes the layer of Burn that computes what this one computes.
    ///
    /// Values, data type, device, parameter ids and what is trained stay as they are; the weight
    /// changes its layout.
    ///
    /// Burn's layer crops one number, `padding`, from both sides and gives back less than the
    /// larger of stride and dilation at the end, `padding_out`. So it must be that, on each axis,
    ///
    /// ```text
    /// b - max(s, d) < e <= b
    /// ```
    ///
    /// where `b` values are cropped at the beginning and `e` at the end, zeros appended if `e` is
    /// negative. [`Padding::Same`] fits if `k` is less than `s` or `k - s` is even (with a dilation,
    /// `(k - 1) * d + 1` for `k`), [`Padding::SameLower`] also if `s` or `d` is more than 1, and
    /// [`Padding::Valid`] always.
    ///
    /// # Errors
    ///
    /// [`Deconv2dError::NotSymmetric`] for any other crop, such as the default's 0 and 1; for it
    /// there is [`to_conv_transpose2d_and_crop`](Self::to_conv_transpose2d_and_crop). Parameters
    /// that [`try_init`](Deconv2dLayerConfig::try_init) refuses, and a weight or bias whose shape
    /// does not fit the groups.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_deconv::Deconv2dLayerConfig;
    ///
    /// let device = Device::default();
    /// let layer = Deconv2dLayerConfig::new([6, 4], [4, 4]).init(&device);
    /// let burns = layer.to_conv_transpose2d()?;
    /// assert_eq!((burns.padding, burns.padding_out), ([1, 1], [0, 0]));
    /// assert_eq!(burns.weight.dims(), [6, 4, 4, 4]);
    ///
    /// let layer = Deconv2dLayerConfig::new([6, 4], [4, 3]).init(&device);
    /// assert_eq!(
    ///     layer.to_conv_transpose2d().unwrap_err().to_string(),
    ///     "Burn's ConvTranspose2d crops both sides alike and gives back up to 1 at the end, but \
    ///      this layer crops 0 at the beginning and 1 at the end of the width axis (negative: zeros \
    ///      appended): from 0 at the beginning, -1 to 0 at the end is legal; call \
    ///      to_conv_transpose2d_and_crop and apply the crop to its output"
    /// );
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn to_conv_transpose2d(&self) -> Result<ConvTranspose2d, Deconv2dError> {
        let options = self.config.options(None);
        let crops = crops(self.weight.dims(), &options)?;
        for axis in [Axis::Height, Axis::Width] {
            let (begin, end) = crops[axis as usize];
            let most = most(axis, &options);
            if padding_out(begin, end, most).is_none() {
                return Err(Deconv2dError::NotSymmetric {
                    axis,
                    begin,
                    end,
                    most,
                });
            }
        }
        self.to_conv_transpose2d_and_crop().map(|(conv, _)| conv)
    }

    /// As [`to_conv_transpose2d`](Self::to_conv_transpose2d), for every crop: what Burn's layer
    /// cannot crop is left on its output, and the [`Crop`] takes it off, whatever the input's size.
    ///
    /// # Errors
    ///
    /// Parameters that [`try_init`](Deconv2dLayerConfig::try_init) refuses, and a weight or bias
    /// whose shape does not fit the groups.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_deconv::{Crop, Deconv2dLayerConfig};
    ///
    /// let device = Device::default();
    /// let layer = Deconv2dLayerConfig::new([4, 2], [3, 3]).init(&device); // the article's
    /// let (burns, crop) = layer.to_conv_transpose2d_and_crop()?;
    /// assert_eq!(crop, Crop { bottom: 1, right: 1, ..Crop::default() });
    ///
    /// let output = burns.forward(Tensor::ones([1, 4, 3, 3], &device));
    /// assert_eq!(output.dims(), [1, 2, 7, 7]);
    /// assert_eq!(crop.apply(output).dims(), [1, 2, 6, 6]);
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn to_conv_transpose2d_and_crop(&self) -> Result<(ConvTranspose2d, Crop), Deconv2dError> {
        let options = self.config.options(None);
        let [c_out, c_in_per_group, k_h, k_w] = self.weight.dims();
        let crops = crops(self.weight.dims(), &options)?;
        check_bias(self.bias.as_ref(), c_out)?;
        let weight = KernelLayout::Burn.from_article(self.weight.val(), options.groups)?;

        let [height, width] = [Axis::Height, Axis::Width].map(|axis| {
            let (begin, end) = crops[axis as usize];
            split(begin, end, most(axis, &options))
        });
        let conv = ConvTranspose2d {
            weight: with_value(&self.weight, weight),
            bias: self.bias.as_ref().map(keep),
            stride: options.stride,
            kernel_size: [k_h, k_w],
            dilation: options.dilation,
            groups: options.groups,
            padding: [height.padding, width.padding],
            padding_out: [height.padding_out, width.padding_out],
            channels: [c_in_per_group * options.groups, c_out],
        };
        let crop = Crop {
            top: height.begin,
            left: width.begin,
            bottom: height.end,
            right: width.end,
        };
        Ok((conv, crop))
    }
}

/// What `padding_out` must be smaller than.
fn most(axis: Axis, options: &Deconv2dOptions) -> usize {
    options.stride[axis as usize].max(options.dilation[axis as usize])
}

/// The `padding_out` with which a `padding` of `begin` crops `end` at the end, if it is legal.
fn padding_out(begin: usize, end: isize, most: usize) -> Option<usize> {
    let back = usize::try_from(begin as isize - end).ok()?;
    (back < most).then_some(back)
}

/// One axis of Burn's layer, and what is left to crop.
struct Split {
    padding: usize,
    padding_out: usize,
    begin: usize,
    end: usize,
}

/// `begin = padding + split.begin` and `end = padding - padding_out + split.end`.
fn split(begin: usize, end: isize, most: usize) -> Split {
    let kept = end.max(0) as usize;
    match padding_out(begin, end, most) {
        Some(padding_out) => Split {
            padding: begin,
            padding_out,
            begin: 0,
            end: 0,
        },
        // Burn's layer crops what both sides have in common. Zeros to append, less than `most`,
        // come with a common crop of 0.
        None => {
            let padding = begin.min(kept);
            Split {
                padding,
                padding_out: end.min(0).unsigned_abs(),
                begin: begin - padding,
                end: kept - padding,
            }
        }
    }
}

fn check_bias(bias: Option<&Param<Tensor<1>>>, expected: usize) -> Result<(), Deconv2dError> {
    match bias.map(|bias| bias.dims()[0]) {
        Some(got) if got != expected => Err(Deconv2dError::BiasLength { got, expected }),
        _ => Ok(()),
    }
}

/// The parameter with another value: the same id, trained or frozen as before.
fn with_value<const D: usize>(param: &Param<Tensor<D>>, value: Tensor<D>) -> Param<Tensor<D>> {
    param
        .clone()
        .map(|before| value.detach().set_require_grad(before.is_require_grad()))
}

/// A parameter of its own with the same value.
fn keep(bias: &Param<Tensor<1>>) -> Param<Tensor<1>> {
    with_value(bias, bias.val())
}
