//! A variational autoencoder (Kingma and Welling 2013, <https://arxiv.org/abs/1312.6114>) of digits
//! that a shaky pen draws. Its decoder makes pictures of eight numbers with two transposed
//! convolutions: 6x6 to 12x12 to 24x24. Random numbers give new digits, and numbers between those of
//! two digits give a way from one to the other.
//!
//! ```text
//! cargo run --release --example vae              # a minute; writes target/vae.png
//! cargo run --release --example vae -- FILE.png
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{relu, sigmoid, softplus};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig, init};
use image::{GrayImage, Luma, imageops};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Height and width of a picture.
const SIDE: usize = 24;
/// How many numbers describe a picture.
const LATENT: usize = 8;
const STEPS: usize = 5000;
const BATCH: usize = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::default().autodiff();
    device.seed(1);
    let mut vae = Vae::new(&device)?;
    let mut optimizer = AdamConfig::new().init();

    for step in 1..=STEPS {
        let pictures = batch(step as u64, &device);
        let (mean, log_variance) = vae.encode(pictures.clone());
        let noise = Tensor::random(mean.dims(), Distribution::Normal(0., 1.), &device);
        let latent = mean.clone() + (log_variance.clone() * 0.5).exp() * noise;
        let scores = vae.decode(latent);

        // Per picture: the cross-entropy of the pixels, and the divergence from a normal distribution.
        let pixels = softplus(scores.clone(), 1.) - scores * pictures;
        let divergence = (mean.square() + log_variance.clone().exp() - log_variance - 1.) * 0.5;
        let loss = (pixels.sum() + divergence.sum()) / BATCH as f32;
        if step % 500 == 0 {
            let value: f32 = loss.clone().into_scalar();
            println!("step {step}/{STEPS}, loss {value:.1}");
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &vae);
        vae = optimizer.step(2e-3, vae, gradients);
    }

    // Pictures that the training has not seen: it used the seeds from 1 to `STEPS`.
    let device = device.inner();
    let vae = vae.valid();
    let pictures = batch(0, &device);
    let (latent, _) = vae.encode(pictures.clone());
    let rebuilt = sigmoid(vae.decode(latent.clone()));
    let average = pictures.clone().mean_dim(0);
    let error =
        |guess: Tensor<4>| -> f32 { (guess - pictures.clone()).square().mean().into_scalar() };
    let explained = 1. - error(rebuilt.clone()) / error(average);
    println!(
        "the decoder rebuilds {:.1} % of the variance",
        100. * explained
    );

    let samples = Tensor::random([2 * COLUMNS, LATENT], Distribution::Normal(0., 1.), &device);
    let [from, to] = [0, 1].map(|i| latent.clone().slice_dim(0, i..i + 1));
    let steps = Tensor::<1>::from_floats(way(), &device).unsqueeze_dim(1);
    let between = from.clone() + (to - from) * steps;
    let first = |map: Tensor<4>| map.slice_dim(0, 0..COLUMNS);
    let grid = Tensor::cat(
        vec![
            first(pictures.clone()),
            first(rebuilt),
            sigmoid(vae.decode(between)),
            sigmoid(vae.decode(samples)),
        ],
        0,
    );
    let path = std::env::args().nth(1).unwrap_or("target/vae.png".into());
    draw(grid).save(&path)?;
    println!(
        "{path}: rows of digits, the same rebuilt, from the first to the second, two of new ones"
    );
    assert!(
        explained > 0.7,
        "the decoder rebuilds less than 70 % of the variance"
    );
    Ok(())
}

#[derive(Module, Debug)]
struct Vae {
    down: [Conv2d; 2],
    describe: Linear,
    expand: Linear,
    up: [Deconv2dLayer; 2],
}

impl Vae {
    fn new(device: &Device) -> Result<Self, Box<dyn Error>> {
        let down = |channels| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Same)
                .init(device)
        };
        // A kernel of 4x4 and stride 2. Sub-kernels that begin equal make no checkerboard.
        let up = |channels| init::icnr(&Deconv2dLayerConfig::new(channels, [4, 4]), device);
        Ok(Self {
            down: [down([1, 16]), down([16, 32])],
            describe: LinearConfig::new(32 * 6 * 6, 2 * LATENT).init(device),
            expand: LinearConfig::new(LATENT, 32 * 6 * 6).init(device),
            up: [up([32, 16])?, up([16, 1])?],
        })
    }

    /// `[n, 1, 24, 24]` to mean and logarithm of the variance, `[n, 8]` each
    fn encode(&self, picture: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
        let [down_0, down_1] = &self.down;
        let x = relu(down_0.forward(picture)); // 12x12
        let x = relu(down_1.forward(x)); // 6x6
        let x = self.describe.forward(x.flatten(1, 3));
        let mut halves = x.chunk(2, 1).into_iter();
        (halves.next().unwrap(), halves.next().unwrap())
    }

    /// `[n, 8]` to the logits of the pixels, `[n, 1, 24, 24]`
    fn decode(&self, latent: Tensor<2>) -> Tensor<4> {
        let [up_0, up_1] = &self.up;
        let x = relu(self.expand.forward(latent)).reshape([-1, 32, 6, 6]);
        let x = relu(up_0.forward(x)); // 12x12
        up_1.forward(x) // 24x24
    }
}

/// The strokes of the digits: points that lines connect. Of each point x and y, from 0 to 9.
const DIGITS: [&str; 10] = [
    "50 83 86 59 16 13 50",
    "22 50 59",
    "12 40 82 19 89",
    "10 80 44 86 59 18",
    "69 60 16 86",
    "80 20 14 54 86 59 18",
    "70 24 17 49 87 54 16",
    "10 80 49",
    "44 12 40 82 17 49 87 44",
    "83 44 12 40 82 75 39",
];

/// Pictures `[n, 1, 24, 24]` from 0 to 1: digits of random size, slant, place and pen.
fn batch(seed: u64, device: &Device) -> Tensor<4> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut pixels = Vec::with_capacity(BATCH * SIDE * SIDE);
    for i in 0..BATCH {
        let size = [
            random.random_range(10. ..15.),
            random.random_range(13. ..17.),
        ];
        let corner = [random.random_range(4. ..7.), random.random_range(3. ..5.)];
        let (slant, pen) = (
            random.random_range(-0.25..0.25),
            random.random_range(0.8..1.6),
        );
        let points: Vec<[f32; 2]> = DIGITS[i % 10]
            .split(' ')
            .map(|point| [0, 1].map(|i| (point.as_bytes()[i] - b'0') as f32 / 9.))
            .map(|[x, y]| [x - slant * (y - 0.5), y])
            .map(|[x, y]| [corner[0] + size[0] * x, corner[1] + size[1] * y])
            .map(|point| point.map(|value| value + random.random_range(-0.5..0.5)))
            .collect();
        for at in 0..SIDE * SIDE {
            let pixel = [(at % SIDE) as f32, (at / SIDE) as f32];
            let distances = points
                .windows(2)
                .map(|ends| distance(pixel, ends[0], ends[1]));
            let nearest = distances.fold(f32::MAX, f32::min);
            pixels.push((pen + 0.5 - nearest).clamp(0., 1.));
        }
    }
    Tensor::from_data(TensorData::new(pixels, [BATCH, 1, SIDE, SIDE]), device)
}

/// From a point to the line between two others.
fn distance(point: [f32; 2], from: [f32; 2], to: [f32; 2]) -> f32 {
    let line = [to[0] - from[0], to[1] - from[1]];
    let offset = [point[0] - from[0], point[1] - from[1]];
    let length_squared = (line[0] * line[0] + line[1] * line[1]).max(1e-6);
    let along = ((offset[0] * line[0] + offset[1] * line[1]) / length_squared).clamp(0., 1.);
    (offset[0] - along * line[0]).hypot(offset[1] - along * line[1])
}

/// Pictures in a row of the grid.
const COLUMNS: usize = 10;

/// From 0 to 1 in equal steps.
fn way() -> [f32; COLUMNS] {
    std::array::from_fn(|i| i as f32 / (COLUMNS - 1) as f32)
}

/// A grid of pictures, three times as large.
fn draw(pictures: Tensor<4>) -> GrayImage {
    const ZOOM: u32 = 3;
    const CELL: usize = SIDE + 1;
    let [count, ..] = pictures.dims();
    let pixels: Vec<f32> = pictures.into_data().try_into_vec().unwrap();
    let [width, height] = [COLUMNS * CELL, count / COLUMNS * CELL].map(|side| side as u32);
    let mut image = GrayImage::from_pixel(width, height, Luma([128]));
    for (i, value) in pixels.into_iter().enumerate() {
        let (picture, at) = (i / (SIDE * SIDE), i % (SIDE * SIDE));
        let x = picture % COLUMNS * CELL + at % SIDE;
        let y = picture / COLUMNS * CELL + at / SIDE;
        image.put_pixel(x as u32, y as u32, Luma([255 - (value * 255.) as u8]));
    }
    imageops::resize(
        &image,
        width * ZOOM,
        height * ZOOM,
        imageops::FilterType::Nearest,
    )
}
