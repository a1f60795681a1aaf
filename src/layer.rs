//! The layer: a [`Deconv2dLayerConfig`] makes a [`Deconv2dLayer`], which owns weight and bias and
//! passes them to [`try_deconv2d`].

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::error::or_panic;
use crate::geometry::check_parameters;
use crate::{Algorithm, Deconv2dError, Deconv2dOptions, Fan, Geometry, Padding, try_deconv2d};

/// Configuration of a [`Deconv2dLayer`]. The defaults are those of the article: stride 2,
/// [`Padding::Same`].
///
/// [`Config::save`] and [`Config::load`] write and read it as JSON. Later versions of this crate
/// read what this one writes.
///
/// # Checkerboards
///
/// If the stride does not divide the kernel size, some outputs get more taps than others, and a
/// smooth map becomes a checkerboard. The default stride 2 with kernel 3 is such a case.
/// [`overlap`](crate::overlap) counts the taps. [`init::icnr`](crate::init::icnr) starts without
/// the pattern.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::{Deconv2dLayerConfig, Padding};
///
/// // Keras: Conv2DTranspose(16, kernel_size=3, strides=2, padding="same") on 32 channels
/// let device = Device::default();
/// let layer = Deconv2dLayerConfig::new([32, 16], [3, 3]).init(&device);
/// let output = layer.forward(Tensor::zeros([1, 32, 8, 8], &device));
/// assert_eq!(output.dims(), [1, 16, 16, 16]);
///
/// // PyTorch: ConvTranspose2d(32, 16, 4, stride=2, padding=1)
/// let config = Deconv2dLayerConfig::new([32, 16], [4, 4])
///     .with_padding(Padding::Explicit(1, 1, 1, 1));
/// assert_eq!(config.output_size([8, 8])?, [16, 16]);
/// # Ok::<(), burn_deconv::Deconv2dError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct Deconv2dLayerConfig {
    /// The number of channels, `[in, out]`.
    pub channels: [usize; 2],
    /// The size of the kernel, `[h, w]`.
    pub kernel_size: [usize; 2],
    /// See [`Deconv2dOptions::stride`]. Default: `[2, 2]`.
    #[config(default = "[2, 2]")]
    pub stride: [usize; 2],
    /// See [`Deconv2dOptions::dilation`]. Default: `[1, 1]`.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// See [`Deconv2dOptions::groups`]. Default: 1.
    #[config(default = "1")]
    pub groups: usize,
    /// See [`Padding`]. Default: [`Padding::Same`].
    #[config(default = "Padding::Same")]
    pub padding: Padding,
    /// See [`Deconv2dOptions::padding_out`]. Default: `[0, 0]`.
    #[config(default = "[0, 0]")]
    pub padding_out: [usize; 2],
    /// Whether a bias is added to the output. Default: true.
    #[config(default = true)]
    pub bias: bool,
    /// How weight and bias are initialized. Default: uniform within `±1 / sqrt(fan_in)`. With
    /// [`Fan::Burn`] these are the bounds of `ConvTranspose2d` in Burn and PyTorch.
    /// [`init`](crate::init) has more.
    #[config(
        default = "Initializer::KaimingUniform { gain: 1.0 / f64::sqrt(3.0), fan_out_only: false }"
    )]
    pub initializer: Initializer,
    /// How the initializer's `fan_in` and `fan_out` are counted. Default: [`Fan::Burn`].
    #[config(default = "Fan::Burn")]
    pub fan: Fan,
    /// See [`Algorithm`]. Default: [`Algorithm::SkipZeros`].
    #[config(default = "Algorithm::SkipZeros")]
    pub algorithm: Algorithm,
    // `Config` refuses JSON that lacks a field, unless the field is an `Option`. So every field
    // that is added later must be an `Option`, or configs of this version no longer load.
}

/// A 2D transposed convolution: zero-fill, correlate, crop.
///
/// [`Deconv2dLayerConfig::init`] makes it. As a field of a Burn model it trains, saves and loads
/// like any other module. Other frameworks store the weight in other layouts:
/// [`KernelLayout`](crate::KernelLayout) has the table and the conversions.
///
/// # Records
///
/// [`Module::save_file`] writes Burn's own format, burnpack (`.bpk`). It holds `weight`, `[out, in
/// / groups, k_h, k_w]`, and `bias`, `[out]`, if there is one. A model adds the layer's path, as in
/// `decoder.up.weight`. The record holds no stride and no padding, so save the config too. Later
/// versions of this crate read what this one writes.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig};
///
/// let device = Device::default().autodiff();
/// let layer: Deconv2dLayer = Deconv2dLayerConfig::new([4, 2], [3, 3]).init(&device);
/// let output = layer.forward(Tensor::ones([1, 4, 5, 7], &device));
/// assert_eq!(output.dims(), [1, 2, 10, 14]);
///
/// let gradients = output.sum().backward();
/// assert_eq!(layer.weight.grad(&gradients).unwrap().dims(), [2, 4, 3, 3]);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Deconv2dLayer {
    /// Tensor of shape `[channels_out, channels_in / groups, kernel_size_1, kernel_size_2]`.
    pub weight: Param<Tensor<4>>,
    /// Tensor of shape `[channels_out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// What the layer was made with.
    pub config: Deconv2dLayerConfig,
}

impl ModuleDisplay for Deconv2dLayer {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let config = &self.config;
        content
            .add_debug_attribute("channels", &config.channels)
            .add_debug_attribute("stride", &config.stride)
            .add_debug_attribute("kernel_size", &config.kernel_size)
            .add_debug_attribute("dilation", &config.dilation)
            .add("groups", &config.groups)
            .add_debug_attribute("padding", &config.padding)
            .add_debug_attribute("padding_out", &config.padding_out)
            .add_debug_attribute("algorithm", &config.algorithm)
            .optional()
    }
}

impl Deconv2dLayerConfig {
    /// The config of PyTorch's `ConvTranspose2d`, with its arguments in its order.
    ///
    /// The size and the place of the output, and the distribution of the initial values, are
    /// PyTorch's. `dilation`, `groups` and `bias` are [`with_dilation`](Self::with_dilation),
    /// [`with_groups`](Self::with_groups) and [`with_bias`](Self::with_bias), with PyTorch's
    /// defaults. Arguments are checked by [`init`](Self::init), which panics, or by
    /// [`try_init`](Self::try_init), which returns an error.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_deconv::Deconv2dLayerConfig;
    ///
    /// // ConvTranspose2d(64, 32, kernel_size=3, stride=2, padding=1, output_padding=1)
    /// let config = Deconv2dLayerConfig::pytorch([64, 32], [3, 3], [2, 2], [1, 1], [1, 1]);
    /// assert_eq!(config.output_size([8, 8])?, [16, 16]);
    ///
    /// // output_padding must be smaller than the stride or the dilation, as in PyTorch.
    /// let config = Deconv2dLayerConfig::pytorch([64, 32], [3, 3], [2, 2], [1, 1], [2, 0]);
    /// assert!(config.try_init(&Default::default()).is_err());
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn pytorch(
        channels: [usize; 2],
        kernel_size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        output_padding: [usize; 2],
    ) -> Self {
        let [p_h, p_w] = padding;
        Self::new(channels, kernel_size)
            .with_stride(stride)
            .with_padding(Padding::Explicit(p_h, p_w, p_h, p_w))
            .with_padding_out(output_padding)
    }

    /// The config of Keras' `Conv2DTranspose`, with its arguments in its order. `"same"` is
    /// [`Padding::Same`], `"valid"` is [`Padding::Valid`].
    ///
    /// `channels` is `[in, filters]`: Keras reads the first number from the input. The size and the
    /// place of the output are those of Keras. The initial values are not: Keras starts with
    /// `glorot_uniform` and a bias of zero, this crate as PyTorch does. `dilation_rate` and
    /// `use_bias` are [`with_dilation`](Self::with_dilation) and [`with_bias`](Self::with_bias);
    /// `output_padding` is [`forward_to`](Deconv2dLayer::forward_to). Arguments are checked by
    /// [`init`](Self::init), which panics, or by [`try_init`](Self::try_init), which returns an
    /// error.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_deconv::{Deconv2dLayerConfig, Padding};
    ///
    /// // On 64 channels: Conv2DTranspose(32, kernel_size=3, strides=2, padding="same")
    /// let same = Deconv2dLayerConfig::keras([64, 32], [3, 3], [2, 2], Padding::Same);
    /// assert_eq!(same.output_size([8, 8])?, [16, 16]);
    ///
    /// // Conv2DTranspose(32, kernel_size=3, strides=2)
    /// let valid = Deconv2dLayerConfig::keras([64, 32], [3, 3], [2, 2], Padding::Valid);
    /// assert_eq!(valid.output_size([8, 8])?, [17, 17]);
    /// # Ok::<(), burn_deconv::Deconv2dError>(())
    /// ```
    pub fn keras(
        channels: [usize; 2],
        kernel_size: [usize; 2],
        strides: [usize; 2],
        padding: Padding,
    ) -> Self {
        Self::new(channels, kernel_size)
            .with_stride(strides)
            .with_padding(padding)
    }

    /// Initializes a new [`Deconv2dLayer`]. As in all of Burn, the random values are made when a
    /// parameter is first used.
    ///
    /// # Panics
    ///
    /// With the message of the [`Deconv2dError`] that [`try_init`](Self::try_init) returns.
    #[track_caller]
    pub fn init(&self, device: &Device) -> Deconv2dLayer {
        or_panic("Deconv2dLayerConfig::init", self.try_init(device))
    }

    /// Does what [`init`](Self::init) does, and returns an error where that panics.
    ///
    /// # Errors
    ///
    /// Those errors of [`Geometry::new`] that do not depend on the input, and an initializer that
    /// cannot fill the bias.
    pub fn try_init(&self, device: &Device) -> Result<Deconv2dLayer, Deconv2dError> {
        check_parameters(self.channels, self.kernel_size, &self.options(None))?;
        if self.bias && matches!(self.initializer, Initializer::Orthogonal { .. }) {
            return Err(Deconv2dError::BiasInitializer);
        }

        let [_, c_out] = self.channels;
        let weight = self.initialize(self.weight_shape(), device);
        let bias = self.bias.then(|| self.initialize([c_out], device));
        Ok(Deconv2dLayer {
            weight,
            bias,
            config: self.clone(),
        })
    }

    /// A parameter from the initializer.
    fn initialize<const D: usize>(&self, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
        let [fan_in, fan_out] = self.fans().map(Some);
        self.initializer.init_with(shape, fan_in, fan_out, device)
    }

    /// `[fan_in, fan_out]` for the initializer. The parameters must have been checked.
    pub(crate) fn fans(&self) -> [usize; 2] {
        let [c_in, c_out] = self.channels;
        let taps = self.kernel_size[0] * self.kernel_size[1];
        let reached = c_out / self.groups * taps;
        match self.fan {
            Fan::Burn => [reached, c_in * taps],
            Fan::Taps => {
                let phases = self.stride[0] as f64 * self.stride[1] as f64;
                let seen = (c_in / self.groups * taps) as f64 / phases;
                [seen.round().max(1.0) as usize, reached]
            }
        }
    }

    /// The output's size, `[h, w]`, for an input of the size `[h, w]`.
    ///
    /// # Errors
    ///
    /// All errors of [`Geometry::new`].
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2], Deconv2dError> {
        let options = self.options(None);
        check_parameters(self.channels, self.kernel_size, &options)?;
        let [h_in, w_in] = input;
        let input = [1, self.channels[0], h_in, w_in];
        let [_, _, h_out, w_out] =
            Geometry::new(input, self.weight_shape(), &options)?.output_shape();
        Ok([h_out, w_out])
    }

    /// `[c_out, c_in / groups, k_h, k_w]`. The parameters must have been checked.
    pub(crate) fn weight_shape(&self) -> [usize; 4] {
        let ([c_in, c_out], [k_h, k_w]) = (self.channels, self.kernel_size);
        [c_out, c_in / self.groups, k_h, k_w]
    }

    pub(crate) fn options(&self, output_size: Option<[usize; 2]>) -> Deconv2dOptions {
        Deconv2dOptions {
            stride: self.stride,
            dilation: self.dilation,
            groups: self.groups,
            padding: self.padding,
            padding_out: self.padding_out,
            output_size,
            algorithm: self.algorithm,
        }
    }
}

impl Deconv2dLayer {
    /// Applies the layer.
    ///
    /// # Shapes
    ///
    /// - input: `[n, channels_in, h, w]`
    /// - output: `[n, channels_out, h_out, w_out]`, with the size of
    ///   [`Deconv2dLayerConfig::output_size`]
    ///
    /// # Panics
    ///
    /// With the message of the [`Deconv2dError`] that [`try_forward`](Self::try_forward) returns.
    #[track_caller]
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        or_panic("Deconv2dLayer::forward", self.try_forward(input))
    }

    /// Applies the layer with a chosen output size (`output_shape` in TensorFlow, `output_size` in
    /// PyTorch). It replaces `padding_out`.
    ///
    /// A strided convolution maps several input sizes to one output size, so an encoder's sizes are
    /// not always those that the decoder would choose. An encoder at stride 2 turns 39 rows into
    /// 20, and 40 rows into 20 as well.
    ///
    /// # Shapes
    ///
    /// - input: `[n, channels_in, h, w]`
    /// - output: `[n, channels_out, output_size[0], output_size[1]]`
    ///
    /// # Panics
    ///
    /// With the message of the [`Deconv2dError`] that [`try_forward_to`](Self::try_forward_to)
    /// returns.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_deconv::Deconv2dLayerConfig;
    ///
    /// let device = Device::default();
    /// let layer = Deconv2dLayerConfig::new([3, 3], [3, 3]).init(&device);
    /// let input = Tensor::ones([1, 3, 20, 20], &device);
    /// assert_eq!(layer.forward(input.clone()).dims(), [1, 3, 40, 40]);
    /// assert_eq!(layer.forward_to(input, [39, 39]).dims(), [1, 3, 39, 39]);
    /// ```
    #[track_caller]
    pub fn forward_to(&self, input: Tensor<4>, output_size: [usize; 2]) -> Tensor<4> {
        let output = self.try_forward_to(input, output_size);
        or_panic("Deconv2dLayer::forward_to", output)
    }

    /// Does what [`forward`](Self::forward) does, and returns an error where that panics.
    ///
    /// # Errors
    ///
    /// All errors of [`try_deconv2d`].
    pub fn try_forward(&self, input: Tensor<4>) -> Result<Tensor<4>, Deconv2dError> {
        self.apply(input, None)
    }

    /// Does what [`forward_to`](Self::forward_to) does, and returns an error where that panics.
    ///
    /// # Errors
    ///
    /// All errors of [`try_deconv2d`], such as a size that the table of [`Padding`] does not have.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_deconv::Deconv2dLayerConfig;
    ///
    /// let device = Device::default();
    /// let layer = Deconv2dLayerConfig::new([3, 3], [3, 3]).init(&device);
    /// let error = layer.try_forward_to(Tensor::ones([1, 3, 20, 20], &device), [38, 40]);
    /// assert_eq!(
    ///     error.unwrap_err().to_string(),
    ///     "requested an output height of 38, but legal sizes range from 39 to 40 for an input \
    ///      height of 20"
    /// );
    /// ```
    pub fn try_forward_to(
        &self,
        input: Tensor<4>,
        output_size: [usize; 2],
    ) -> Result<Tensor<4>, Deconv2dError> {
        self.apply(input, Some(output_size))
    }

    fn apply(
        &self,
        input: Tensor<4>,
        output_size: Option<[usize; 2]>,
    ) -> Result<Tensor<4>, Deconv2dError> {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        let options = self.config.options(output_size);
        try_deconv2d(input, self.weight.val(), bias, options)
    }
}
