//! `upsampler steps`: the time of a training step with this crate's transposed convolution, with
//! Burn's own, and with the explicit algorithm, on the same network and patches.

use std::time::{Duration, Instant};

use burn::tensor::{Distribution, Tensor};
use burn_deconv::{Algorithm, Deconv2dError};
use clap::Args;

use crate::data::Batch;
use crate::device::device;
use crate::error::UpsamplerError;
use crate::model::{Fsrcnn, FsrcnnConfig};
use crate::train::loss;

/// Times training steps with three kinds of last layer: ours, Burn's, and the explicit algorithm.
///
/// A step here is forward, loss and backward of one batch of random patches, without the optimiser.
/// The kinds take turns; printed are the medians.
#[derive(Args)]
pub struct StepsArgs {
    /// How much larger.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=4))]
    scale: u8,

    /// The number of patches in a batch.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// Height and width of a patch at low resolution.
    #[arg(long, value_name = "PIXELS", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=512))]
    patch: u16,

    /// The number of steps with each kind.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
}

/// Times and prints.
pub fn run(args: &StepsArgs) -> Result<(), UpsamplerError> {
    let device = device().autodiff();
    let config = FsrcnnConfig::new(args.scale.into());
    let model = config.init(&device);
    let [batch, patch, scale] = [args.batch, args.patch, args.scale.into()].map(usize::from);
    let random = |size| Tensor::random([batch, 1, size, size], Distribution::Default, &device);
    let batch = Batch {
        low: random(patch),
        truth: random(scale * patch),
    };
    let heads = heads(&model, &config).expect("the network's last layer can be expressed in Burn");

    let mut times: [Vec<Duration>; 3] = Default::default();
    for turn in 0..=args.steps {
        for (head, times) in heads.iter().zip(&mut times) {
            let time = step(&model, &batch, head);
            // The first turn warms up.
            if turn > 0 {
                times.push(time);
            }
        }
    }
    let [ours, ..] = &times;
    let ours = median(ours);
    println!("a training step (forward, loss, backward) of FSRCNN x{scale}, medians:");
    for (head, times) in heads.iter().zip(&times) {
        let time = median(times);
        println!(
            "{:24} {:8.1} ms  {:5.2}",
            head.name,
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() / ours.as_secs_f64(),
        );
    }
    Ok(())
}

/// A kind of last layer.
struct Head {
    name: &'static str,
    forward: Box<dyn Fn(Tensor<4>) -> Tensor<4>>,
}

/// The same layer in each kind.
fn heads(model: &Fsrcnn, config: &FsrcnnConfig) -> Result<[Head; 3], Deconv2dError> {
    let head = |name, forward| Head { name, forward };
    let ours = model.deconv.clone();
    let (burns, crop) = ours.to_conv_transpose2d_and_crop()?;
    let explicit = config.head().with_algorithm(Algorithm::Explicit);
    let explicit = explicit.init(&ours.weight.device());
    Ok([
        head("Deconv2dLayer", Box::new(move |x| ours.forward(x))),
        head(
            "ConvTranspose2d and crop",
            Box::new(move |x| crop.apply(burns.forward(x))),
        ),
        head(
            "Algorithm::Explicit",
            Box::new(move |x| explicit.forward(x)),
        ),
    ])
}

fn step(model: &Fsrcnn, batch: &Batch, head: &Head) -> Duration {
    let Batch { low, truth } = batch.clone();
    let started = Instant::now();
    let loss = loss(model.forward_with(low, &head.forward), truth);
    let gradients = loss.backward();
    let time = started.elapsed();
    drop(gradients);
    time
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}
