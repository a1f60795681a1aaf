//! A generator of pictures (DCGAN, Radford et al. 2015, <https://arxiv.org/abs/1511.06434>) moves
//! from Burn's layer to ours. [`before`] and [`after`] differ in the name of a type and in one line.
//! The old model's file loads into the new one, which gives the same pictures, in less time.
//!
//! ```text
//! cargo run --release --example migrate
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use burn_weights::{WeightsError, WeightsFile};

/// Numbers that describe a picture.
pub const LATENT: usize = 100;

/// With Burn's layer.
pub mod before {
    use burn::module::Module;
    use burn::nn::conv::{ConvTranspose2d, ConvTranspose2dConfig};
    use burn::nn::{BatchNorm, BatchNormConfig};
    use burn::tensor::activation::{relu, tanh};
    use burn::tensor::{Device, Tensor};

    #[derive(Module, Debug)]
    pub struct Generator {
        pub up: Vec<ConvTranspose2d>,
        norm: Vec<BatchNorm>,
    }

    impl Generator {
        /// `width` channels at 32x32, twice as many at 16x16, and so on; 64 in the paper.
        pub fn new(width: usize, device: &Device) -> Self {
            let up = |channels, stride, padding| {
                ConvTranspose2dConfig::new(channels, [4, 4])
                    .with_stride([stride; 2])
                    .with_padding([padding; 2])
                    .with_bias(false)
                    .init(device)
            };
            let norm = |channels| BatchNormConfig::new(channels).init(device);
            Self {
                up: vec![
                    up([super::LATENT, 8 * width], 1, 0),
                    up([8 * width, 4 * width], 2, 1),
                    up([4 * width, 2 * width], 2, 1),
                    up([2 * width, width], 2, 1),
                    up([width, 3], 2, 1),
                ],
                norm: [8, 4, 2, 1].map(|times| norm(times * width)).to_vec(),
            }
        }

        /// `[n, 100, 1, 1]` to `[n, 3, 64, 64]`
        pub fn forward(&self, latent: Tensor<4>) -> Tensor<4> {
            let mut x = latent;
            for (up, norm) in self.up.iter().zip(&self.norm) {
                x = relu(norm.forward(up.forward(x)));
            }
            tanh(self.up[self.norm.len()].forward(x))
        }
    }
}

/// With ours.
pub mod after {
    use burn::module::Module;
    use burn::nn::conv::ConvTranspose2dConfig;
    use burn::nn::{BatchNorm, BatchNormConfig};
    use burn::tensor::activation::{relu, tanh};
    use burn::tensor::{Device, Tensor};
    use burn_deconv::{Deconv2dLayer, Deconv2dLayerConfig};

    #[derive(Module, Debug)]
    pub struct Generator {
        pub up: Vec<Deconv2dLayer>, // changed
        norm: Vec<BatchNorm>,
    }

    impl Generator {
        /// `width` channels at 32x32, twice as many at 16x16, and so on; 64 in the paper.
        pub fn new(width: usize, device: &Device) -> Self {
            let up = |channels, stride, padding| {
                let config = ConvTranspose2dConfig::new(channels, [4, 4])
                    .with_stride([stride; 2])
                    .with_padding([padding; 2])
                    .with_bias(false);
                Deconv2dLayerConfig::from(config).init(device) // changed
            };
            let norm = |channels| BatchNormConfig::new(channels).init(device);
            Self {
                up: vec![
                    up([super::LATENT, 8 * width], 1, 0),
                    up([8 * width, 4 * width], 2, 1),
                    up([4 * width, 2 * width], 2, 1),
                    up([2 * width, width], 2, 1),
                    up([width, 3], 2, 1),
                ],
                norm: [8, 4, 2, 1].map(|times| norm(times * width)).to_vec(),
            }
        }

        /// `[n, 100, 1, 1]` to `[n, 3, 64, 64]`
        pub fn forward(&self, latent: Tensor<4>) -> Tensor<4> {
            let mut x = latent;
            for (up, norm) in self.up.iter().zip(&self.norm) {
                x = relu(norm.forward(up.forward(x)));
            }
            tanh(self.up[self.norm.len()].forward(x))
        }
    }
}

/// Reads the file that the old model wrote, `before::Generator::save_file`.
pub fn load(file: &Path, width: usize, device: &Device) -> Result<after::Generator, WeightsError> {
    let mut generator = after::Generator::new(width, device);
    WeightsFile::burn(file).load_into(&mut generator)?;
    Ok(generator)
}

/// A training step of 16 pictures, without the optimiser.
fn step(forward: impl Fn(Tensor<4>) -> Tensor<4>, latent: &Tensor<4>) -> Duration {
    let started = Instant::now();
    let gradients = forward(latent.clone()).square().mean().backward();
    let time = started.elapsed();
    drop(gradients);
    time
}

fn main() -> Result<(), Box<dyn Error>> {
    // A debug build is slow.
    let (width, turns) = if cfg!(debug_assertions) {
        (4, 1)
    } else {
        (64, 9)
    };
    let device = Device::default().autodiff();
    let before = before::Generator::new(width, &device);

    let file = std::env::temp_dir().join(format!("migrate-{}.bpk", std::process::id()));
    before.clone().save_file(&file)?;
    let after = load(&file, width, &device);
    fs::remove_file(&file)?;
    let after = after?;

    let latent = Tensor::random([16, LATENT, 1, 1], Distribution::Normal(0., 1.), &device);
    let (old, new) = (before.valid(), after.valid());
    let pictures = old.forward(latent.clone().inner());
    let difference: f32 = (new.forward(latent.clone().inner()) - pictures.clone())
        .abs()
        .max()
        .into_scalar();
    let largest: f32 = pictures.abs().max().into_scalar();
    println!(
        "largest difference of two pixels: {difference:.1e}, where the largest is {largest:.2e}"
    );
    assert!(difference < 1e-5 * largest);

    let mut times = [vec![], vec![]];
    for _ in 0..turns {
        times[0].push(step(|x| before.forward(x), &latent));
        times[1].push(step(|x| after.forward(x), &latent));
    }
    let [before, after] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    });
    println!(
        "a training step of 16 pictures: {before:.0} ms before, {after:.0} ms after, {:.1} times as fast",
        before / after
    );
    Ok(())
}
