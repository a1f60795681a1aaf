//! A network that is ready to enlarge: ours, or a published FSRCNN of PyTorch or Keras.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{PRelu, PReluConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, Padding};

use crate::tiles::tiles;

/// FSRCNN as published with weights for three channels: no activation between the convolutions that
/// map, as in <https://github.com/Nhat-Thanh/FSRCNN-Pytorch>.
#[derive(Module, Debug)]
pub struct PublishedFsrcnn {
    feature_extract: Conv2d,
    activation_1: PRelu,
    shrink: Conv2d,
    activation_2: PRelu,
    maps: Vec<Conv2d>,
    activation_3: PRelu,
    expand: Conv2d,
    activation_4: PRelu,
    deconv: Deconv2dLayer,
}

/// Who trained a [`PublishedFsrcnn`]. The last layers differ by a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    PyTorch,
    Keras,
}

const FEATURES: usize = 56;
const SHRUNK: usize = 12;
const MAPS: usize = 4;
const KERNEL: usize = 9;

impl PublishedFsrcnn {
    pub fn new(framework: Framework, scale: usize, device: &Device) -> Self {
        let conv = |channels, kernel| {
            Conv2dConfig::new(channels, [kernel, kernel])
                .with_padding(PaddingConfig2d::Same)
                .init(device)
        };
        let activation = |channels| {
            PReluConfig::new()
                .with_num_parameters(channels)
                .init(device)
        };
        Self {
            feature_extract: conv([3, FEATURES], 5),
            activation_1: activation(FEATURES),
            shrink: conv([FEATURES, SHRUNK], 1),
            activation_2: activation(SHRUNK),
            maps: (0..MAPS).map(|_| conv([SHRUNK, SHRUNK], 3)).collect(),
            activation_3: activation(SHRUNK),
            expand: conv([SHRUNK, FEATURES], 1),
            activation_4: activation(FEATURES),
            deconv: last_layer(framework, scale).init(device),
        }
    }

    /// The same weights for another scale.
    pub fn with_scale(mut self, framework: Framework, scale: usize) -> Self {
        let mut deconv = last_layer(framework, scale).init(&Device::default());
        deconv.weight = self.deconv.weight;
        deconv.bias = self.deconv.bias;
        self.deconv = deconv;
        self
    }

    /// # Shapes
    ///
    /// - input: `[n, 3, h, w]`
    /// - output: `[n, 3, scale * h, scale * w]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let features = self
            .activation_1
            .forward(self.feature_extract.forward(input));
        let shrunk = self.activation_2.forward(self.shrink.forward(features));
        let mapped = self
            .maps
            .iter()
            .fold(shrunk, |mapped, map| map.forward(mapped));
        let mapped = self.activation_3.forward(mapped);
        let features = self.activation_4.forward(self.expand.forward(mapped));
        self.deconv.forward(features).clamp(0.0, 1.0)
    }
}

fn last_layer(framework: Framework, scale: usize) -> Deconv2dLayerConfig {
    let padding = match framework {
        // ConvTranspose2d(.., padding=4, output_padding=scale - 1)
        Framework::PyTorch => {
            let before = KERNEL / 2;
            let after = before + 1 - scale;
            Padding::Explicit(before, before, after, after)
        }
        Framework::Keras => Padding::Same,
    };
    Deconv2dLayerConfig::new([FEATURES, 3], [KERNEL, KERNEL])
        .with_stride([scale, scale])
        .with_padding(padding)
}

/// A network with what is needed to apply it to a part of a picture.
pub struct Network {
    model: Model,
    /// How much larger the output is.
    pub scale: usize,
    /// 1: luma; 3: luma and both chroma channels.
    pub channels: usize,
    /// An output pixel depends on no input pixel that is farther away than this.
    pub reach: usize,
    /// For messages.
    pub name: String,
}

enum Model {
    Published(PublishedFsrcnn),
}

impl Network {
    pub fn published(model: PublishedFsrcnn, scale: usize, name: String) -> Self {
        Self {
            model: Model::Published(model),
            scale,
            channels: 3,
            // Half of each kernel; the last one's counts in output pixels.
            reach: 2 + MAPS + KERNEL.div_ceil(scale),
            name,
        }
    }

    /// Enlarges a part of a picture.
    ///
    /// # Shapes
    ///
    /// - planes: `[channels, h, w]`, values in 0 to 1
    /// - output: `[channels, scale * h, scale * w]`, values in 0 to 1
    pub fn apply(&self, planes: Vec<f32>, [height, width]: [usize; 2]) -> Vec<f32> {
        let shape = [1, self.channels, height, width];
        let input = Tensor::<4>::from_data(TensorData::new(planes, shape), &Device::default());
        let output = match &self.model {
            Model::Published(model) => model.forward(input),
        };
        let output = output.clamp(0.0, 1.0).into_data();
        output.try_into_vec().expect("the network computes in f32")
    }

    /// [`apply`](Self::apply) with less memory: in tiles of at most `size x size` pixels.
    ///
    /// # Shapes
    ///
    /// - planes: `[channels][h, w]`
    pub fn apply_in_tiles(
        &self,
        planes: &[Vec<f32>],
        [height, width]: [usize; 2],
        size: usize,
    ) -> Vec<f32> {
        let scale = self.scale;
        let mut output = vec![0.0; planes.len() * scale * height * scale * width];
        for tile in tiles([height, width], size) {
            let outer = tile.with_margin(self.reach, [height, width]);
            let mut piece = Vec::with_capacity(planes.len() * outer.pixels());
            for plane in planes {
                for y in outer.rows.clone() {
                    piece.extend(&plane[y * width..][outer.columns.clone()]);
                }
            }
            let piece = self.apply(piece, outer.size());
            let inner = tile.within(&outer).times(scale);
            let [rows, columns] = outer.size().map(|size| size * scale);
            let tile = tile.times(scale);
            for channel in 0..planes.len() {
                for (to, from) in tile.rows.clone().zip(inner.rows.clone()) {
                    let to = (channel * scale * height + to) * scale * width;
                    let from = (channel * rows + from) * columns;
                    output[to..][tile.columns.clone()]
                        .copy_from_slice(&piece[from..][inner.columns.clone()]);
                }
            }
        }
        output
    }
}
