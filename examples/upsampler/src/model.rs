//! The network: convolutions find features at low resolution, and a transposed convolution turns
//! them into the detail that bicubic enlargement lacks.

use std::f64::consts::SQRT_2;
use std::ops::Range;

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::interpolate::{Interpolate2d, Interpolate2dConfig, InterpolateMode};
use burn::nn::{Initializer, PaddingConfig2d, Relu};
use burn::tensor::{Device, Tensor, TensorData};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig};
use image::{Rgb, Rgb32FImage};

/// The number of pixels in a strip of [`Upsampler::enlarge_image`]. It bounds the memory.
const STRIP_PIXELS: usize = 1 << 16;

/// Configuration of an [`Upsampler`].
#[derive(Config, Debug, PartialEq)]
pub struct UpsamplerConfig {
    /// Channels of the features. Default: 32.
    #[config(default = "32")]
    pub channels: usize,
    /// The number of convolutions. Default: 4.
    #[config(default = "4")]
    pub layers: usize,
}

/// Enlarges RGB images by 2.
#[derive(Module, Debug)]
pub struct Upsampler {
    features: Vec<Conv2d>,
    activation: Relu,
    deconv: Deconv2dLayer,
    enlarge: Interpolate2d,
}

impl UpsamplerConfig {
    /// Initializes a new [`Upsampler`].
    pub fn init(&self, device: &Device) -> Upsampler {
        let features = (0..self.layers).map(|layer| {
            let (channels_in, kernel) = if layer == 0 {
                (3, 5)
            } else {
                (self.channels, 3)
            };
            Conv2dConfig::new([channels_in, self.channels], [kernel, kernel])
                .with_padding(PaddingConfig2d::Same)
                .with_initializer(Initializer::KaimingNormal {
                    gain: SQRT_2,
                    fan_out_only: false,
                })
                .init(device)
        });
        Upsampler {
            features: features.collect(),
            activation: Relu::new(),
            // The defaults, stride 2 and `Padding::Same`, double the size. With zero weights, the
            // network starts as bicubic enlargement.
            deconv: Deconv2dLayerConfig::new([self.channels, 3], [4, 4])
                .with_initializer(Initializer::Zeros)
                .init(device),
            enlarge: Interpolate2dConfig::new()
                .with_scale_factor(Some([2.0, 2.0]))
                .with_mode(InterpolateMode::Cubic)
                .with_align_corners(false)
                .init(),
        }
    }
}

impl Upsampler {
    /// Applies the forward pass on the input tensor.
    ///
    /// # Shapes
    ///
    /// - low: `[n, 3, h, w]`
    /// - output: `[n, 3, 2 h, 2 w]`
    pub fn forward(&self, low: Tensor<4>) -> Tensor<4> {
        let features = self.features.iter().fold(low.clone(), |features, conv| {
            self.activation.forward(conv.forward(features))
        });
        self.enlarge.forward(low) + self.deconv.forward(features)
    }

    /// Enlarges a whole image in strips. They overlap by the rows that an output pixel depends on.
    ///
    /// # Shapes
    ///
    /// - low: `[h, w]` pixels
    /// - output: `[2 h, 2 w]` pixels
    pub fn enlarge_image(&self, low: &Rgb32FImage) -> Rgb32FImage {
        let [height, width] = [low.height() as usize, low.width() as usize];
        let rows = (STRIP_PIXELS / width).max(1);
        // Half of each kernel: 2 rows for the first, 1 for each other and for the transposed one.
        let reach = 2 + (self.features.len() - 1) + 1;
        let mut output = Rgb32FImage::new(2 * low.width(), 2 * low.height());
        for top in (0..height).step_by(rows) {
            let bottom = (top + rows).min(height);
            let [from, to] = [top.saturating_sub(reach), (bottom + reach).min(height)];
            let strip = self.forward(rows_as_tensor(low, from..to)).into_data();
            let strip: &[f32] = strip.as_slice().expect("the model computes in f32");
            let [rows, columns] = [2 * (to - from), 2 * width];
            for (y, x) in (2 * top..2 * bottom).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                let place = (y - 2 * from) * columns + x;
                let pixel = [0, 1, 2].map(|channel| strip[channel * rows * columns + place]);
                output.put_pixel(x as u32, y as u32, Rgb(pixel));
            }
        }
        output
    }
}

/// `[1, 3, rows, w]`
fn rows_as_tensor(image: &Rgb32FImage, rows: Range<usize>) -> Tensor<4> {
    let [height, width] = [rows.len(), image.width() as usize];
    let pixels = &image.as_raw()[3 * rows.start * width..3 * rows.end * width];
    Tensor::<3>::from_data(
        TensorData::new(pixels.to_vec(), [height, width, 3]),
        &Device::default(),
    )
    .permute([2, 0, 1])
    .unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_is_twice_the_input() {
        let device = Device::default();
        let model = UpsamplerConfig::new().init(&device);
        let output = model.forward(Tensor::zeros([2, 3, 9, 14], &device));
        assert_eq!(output.dims(), [2, 3, 18, 28]);
    }

    #[test]
    fn strips_make_the_whole_image() {
        let model = UpsamplerConfig::new()
            .with_channels(4)
            .init(&Device::default());
        // 8 rows are a strip
        let width = STRIP_PIXELS as u32 / 8;
        let low = Rgb32FImage::from_fn(width, 20, |x, y| {
            Rgb([x % 7, y % 5, (x * y) % 11].map(|value| value as f32 / 10.0))
        });
        let whole = model.forward(rows_as_tensor(&low, 0..20)).into_data();
        let whole: &[f32] = whole.as_slice().unwrap();
        let strips = model.enlarge_image(&low);
        assert_eq!(strips.dimensions(), (2 * width, 40));
        for (x, y, pixel) in strips.enumerate_pixels() {
            for (channel, value) in pixel.0.into_iter().enumerate() {
                let place = (channel * 40 + y as usize) * 2 * width as usize + x as usize;
                // The order of summation over some hundred products may differ.
                assert!((value - whole[place]).abs() < 1e-5, "{value} at ({x}, {y})");
            }
        }
    }
}
