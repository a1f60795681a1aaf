//! The models of `fixtures/models.py` and `fixtures/upscaler.py` in Burn, except the two of `examples/import.rs`.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, Linear,
    LinearConfig, PRelu, PReluConfig, PaddingConfig2d,
};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, Padding};

fn symmetric(padding: [usize; 2]) -> Padding {
    let [h, w] = padding;
    Padding::Explicit(h, w, h, w)
}

/// `UNetDecoder`, PyTorch.
#[derive(Module, Debug)]
pub struct UNetDecoder {
    pub up: Deconv2dLayer,
    pub conv: Conv2d,
    pub norm: BatchNorm,
    pub head: Conv2d,
}

impl UNetDecoder {
    pub fn new(device: &Device) -> Self {
        Self {
            up: Deconv2dLayerConfig::new([12, 6], [2, 2])
                .with_padding(symmetric([0, 0]))
                .init(device),
            conv: Conv2dConfig::new([10, 6], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .with_bias(false)
                .init(device),
            norm: BatchNormConfig::new(6).init(device),
            head: Conv2dConfig::new([6, 2], [1, 1]).init(device),
        }
    }

    pub fn forward(&self, x: Tensor<4>, skip: Tensor<4>) -> Tensor<4> {
        let x = Tensor::cat(vec![skip, self.up.forward(x)], 1);
        self.head
            .forward(relu(self.norm.forward(self.conv.forward(x))))
    }
}

/// `Grouped`, PyTorch.
#[derive(Module, Debug)]
pub struct Grouped {
    pub project: Linear,
    pub up: Deconv2dLayer,
    pub norm: GroupNorm,
    pub depthwise: Deconv2dLayer,
}

impl Grouped {
    pub fn new(device: &Device) -> Self {
        Self {
            project: LinearConfig::new(5, 6 * 3 * 4).init(device),
            up: Deconv2dLayerConfig::new([6, 4], [3, 5])
                .with_stride([2, 3])
                .with_padding(symmetric([1, 2]))
                .with_groups(2)
                .init(device),
            norm: GroupNormConfig::new(2, 4).init(device),
            depthwise: Deconv2dLayerConfig::new([4, 4], [4, 4])
                .with_padding(symmetric([1, 1]))
                .with_groups(4)
                .init(device),
        }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<4> {
        let [n, _] = x.dims();
        let x = self.project.forward(x).reshape([n, 6, 3, 4]);
        self.depthwise
            .forward(relu(self.norm.forward(self.up.forward(x))))
    }
}

/// A single layer, PyTorch.
#[derive(Module, Debug)]
pub struct Single {
    pub up: Deconv2dLayer,
}

impl Single {
    pub fn dilated(device: &Device) -> Self {
        Self {
            up: Deconv2dLayerConfig::new([3, 5], [3, 3])
                .with_dilation([2, 1])
                .with_padding(symmetric([2, 1]))
                .init(device),
        }
    }

    pub fn output_padding(device: &Device) -> Self {
        Self {
            up: Deconv2dLayerConfig::new([3, 5], [3, 3])
                .with_padding(symmetric([1, 1]))
                .with_padding_out([1, 1])
                .init(device),
        }
    }
}

/// `Decoder`, Keras.
#[derive(Module, Debug)]
pub struct KerasDecoder {
    pub project: Linear,
    pub blocks: Vec<Up>,
    pub head: Conv2d,
}

#[derive(Module, Debug)]
pub struct Up {
    pub deconv: Deconv2dLayer,
    pub norm: LayerNorm,
}

impl KerasDecoder {
    pub fn new(device: &Device) -> Self {
        let up = |[c_in, c_out]: [usize; 2]| Up {
            deconv: Deconv2dLayerConfig::new([c_in, c_out], [4, 4])
                .with_padding(Padding::Valid)
                .init(device),
            norm: LayerNormConfig::new(c_out).with_epsilon(1e-3).init(device),
        };
        Self {
            project: LinearConfig::new(7, 2 * 3 * 6).init(device),
            blocks: vec![up([6, 5]), up([5, 4])],
            head: Conv2dConfig::new([4, 3], [1, 1]).init(device),
        }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<4> {
        let [n, _] = x.dims();
        let mut x = channels_first(self.project.forward(x).reshape([n, 2, 3, 6]));
        for block in &self.blocks {
            x = block.forward(x);
        }
        self.head.forward(x)
    }
}

impl Up {
    /// Keras normalises over the last axis, the channels.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.deconv.forward(x).permute([0, 2, 3, 1]);
        relu(channels_first(self.norm.forward(x)))
    }
}

/// `FlaxDecoder`, Flax.
#[derive(Module, Debug)]
pub struct FlaxDecoder {
    pub project: Linear,
    pub up1: Deconv2dLayer,
    pub up1_norm: BatchNorm,
    pub up2: Deconv2dLayer,
    pub head: Conv2d,
}

impl FlaxDecoder {
    pub fn new(device: &Device) -> Self {
        Self {
            project: LinearConfig::new(7, 3 * 4 * 6).init(device),
            up1: Deconv2dLayerConfig::new([6, 5], [3, 3]).init(device),
            up1_norm: BatchNormConfig::new(5).init(device),
            up2: Deconv2dLayerConfig::new([5, 4], [4, 4]).init(device),
            head: Conv2dConfig::new([4, 3], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .init(device),
        }
    }

    pub fn forward(&self, x: Tensor<2>) -> Tensor<4> {
        let [n, _] = x.dims();
        let x = channels_first(self.project.forward(x).reshape([n, 3, 4, 6]));
        let x = relu(self.up1_norm.forward(self.up1.forward(x)));
        self.head.forward(relu(self.up2.forward(x)))
    }
}

/// `upscaler` of `fixtures/upscaler.py`, Keras 2 and 3.
#[derive(Module, Debug)]
pub struct Upscaler {
    pub features: Conv2d,
    pub features_act: PRelu,
    /// Keras' `DepthwiseConv2D` of two kernels for each channel.
    pub spread: Conv2d,
    pub norm: BatchNorm,
    pub mix: Separable,
    pub block: Shrink,
    pub head: Deconv2dLayer,
}

/// Keras' `SeparableConv2D`.
#[derive(Module, Debug)]
pub struct Separable {
    pub depthwise: Conv2d,
    pub pointwise: Conv2d,
}

#[derive(Module, Debug)]
pub struct Shrink {
    pub shrink: Conv2d,
    pub shrink_act: PRelu,
}

impl Upscaler {
    pub fn new(device: &Device) -> Self {
        let conv = |channels, kernel: usize| {
            Conv2dConfig::new(channels, [kernel, kernel]).with_padding(PaddingConfig2d::Same)
        };
        let slopes = |channels| {
            let config = PReluConfig::new().with_num_parameters(channels);
            config.init(device)
        };
        Self {
            features: conv([3, 6], 3).init(device),
            features_act: slopes(6),
            spread: conv([6, 12], 3).with_groups(6).init(device),
            norm: BatchNormConfig::new(12).with_epsilon(1e-3).init(device),
            mix: Separable {
                depthwise: conv([12, 24], 3)
                    .with_groups(12)
                    .with_bias(false)
                    .init(device),
                pointwise: conv([24, 8], 1).init(device),
            },
            block: Shrink {
                shrink: conv([8, 5], 1).init(device),
                shrink_act: slopes(5),
            },
            head: Deconv2dLayerConfig::new([5, 3], [5, 5])
                .with_stride([3, 3])
                .init(device),
        }
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.features_act.forward(self.features.forward(x));
        let x = self.norm.forward(self.spread.forward(x));
        let x = self.mix.pointwise.forward(self.mix.depthwise.forward(x));
        let x = self.block.shrink_act.forward(self.block.shrink.forward(x));
        self.head.forward(x)
    }
}

/// The maps of Keras and Flax, `[n, h, w, c]`, to Burn's `[n, c, h, w]`.
fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}
