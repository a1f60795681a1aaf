//! Conversions from and to Burn's own layer, `burn::nn::conv::ConvTranspose2d`, and its config.

use burn::module::Param;
use burn::nn::Initializer;
use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
use burn::tensor::{Tensor, s};

use crate::geometry::{check_parameters, with_the_crops_of};
use crate::{
    Axis, AxisGeometry, Deconv2dError, Deconv2dLayer, Deconv2dLayerConfig, Deconv2dOptions, Fan,
    KernelLayout,
};

/// How many rows and columns to remove from the four sides of a map.
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
    /// Crops a map.
    ///
    /// # Shapes
    ///
    /// - map: `[n, c, h, w]`
    /// - output: `[n, c, h - top - bottom, w - left - right]`
    ///
    /// # Panics
    ///
    /// If the map is smaller than the crop, as Burn's `slice` does.
    pub fn apply(&self, map: Tensor<4>) -> Tensor<4> {
        let [.., h, w] = map.dims();
        let rows = self.top..h.saturating_sub(self.bottom);
        let columns = self.left..w.saturating_sub(self.right);
        map.slice(s![.., .., rows, columns])
    }
}

/// The config of a layer that computes what Burn's layer computes, and starts with values of the
/// same distribution. So a model moves here by a change of type names.
///
/// Every option is carried over. `padding` of `[p_h, p_w]` becomes `Padding::Explicit(p_h, p_w, p_h,
/// p_w)`. Parameters are checked by [`init`](Deconv2dLayerConfig::init), as always.
///
/// Two initializers differ. `Orthogonal` makes the rows of the weight orthogonal: Burn's weight has
/// a row for each input channel, ours one for each output channel. Those that need a `fan_out`
/// (`Xavier*`, and `Kaiming*` with `fan_out_only`) panic in Burn's layer, and work here.
///
/// # Example
///
/// ```
/// use burn::nn::conv::ConvTranspose2dConfig;
/// use burn_deconv::{Deconv2dLayerConfig, Padding};
///
/// let burns = ConvTranspose2dConfig::new([32, 16], [4, 4]).with_padding([1, 1]);
/// let ours = Deconv2dLayerConfig::from(burns.clone());
/// assert_eq!(ours.padding, Padding::Explicit(1, 1, 1, 1));
/// assert_eq!(ours.stride, [1, 1]); // Burn's default, not ours
///
/// let again = ConvTranspose2dConfig::try_from(ours)?;
/// assert_eq!(again.to_string(), burns.to_string());
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
impl From<ConvTranspose2dConfig> for Deconv2dLayerConfig {
    fn from(burns: ConvTranspose2dConfig) -> Self {
        Self::pytorch(
            burns.channels,
            burns.kernel_size,
            burns.stride,
            burns.padding,
            burns.padding_out,
        )
        .with_dilation(burns.dilation)
        .with_groups(burns.groups)
        .with_bias(burns.bias)
        .with_initializer(burns.initializer)
    }
}

/// The way back. The `algorithm`, which changes no number, is dropped.
///
/// # Errors
///
/// [`Deconv2dError::NotSymmetric`] for a crop that Burn's layer cannot express;
/// [`Deconv2dLayer::to_conv_transpose2d`] has the rule. [`Deconv2dError::BurnInitializer`] for an
/// initializer that would give other values there. Also parameters that
/// [`try_init`](Deconv2dLayerConfig::try_init) refuses.
///
/// # Example
///
/// ```
/// use burn::nn::conv::ConvTranspose2dConfig;
/// use burn_deconv::Deconv2dLayerConfig;
///
/// let burns = ConvTranspose2dConfig::try_from(Deconv2dLayerConfig::new([32, 16], [4, 4]))?;
/// assert_eq!((burns.stride, burns.padding), ([2, 2], [1, 1]));
///
/// let error = ConvTranspose2dConfig::try_from(Deconv2dLayerConfig::new([32, 16], [4, 3]));
/// assert!(error.unwrap_err().to_string().contains("at the end of the width axis"));
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
impl TryFrom<Deconv2dLayerConfig> for ConvTranspose2dConfig {
    type Error = Deconv2dError;

    fn try_from(ours: Deconv2dLayerConfig) -> Result<Self, Deconv2dError> {
        let options = ours.options(None);
        check_parameters(ours.channels, ours.kernel_size, &options)?;
        let [height, width] = symmetric(ours.weight_shape(), &options)?;
        check_initializer(&ours)?;
        Ok(Self::new(ours.channels, ours.kernel_size)
            .with_stride(ours.stride)
            .with_dilation(ours.dilation)
            .with_groups(ours.groups)
            .with_padding([height.padding, width.padding])
            .with_padding_out([height.padding_out, width.padding_out])
            .with_bias(ours.bias)
            .with_initializer(ours.initializer))
    }
}

impl Deconv2dLayer {
    /// Converts a layer of Burn into one that computes the same.
    ///
    /// The weight changes its layout. Values, data type, device, parameter ids, and which
    /// parameters are trained stay the same. Burn's `padding` of `[p_h, p_w]` becomes
    /// `Padding::Explicit(p_h, p_w, p_h, p_w)`. Channels and kernel size come from the weight's
    /// shape. The config has the default initializer.
    ///
    /// # Errors
    ///
    /// Parameters that [`try_init`](Deconv2dLayerConfig::try_init) refuses, such as a `padding_out`
    /// that is too large, and a weight or bias whose shape does not fit the groups.
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
        let channels = [c_in_per_group * groups, c_out];
        let config = ConvTranspose2dConfig::new(channels, [k_h, k_w])
            .with_stride(conv.stride)
            .with_dilation(conv.dilation)
            .with_groups(groups)
            .with_padding(conv.padding)
            .with_padding_out(conv.padding_out)
            .with_bias(conv.bias.is_some());
        let config = Deconv2dLayerConfig::from(config);
        check_parameters(config.channels, config.kernel_size, &config.options(None))?;
        check_bias(conv.bias.as_ref(), c_out)?;
        Ok(Self {
            weight: with_value(&conv.weight, weight),
            bias: conv.bias.as_ref().map(keep),
            config,
        })
    }

    /// Converts the layer into one of Burn that computes the same.
    ///
    /// The weight changes its layout. Values, data type, device, parameter ids, and which
    /// parameters are trained stay the same.
    ///
    /// Burn's layer crops the same number, `padding`, on both sides, and its `padding_out` reduces
    /// the crop at the end by less than the larger of stride and dilation. With `b` cropped at the
    /// beginning and `e` at the end (a negative crop appends zeros), each axis must have
    ///
    /// ```text
    /// b - max(s, d) < e <= b
    /// ```
    ///
    /// [`Valid`](crate::Padding::Valid) always has this. [`Same`](crate::Padding::Same) has it if
    /// `k < s` or `k - s` is even (with a dilation, read `(k - 1) * d + 1` for `k`).
    /// [`SameLower`](crate::Padding::SameLower) also has it if `s` or `d` is more than 1.
    ///
    /// # Errors
    ///
    /// [`Deconv2dError::NotSymmetric`] for any other crop, such as the default's 0 and 1. For such
    /// layers there is [`to_conv_transpose2d_and_crop`](Self::to_conv_transpose2d_and_crop). Also
    /// parameters that [`try_init`](Deconv2dLayerConfig::try_init) refuses, and a weight or bias
    /// whose shape does not fit the groups.
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
    ///     "Burn's ConvTranspose2d cannot crop 0 at the beginning and 1 at the end of the width axis: \
    ///      with 0 at the beginning, -1 to 0 at the end is legal (a negative crop appends zeros); \
    ///      call to_conv_transpose2d_and_crop and apply the crop to the output"
    /// );
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn to_conv_transpose2d(&self) -> Result<ConvTranspose2d, Deconv2dError> {
        symmetric(self.weight.dims(), &self.config.options(None))?;
        self.to_conv_transpose2d_and_crop().map(|(conv, _)| conv)
    }

    /// Does what [`to_conv_transpose2d`](Self::to_conv_transpose2d) does, for every crop. Burn's
    /// layer crops what it can, and the [`Crop`] removes the rest from its output. It is the same
    /// for every input.
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
        let geometry = with_the_crops_of(self.weight.dims(), &options)?;
        check_bias(self.bias.as_ref(), c_out)?;
        let weight = KernelLayout::Burn.from_article(self.weight.val(), options.groups)?;

        let [height, width] = [Axis::Height, Axis::Width]
            .map(|axis| split(geometry.axes()[axis as usize], most(axis, &options)));
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

/// What Burn's layer crops on each axis, if it can crop all.
fn symmetric(weight: [usize; 4], options: &Deconv2dOptions) -> Result<[Split; 2], Deconv2dError> {
    let geometry = with_the_crops_of(weight, options)?;
    for axis in [Axis::Height, Axis::Width] {
        let crops = geometry.axes()[axis as usize];
        let most = most(axis, options);
        if padding_out(crops, most).is_none() {
            return Err(Deconv2dError::NotSymmetric {
                axis,
                begin: crops.crop_begin(),
                end: crops.crop_end(),
                most,
            });
        }
    }
    Ok([Axis::Height, Axis::Width]
        .map(|axis| split(geometry.axes()[axis as usize], most(axis, options))))
}

/// Burn's layer gives its initializer no `fan_out`, and the `fan_in` of [`Fan::Burn`].
fn check_initializer(config: &Deconv2dLayerConfig) -> Result<(), Deconv2dError> {
    let same_values = match config.initializer {
        Initializer::Constant { .. }
        | Initializer::Ones
        | Initializer::Zeros
        | Initializer::Uniform { .. }
        | Initializer::Normal { .. } => true,
        Initializer::KaimingUniform { fan_out_only, .. }
        | Initializer::KaimingNormal { fan_out_only, .. } => {
            let burns = config.clone().with_fan(Fan::Burn);
            !fan_out_only && config.fans()[0] == burns.fans()[0]
        }
        Initializer::XavierUniform { .. }
        | Initializer::XavierNormal { .. }
        | Initializer::Orthogonal { .. } => false,
    };
    if same_values {
        return Ok(());
    }
    Err(Deconv2dError::BurnInitializer {
        initializer: config.initializer.clone(),
        fan: config.fan,
    })
}

/// Burn's `padding_out` must be smaller than this.
fn most(axis: Axis, options: &Deconv2dOptions) -> usize {
    options.stride[axis as usize].max(options.dilation[axis as usize])
}

/// The `padding_out` with which Burn's layer has these crops, if it can have them.
fn padding_out(crops: &AxisGeometry, most: usize) -> Option<usize> {
    let given_back = usize::try_from(crops.crop_begin() as isize - crops.crop_end()).ok()?;
    (given_back < most).then_some(given_back)
}

/// The crops of one axis: what Burn's layer crops, and what is left to crop.
struct Split {
    padding: usize,
    padding_out: usize,
    begin: usize,
    end: usize,
}

fn split(crops: &AxisGeometry, most: usize) -> Split {
    let (begin, end) = (crops.crop_begin(), crops.crop_end());
    if let Some(padding_out) = padding_out(crops, most) {
        return Split {
            padding: begin,
            padding_out,
            begin: 0,
            end: 0,
        };
    }
    // Burn's layer crops what both sides have in common. If zeros are appended, fewer than `most`,
    // that is nothing.
    let cropped_at_end = end.max(0) as usize;
    let padding = begin.min(cropped_at_end);
    Split {
        padding,
        padding_out: end.min(0).unsigned_abs(),
        begin: begin - padding,
        end: cropped_at_end - padding,
    }
}

fn check_bias(bias: Option<&Param<Tensor<1>>>, expected: usize) -> Result<(), Deconv2dError> {
    match bias.map(|bias| bias.dims()[0]) {
        Some(got) if got != expected => Err(Deconv2dError::BiasLength { got, expected }),
        _ => Ok(()),
    }
}

/// The parameter with another value. It keeps its id, and whether it is trained.
fn with_value<const D: usize>(param: &Param<Tensor<D>>, value: Tensor<D>) -> Param<Tensor<D>> {
    param
        .clone()
        .map(|before| value.detach().set_require_grad(before.is_require_grad()))
}

/// A new parameter with the same value.
fn keep(bias: &Param<Tensor<1>>) -> Param<Tensor<1>> {
    with_value(bias, bias.val())
}
