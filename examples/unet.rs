//! A U-Net (Ronneberger et al. 2015, <https://arxiv.org/abs/1505.04597>) finds the shapes in a noisy
//! picture: it names each pixel background, disk, square or ring. A pixel alone does not tell.
//!
//! The maps have odd sizes. A strided convolution makes 20 rows of 39, and on the way back the
//! decoder must make 39 of 20, not 40: `forward_to` asks for exactly that.
//!
//! ```text
//! cargo run --release --example unet              # half a minute; writes target/unet.png
//! cargo run --release --example unet -- FILE.png
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig};
use image::{Rgb, RgbImage, imageops};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Height and width of a picture.
const SIZE: [usize; 2] = [39, 53];
const CLASSES: [&str; 4] = ["background", "disk", "square", "ring"];
const STEPS: usize = 1200;
const BATCH: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::default().autodiff();
    device.seed(1);
    let mut unet = UNet::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let loss_function = CrossEntropyLossConfig::new().init(&device);

    for step in 1..=STEPS {
        let (pictures, truth) = batch(step as u64, &device);
        let scores = unet.forward(pictures);
        let scores: Tensor<2> = scores
            .permute([0, 2, 3, 1])
            .reshape([-1, CLASSES.len() as i32]);
        let loss = loss_function.forward(scores, truth.reshape([-1]));
        if step % 100 == 0 {
            let value: f32 = loss.clone().into_scalar();
            println!("step {step}/{STEPS}, loss {value:.3}");
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &unet);
        unet = optimizer.step(3e-3, unet, gradients);
    }

    // Pictures that the training has not seen: it used the seeds from 1 to `STEPS`.
    let (pictures, truth) = batch(0, &device.inner());
    let found = unet.valid().forward(pictures.clone()).argmax(1);
    let found: Tensor<3, Int> = found.squeeze_dim(1);
    let ious = intersection_over_union(&found, &truth);
    for (class, iou) in CLASSES.iter().zip(&ious) {
        println!("{class:10} IoU {iou:.3}");
    }

    let path = std::env::args().nth(1).unwrap_or("target/unet.png".into());
    draw(pictures, &found, &truth).save(&path)?;
    println!("{path}: a picture, what the network found, the truth, four times");
    assert!(
        ious.iter().all(|&iou| iou > 0.8),
        "a class has an IoU below 0.8"
    );
    Ok(())
}

/// Three sizes of map: 39x53, 20x27 and 10x14.
#[derive(Module, Debug)]
struct UNet {
    encode: [Conv2d; 3],
    mix: [Conv2d; 4],
    up: [Deconv2dLayer; 2],
    head: Conv2d,
}

impl UNet {
    fn new(device: &Device) -> Self {
        let conv = |channels, stride| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Same)
                .init(device)
        };
        // A 4x4 kernel and stride 2: every output has the same number of taps.
        let up = |channels| Deconv2dLayerConfig::new(channels, [4, 4]).init(device);
        Self {
            encode: [conv([1, 8], 1), conv([8, 16], 2), conv([16, 32], 2)],
            mix: [
                conv([16, 8], 1),
                conv([32, 16], 1),
                conv([32, 32], 1),
                conv([32, 32], 1),
            ],
            up: [up([16, 8]), up([32, 16])],
            head: Conv2dConfig::new([8, CLASSES.len()], [1, 1]).init(device),
        }
    }

    /// `[n, 1, h, w]` to a score of each class, `[n, 4, h, w]`, of any height and width
    fn forward(&self, picture: Tensor<4>) -> Tensor<4> {
        let [encode_0, encode_1, encode_2] = &self.encode;
        let [mix_0, mix_1, mix_2, mix_3] = &self.mix;
        let [up_0, up_1] = &self.up;

        let large = relu(encode_0.forward(picture)); // 39x53
        let middle = relu(encode_1.forward(large.clone())); // 20x27
        let small = relu(encode_2.forward(middle.clone())); // 10x14
        let small = relu(mix_3.forward(relu(mix_2.forward(small))));

        let middle = decode(up_1, mix_1, small, middle); // 20x27
        let large = decode(up_0, mix_0, middle, large); // 39x53
        self.head.forward(large)
    }
}

/// Enlarges a small map to the size of the one that the encoder had there, and mixes the two: 20x27
/// to 39x53, not to 40x54.
fn decode(up: &Deconv2dLayer, mix: &Conv2d, small: Tensor<4>, skipped: Tensor<4>) -> Tensor<4> {
    let [.., h, w] = skipped.dims();
    let large = relu(up.forward_to(small, [h, w]));
    relu(mix.forward(Tensor::cat(vec![skipped, large], 1)))
}

/// A class of each pixel: shapes of random size and place, later ones in front.
fn draw_classes(random: &mut StdRng) -> Vec<i32> {
    let [height, width] = SIZE;
    let mut classes = vec![0; height * width];
    for class in [1, 2, 3, random.random_range(0..4)] {
        let radius = random.random_range(6. ..11.);
        let centre_y = random.random_range(0. ..height as f32);
        let centre_x = random.random_range(0. ..width as f32);
        for (i, pixel) in classes.iter_mut().enumerate() {
            let y = ((i / width) as f32 - centre_y).abs();
            let x = ((i % width) as f32 - centre_x).abs();
            let distance = y.hypot(x);
            let inside = match class {
                1 => distance < radius,
                2 => y.max(x) < 0.9 * radius,
                3 => distance < radius && distance > 0.5 * radius,
                _ => false,
            };
            if inside {
                *pixel = class;
            }
        }
    }
    classes
}

/// Pictures `[n, 1, h, w]` and their classes `[n, h, w]`. All shapes have the same brightness, under
/// noise.
fn batch(seed: u64, device: &Device) -> (Tensor<4>, Tensor<3, Int>) {
    let mut random = StdRng::seed_from_u64(seed);
    let classes: Vec<i32> = (0..BATCH).flat_map(|_| draw_classes(&mut random)).collect();
    let [h, w] = SIZE;
    let truth = Tensor::<3, Int>::from_data(TensorData::new(classes, [BATCH, h, w]), device);
    let shapes = truth.clone().greater_elem(0).float().unsqueeze_dim(1);
    let noise = Tensor::random([BATCH, 1, h, w], Distribution::Normal(0., 0.3), device);
    (shapes + noise, truth)
}

/// For each class, the pixels in both maps divided by the pixels in at least one.
fn intersection_over_union(found: &Tensor<3, Int>, truth: &Tensor<3, Int>) -> Vec<f32> {
    let iou = |class| {
        let found = found.clone().equal_elem(class);
        let truth = truth.clone().equal_elem(class);
        let both: f32 = found
            .clone()
            .bool_and(truth.clone())
            .float()
            .sum()
            .into_scalar();
        let either: f32 = found.bool_or(truth).float().sum().into_scalar();
        both / either
    };
    (0..CLASSES.len() as i32).map(iou).collect()
}

/// The first four pictures, one in each row: the picture, what was found, the truth.
fn draw(pictures: Tensor<4>, found: &Tensor<3, Int>, truth: &Tensor<3, Int>) -> RgbImage {
    const ROWS: usize = 4;
    const ZOOM: u32 = 3;
    const SPACE: usize = 3;
    const COLOURS: [[u8; 3]; 4] = [[30, 33, 48], [240, 180, 60], [90, 170, 230], [230, 90, 110]];
    let [height, width] = SIZE;
    let pictures: Vec<f32> = pictures.into_data().try_into_vec().unwrap();
    let classes = |map: &Tensor<3, Int>| -> Vec<i64> { map.clone().into_data().iter().collect() };
    let (found, truth) = (classes(found), classes(truth));

    let canvas = [3 * (width + SPACE) - SPACE, ROWS * (height + SPACE) - SPACE];
    let mut image = RgbImage::from_pixel(canvas[0] as u32, canvas[1] as u32, Rgb([255; 3]));
    for row in 0..ROWS {
        for i in 0..height * width {
            let at = row * height * width + i;
            let gray = ((pictures[at] + 0.6) / 2.2 * 255.) as u8;
            let panels = [
                [gray; 3],
                COLOURS[found[at] as usize],
                COLOURS[truth[at] as usize],
            ];
            for (panel, colour) in panels.into_iter().enumerate() {
                let x = panel * (width + SPACE) + i % width;
                let y = row * (height + SPACE) + i / width;
                image.put_pixel(x as u32, y as u32, Rgb(colour));
            }
        }
    }
    let [w, h] = canvas.map(|side| side as u32 * ZOOM);
    imageops::resize(&image, w, h, imageops::FilterType::Nearest)
}
