//! FSRCNN (Dong, Loy and Tang, ECCV 2016, <https://arxiv.org/abs/1608.00367>): convolutions find
//! features at low resolution, and a transposed convolution, the head, makes the enlargement of them.

use std::f64::consts::SQRT_2;

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::interpolate::{Interpolate2d, Interpolate2dConfig, InterpolateMode};
use burn::nn::{Initializer, PRelu, PReluConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, Padding};

/// Height and width of the first kernel, of those that map, and of the head's.
const FEATURE_KERNEL: usize = 5;
const MAP_KERNEL: usize = 3;
const HEAD_KERNEL: usize = 9;

/// Which of the convolutions that map are followed by an activation.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum MapActivations {
    /// Each, as in the paper's code.
    Each,
    /// The last, as in the weights of <https://github.com/Nhat-Thanh/FSRCNN-Pytorch>.
    Last,
}

/// Where the head's output begins. The two differ by a pixel.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum HeadPadding {
    /// Keras' `Conv2DTranspose(.., padding="same")`, [`Padding::Same`].
    Keras,
    /// PyTorch's `ConvTranspose2d(.., padding=4, output_padding=scale - 1)`.
    PyTorch,
}

/// Configuration of an [`Fsrcnn`].
#[derive(Config, Debug, PartialEq)]
pub struct FsrcnnConfig {
    /// How much larger the output is: 2, 3 or 4.
    pub scale: usize,
    /// 1: luma; 3: luma and both chroma channels.
    #[config(default = "1")]
    pub channels: usize,
    /// The paper's d: channels of the features.
    #[config(default = "56")]
    pub features: usize,
    /// The paper's s: channels between shrinking and expanding.
    #[config(default = "12")]
    pub shrunk: usize,
    /// The paper's m: how many convolutions map.
    #[config(default = "4")]
    pub maps: usize,
    /// Where there are activations.
    #[config(default = "MapActivations::Each")]
    pub activations: MapActivations,
    /// Where the head's output begins.
    #[config(default = "HeadPadding::Keras")]
    pub head: HeadPadding,
    /// Adds bicubic enlargement, so that training starts from it and a short run pays. The paper
    /// does not.
    #[config(default = true)]
    pub skip: bool,
}

/// Enlarges images by a whole number.
#[derive(Module, Debug)]
pub struct Fsrcnn {
    feature_extract: Conv2d,
    activation_1: PRelu,
    shrink: Conv2d,
    activation_2: PRelu,
    maps: Vec<Conv2d>,
    /// After each of `maps` but the last; empty for [`MapActivations::Last`].
    map_activations: Vec<PRelu>,
    activation_3: PRelu,
    expand: Conv2d,
    activation_4: PRelu,
    pub deconv: Deconv2dLayer,
    skip: Option<Interpolate2d>,
}

impl FsrcnnConfig {
    /// Initializes a new [`Fsrcnn`].
    pub fn init(&self, device: &Device) -> Fsrcnn {
        let Self {
            channels,
            features,
            shrunk,
            ..
        } = *self;
        let conv = |channels, kernel| {
            Conv2dConfig::new(channels, [kernel, kernel])
                .with_padding(PaddingConfig2d::Same)
                .with_initializer(Initializer::KaimingNormal {
                    gain: SQRT_2,
                    fan_out_only: false,
                })
                .init(device)
        };
        let activation = |channels| {
            PReluConfig::new()
                .with_num_parameters(channels)
                .init(device)
        };
        let between = match self.activations {
            MapActivations::Each => self.maps.saturating_sub(1),
            MapActivations::Last => 0,
        };
        Fsrcnn {
            feature_extract: conv([channels, features], FEATURE_KERNEL),
            activation_1: activation(features),
            shrink: conv([features, shrunk], 1),
            activation_2: activation(shrunk),
            maps: (0..self.maps)
                .map(|_| conv([shrunk, shrunk], MAP_KERNEL))
                .collect(),
            map_activations: (0..between).map(|_| activation(shrunk)).collect(),
            activation_3: activation(shrunk),
            expand: conv([shrunk, features], 1),
            activation_4: activation(features),
            deconv: self.head().init(device),
            skip: self.skip.then(|| self.bicubic()),
        }
    }

    /// The last layer.
    pub fn head(&self) -> Deconv2dLayerConfig {
        let padding = match self.head {
            HeadPadding::Keras => Padding::Same,
            HeadPadding::PyTorch => {
                let before = HEAD_KERNEL / 2;
                let after = before + 1 - self.scale;
                Padding::Explicit(before, before, after, after)
            }
        };
        // With zero weights, a network with a skip starts as bicubic enlargement.
        let initializer = if self.skip {
            Initializer::Zeros
        } else {
            Initializer::Normal {
                mean: 0.0,
                std: 0.001,
            }
        };
        Deconv2dLayerConfig::new([self.features, self.channels], [HEAD_KERNEL, HEAD_KERNEL])
            .with_stride([self.scale, self.scale])
            .with_padding(padding)
            .with_initializer(initializer)
    }

    fn bicubic(&self) -> Interpolate2d {
        let scale = self.scale as f32;
        Interpolate2dConfig::new()
            .with_scale_factor(Some([scale, scale]))
            .with_mode(InterpolateMode::Cubic)
            .with_align_corners(false)
            .init()
    }

    /// Checks the sizes that a file may hold.
    ///
    /// # Errors
    ///
    /// What is wrong and what was expected, in words.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("scale", self.scale, 2..=4),
            ("channels", self.channels, 1..=3),
            ("features", self.features, 1..=1024),
            ("shrunk", self.shrunk, 1..=1024),
            ("maps", self.maps, 1..=64),
        ];
        for (name, value, range) in sizes {
            if !range.contains(&value) {
                let [first, last] = [range.start(), range.end()];
                return Err(format!("{name} is {value}, expected {first} to {last}"));
            }
        }
        if self.channels == 2 {
            return Err("channels is 2, expected 1 or 3".into());
        }
        Ok(())
    }

    /// An output pixel depends on no input pixel that is farther away than this from the one it
    /// lies in.
    pub fn reach(&self) -> usize {
        // Half of each kernel; the head's counts in output pixels, and may begin a pixel later.
        FEATURE_KERNEL / 2 + self.maps * (MAP_KERNEL / 2) + HEAD_KERNEL.div_ceil(self.scale)
    }
}

impl Fsrcnn {
    /// Applies the forward pass on the input tensor.
    ///
    /// # Shapes
    ///
    /// - low: `[n, channels, h, w]`
    /// - output: `[n, channels, scale * h, scale * w]`
    pub fn forward(&self, low: Tensor<4>) -> Tensor<4> {
        self.forward_with(low, |features| self.deconv.forward(features))
    }

    /// [`forward`](Self::forward) with another head, for comparisons.
    pub fn forward_with(
        &self,
        low: Tensor<4>,
        head: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Tensor<4> {
        let features = self.feature_extract.forward(low.clone());
        let features = self.activation_1.forward(features);
        let mut mapped = self.activation_2.forward(self.shrink.forward(features));
        for (index, map) in self.maps.iter().enumerate() {
            mapped = map.forward(mapped);
            if let Some(activation) = self.map_activations.get(index) {
                mapped = activation.forward(mapped);
            }
        }
        let mapped = self.activation_3.forward(mapped);
        let features = self.activation_4.forward(self.expand.forward(mapped));
        let output = head(features);
        match &self.skip {
            Some(skip) => output + skip.forward(low),
            None => output,
        }
    }

    /// The convolutions of `self` and the head of `other`, for another scale.
    pub fn with_head_of(self, other: Self) -> Self {
        Self {
            deconv: other.deconv,
            skip: other.skip,
            ..self
        }
    }

    /// The head of `self` with the weights of another's, trained for another scale.
    pub fn with_head_weights_of(mut self, other: &Self) -> Self {
        self.deconv.weight = other.deconv.weight.clone();
        self.deconv.bias = other.deconv.bias.clone();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn variants() -> impl Iterator<Item = FsrcnnConfig> {
        [2, 3, 4].into_iter().flat_map(|scale| {
            [HeadPadding::Keras, HeadPadding::PyTorch].map(|head| {
                FsrcnnConfig::new(scale)
                    .with_head(head)
                    .with_channels(2)
                    .with_skip(head == HeadPadding::Keras)
            })
        })
    }

    #[test]
    fn the_output_is_larger_by_the_scale() {
        let device = Device::default();
        for config in variants() {
            let output = config
                .init(&device)
                .forward(Tensor::zeros([2, 2, 9, 14], &device));
            assert_eq!(
                output.dims(),
                [2, 2, 9 * config.scale, 14 * config.scale],
                "{config}"
            );
        }
    }

    #[test]
    fn the_parameters_are_the_papers() {
        // 12,464 weights (section 3.1 of the paper, without biases and activations)
        let [d, s, m] = [56, 12, 4];
        let weights = 25 * d + d * s + m * 9 * s * s + s * d + 81 * d;
        assert_eq!(weights, 12_464);
        let biases = d + s + m * s + d + 1;
        let activations = d + s + m * s + d;
        let model = FsrcnnConfig::new(3).init(&Device::default());
        assert_eq!(model.num_params(), weights + biases + activations);
    }

    /// A change of one pixel changes no output beyond the reach, so tiles may begin there.
    #[test]
    fn no_pixel_beyond_the_reach_matters() {
        const SIZE: usize = 33;
        let device = Device::default();
        device.seed(5);
        for config in variants() {
            let config = config.with_skip(false);
            let model = config.init(&device);
            let reach = config.reach();
            let low = Tensor::<4>::random([1, 2, SIZE, SIZE], Distribution::Default, &device);
            let centre = [0..1, 0..2, 16..17, 16..17];
            let changed = low
                .clone()
                .slice_assign(centre, Tensor::ones([1, 2, 1, 1], &device) * 3.0);
            let difference = (model.forward(changed) - model.forward(low)).abs();
            let difference = difference.into_data();
            let difference: &[f32] = difference.as_slice().unwrap();
            let columns = config.scale * SIZE;
            for (place, &value) in difference.iter().enumerate() {
                let far = [place / columns % columns, place % columns]
                    .into_iter()
                    .any(|at| (at / config.scale).abs_diff(16) > reach);
                // The order of summation may depend on the value of a neighbour: not expected.
                assert!(!far || value == 0.0, "{config}: {value} at {place}");
            }
            assert!(difference.iter().any(|&value| value > 0.0));
        }
    }

    #[test]
    fn a_new_network_with_a_skip_is_bicubic() {
        let device = Device::default();
        let config = FsrcnnConfig::new(3);
        let low = Tensor::<4>::random([1, 1, 7, 8], Distribution::Default, &device);
        let bicubic = config.bicubic().forward(low.clone());
        let output = config.init(&device).forward(low);
        assert_eq!(output.into_data(), bicubic.into_data());
    }
}
