//! The layer: [`Deconv2dLayerConfig`] makes a [`Deconv2dLayer`], which owns its weights.

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::geometry::check_parameters;
use crate::{
    Algorithm, Deconv2dError, Deconv2dOptions, Fan, Geometry, Padding, deconv2d, try_deconv2d,
};

/// Configuration of a [`Deconv2dLayer`]. The defaults are the article's: stride 2,
/// [`Padding::Same`].
///
/// Saved and loaded as JSON with [`Config::save`] and [`Config::load`]; what this version writes, a
/// later one reads.
///
/// # Checkerboards
///
/// Unless the stride divides the kernel size on both axes (with a dilation: and has no factor in
/// common with it), some outputs see more taps than others, and a map that should be smooth comes
/// out as a checkerboard. The defaults' kernel 3 at stride 2 is such a case: 4, 2, 2 and 1 taps.
/// [`overlap`](crate::overlap) counts them; [`init::icnr`](crate::init::icnr) begins without the
/// pattern, on a kernel size that the stride divides.
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
    /// Distance between two input values in the zero-filled map, `[h, w]`. Default: `[2, 2]`.
    #[config(default = "[2, 2]")]
    pub stride: [usize; 2],
    /// Distance between two kernel taps in the zero-filled map, `[h, w]`. Default: `[1, 1]`.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// Into how many groups the channels are divided. Default: 1.
    #[config(default = "1")]
    pub groups: usize,
    /// Which part of the full map is the output. Default: [`Padding::Same`].
    #[config(default = "Padding::Same")]
    pub padding: Padding,
    /// How many more values to keep at the end, `[h, w]`, with [`Padding::Explicit`] alone
    /// (elsewhere called `output_padding`). Default: `[0, 0]`.
    #[config(default = "[0, 0]")]
    pub padding_out: [usize; 2],
    /// If a bias is added to the output. Default: true.
    #[config(default = true)]
    pub bias: bool,
    /// How weight and bias are initialised. Default: uniform within `±1 / sqrt(fan_in)`, with
    /// [`Fan::Burn`] the bounds of Burn's and PyTorch's `ConvTranspose2d`. See also
    /// [`init`](crate::init).
    #[config(
        default = "Initializer::KaimingUniform { gain: 1.0 / f64::sqrt(3.0), fan_out_only: false }"
    )]
    pub initializer: Initializer,
    /// How the initializer's `fan_in` and `fan_out` are counted. Default: [`Fan::Burn`], `fan_in =
    /// out / groups * k_h * k_w`.
    #[config(default = "Fan::Burn")]
    pub fan: Fan,
    /// How the result is computed. Default: [`Algorithm::SkipZeros`].
    #[config(default = "Algorithm::SkipZeros")]
    pub algorithm: Algorithm,
}

/// Applies a 2D transposed convolution over input tensors: zero-fill, correlate, crop.
///
/// Made by [`Deconv2dLayerConfig::init`]. As a field of a Burn model it trains, saves and loads as
/// any other module.
///
/// # Conventions
///
/// | who | weight layout | kernel |
/// |---|---|---|
/// | this layer, Equinox | `[out, in / groups, k_h, k_w]` | a correlation kernel over the zero-filled map |
/// | Burn, PyTorch, ONNX | `[in, out / groups, k_h, k_w]` | turned by 180 degrees against ours |
/// | TensorFlow, Keras | `[k_h, k_w, out, in]` | turned by 180 degrees against ours |
/// | Flax, JAX | `[k_h, k_w, in, out]` | as ours |
///
/// [`KernelLayout`](crate::KernelLayout) converts them all.
///
/// # Records
///
/// [`Module::save_file`] writes Burn's own container, burnpack (`.bpk`), with one or two tensors
/// under the names of the fields: `weight`, `[out, in / groups, k_h, k_w]` in the layout above,
/// and, if there is one, `bias`, `[out]`, both in the data type that they have. A model puts the
/// layer's path before them, `decoder.up.weight`. The record holds no stride and no padding: keep
/// the config beside it. What this version writes, a later one reads.
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
    /// Initializes a new [`Deconv2dLayer`]. As everywhere in Burn, the parameters are drawn when
    /// they are first used.
    ///
    /// # Panics
    ///
    /// With the message of the [`Deconv2dError`] that [`try_init`](Self::try_init) returns in its
    /// place.
    #[track_caller]
    pub fn init(&self, device: &Device) -> Deconv2dLayer {
        self.try_init(device)
            .unwrap_or_else(|error| panic!("Deconv2dLayerConfig::init: {error}"))
    }

    /// As [`init`](Self::init), with an error in place of a panic.
    ///
    /// # Errors
    ///
    /// A zero where one is the least, channels that `groups` does not divide, a `padding_out` that
    /// is too large or goes with another padding than `Explicit`, a weight too large for memory,
    /// and an initializer that cannot fill the bias.
    pub fn try_init(&self, device: &Device) -> Result<Deconv2dLayer, Deconv2dError> {
        check_parameters(self.channels, self.kernel_size, &self.options(None))?;
        if self.bias && matches!(self.initializer, Initializer::Orthogonal { .. }) {
            return Err(Deconv2dError::BiasInitializer);
        }

        let (init, [fan_in, fan_out]) = (&self.initializer, self.fans().map(Some));
        let weight = init.init_with(self.weight_shape(), fan_in, fan_out, device);
        let c_out = self.channels[1];
        let bias = self
            .bias
            .then(|| init.init_with([c_out], fan_in, fan_out, device));
        Ok(Deconv2dLayer {
            weight,
            bias,
            config: self.clone(),
        })
    }

    /// `[fan_in, fan_out]` for the initializer; the parameters must have been checked.
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
    /// All of [`Geometry::new`]'s.
    pub fn output_size(&self, input: [usize; 2]) -> Result<[usize; 2], Deconv2dError> {
        let options = self.options(None);
        check_parameters(self.channels, self.kernel_size, &options)?;
        let [h_in, w_in] = input;
        let input = [1, self.channels[0], h_in, w_in];
        let [_, _, h_out, w_out] =
            Geometry::new(input, self.weight_shape(), &options)?.output_shape();
        Ok([h_out, w_out])
    }

    /// `[c_out, c_in / groups, k_h, k_w]`; `groups` must have been checked.
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
    /// Applies the forward pass on the input tensor.
    ///
    /// See also [`deconv2d`], where its three steps are.
    ///
    /// # Shapes
    ///
    /// - input: `[n, channels_in, h, w]`
    /// - output: `[n, channels_out, h_out, w_out]`, the size of
    ///   [`Deconv2dLayerConfig::output_size`]
    ///
    /// # Panics
    ///
    /// With the message of the [`Deconv2dError`] that [`try_forward`](Self::try_forward) returns in
    /// its place.
    #[track_caller]
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        deconv2d(
            input,
            self.weight.val(),
            self.bias_val(),
            self.config.options(None),
        )
    }

    /// As [`forward`](Self::forward), with the output size chosen: TensorFlow's `output_shape`,
    /// PyTorch's `output_size`. It replaces `padding_out`.
    ///
    /// Of the sizes from which a strided convolution leads back to one input size, the layer's own
    /// output size is just one; an encoder that made 20 rows of 39 needs a decoder that makes 39
    /// of 20.
    ///
    /// # Shapes
    ///
    /// - input: `[n, channels_in, h, w]`
    /// - output: `[n, channels_out, output_size[0], output_size[1]]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and for a size that the table of [`Padding`] rules out.
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
        deconv2d(
            input,
            self.weight.val(),
            self.bias_val(),
            self.config.options(Some(output_size)),
        )
    }

    /// As [`forward`](Self::forward), with an error in place of a panic.
    ///
    /// # Errors
    ///
    /// All of [`try_deconv2d`]'s.
    pub fn try_forward(&self, input: Tensor<4>) -> Result<Tensor<4>, Deconv2dError> {
        try_deconv2d(
            input,
            self.weight.val(),
            self.bias_val(),
            self.config.options(None),
        )
    }

    /// As [`forward_to`](Self::forward_to), with an error in place of a panic.
    ///
    /// # Errors
    ///
    /// All of [`try_deconv2d`]'s.
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
        let options = self.config.options(Some(output_size));
        try_deconv2d(input, self.weight.val(), self.bias_val(), options)
    }

    fn bias_val(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(|bias| bias.val())
    }
}
