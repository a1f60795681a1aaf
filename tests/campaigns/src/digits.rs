//! How many digits long sums in `f32` keep: the gradient of the weight over up to 4,194,304
//! positions, by this crate and by Burn's own layer, against sums in `f64`.

use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Device, Tensor, TensorData};
use burn_deconv::{Deconv2dOptions, Padding, deconv2d};

use crate::draw::Draw;

/// Sixteen roundings, relative to the gradient's rms: below this the order of the sum decides by
/// chance which of two errors is the larger.
const NOISE: f64 = 16.0 * f32::EPSILON as f64;

/// Channels on both sides; the kernel is 2x2 at stride 2.
const CHANNELS: usize = 8;

/// Largest errors over the rms of the gradient.
struct Errors {
    ours: f64,
    burns: f64,
}

/// Gradients of a weight of `[CHANNELS, CHANNELS, 2, 2]`, in this crate's layout.
fn compare(batch: usize, side: usize, positive: bool) -> Errors {
    let mut draw = Draw::new(7);
    let mut values = |count: usize| -> Vec<f32> {
        let value = |_| {
            let fraction = draw.fraction() as f32;
            if positive {
                fraction
            } else {
                2.0 * fraction - 1.0
            }
        };
        (0..count).map(value).collect()
    };
    let x = values(batch * CHANNELS * side * side);
    let g = values(batch * CHANNELS * 4 * side * side);
    let exact = exact_gradient(batch, side, &x, &g);

    let device = Device::flex().autodiff();
    let shape = [batch, CHANNELS, side, side];
    let input = Tensor::<4>::from_data(TensorData::new(x, shape), &device);
    let shape = [batch, CHANNELS, 2 * side, 2 * side];
    let grad_output = Tensor::<4>::from_data(TensorData::new(g, shape), &device);
    let weight = || Tensor::<4>::zeros([CHANNELS, CHANNELS, 2, 2], &device).require_grad();

    let leaf = weight();
    let options = Deconv2dOptions::new()
        .with_stride([2, 2])
        .with_padding(Padding::Valid);
    let output = deconv2d(input.clone(), leaf.clone(), None, options);
    let gradients = (output * grad_output.clone()).sum().backward();
    let ours = leaf.grad(&gradients).expect("a gradient");

    let leaf = weight();
    let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
    let output = conv_transpose2d(input, leaf.clone(), None, options);
    let gradients = (output * grad_output).sum().backward();
    let burns = leaf.grad(&gradients).expect("a gradient");
    // Burn's layer turns no kernel and stores [in, out, k_h, k_w].
    let burns = burns.flip([2, 3]).swap_dims(0, 1);

    Errors {
        ours: largest_error(ours, &exact),
        burns: largest_error(burns, &exact),
    }
}

/// `[o][c][a][b]`, summed in `f64`.
fn exact_gradient(batch: usize, side: usize, x: &[f32], g: &[f32]) -> Vec<f64> {
    let mut exact = Vec::new();
    for o in 0..CHANNELS {
        for c in 0..CHANNELS {
            for tap in 0..4 {
                // The kernel is turned.
                let (y, x_place) = (1 - tap / 2, 1 - tap % 2);
                let mut sum = 0.0;
                for map in 0..batch {
                    for i in 0..side {
                        let input = &x[((map * CHANNELS + c) * side + i) * side..][..side];
                        let row = ((map * CHANNELS + o) * 2 * side + 2 * i + y) * 2 * side;
                        let output = g[row + x_place..][..2 * side - x_place].iter().step_by(2);
                        let products = input.iter().zip(output);
                        let products = products.map(|(a, b)| f64::from(*a) * f64::from(*b));
                        sum += products.sum::<f64>();
                    }
                }
                exact.push(sum);
            }
        }
    }
    exact
}

fn largest_error(gradient: Tensor<4>, exact: &[f64]) -> f64 {
    let data = gradient.into_data();
    let values = data.as_slice::<f32>().expect("f32");
    let squares: f64 = exact.iter().map(|value| value * value).sum();
    let rms = (squares / exact.len() as f64).sqrt();
    let errors = values.iter().zip(exact);
    let errors = errors.map(|(value, exact)| (f64::from(*value) - exact).abs());
    errors.fold(0.0, f64::max) / rms
}

/// Ones on `[1, 5, 4096, 5000]` with a 1x1 kernel: the gradient of each weight is the number of
/// positions, 20,480,000.
fn ones_are_counted() -> bool {
    let device = Device::flex().autodiff();
    let input = Tensor::<4>::ones([1, 5, 4096, 5000], &device);
    let weight = Tensor::<4>::ones([1, 5, 1, 1], &device).require_grad();
    let output = deconv2d(input, weight.clone(), None, Deconv2dOptions::new());
    let gradients = output.sum().backward();
    let gradient = weight.grad(&gradients).expect("a gradient").into_data();
    let gradient = gradient.as_slice::<f32>().expect("f32");
    println!("ones on [1, 5, 4096, 5000], 1x1 kernel: {gradient:?}");
    gradient.iter().all(|value| *value == 20_480_000.0)
}

/// Prints the errors. Fails if one of ours is larger than Burn's and than [`NOISE`], or ones are not
/// counted.
pub fn run() -> ExitCode {
    let begin = Instant::now();
    let mut right = true;
    println!("largest error of the weight's gradient over its rms, 8 to 8 channels, k 2 s 2");
    for (batch, side) in [(8, 128), (4, 512), (16, 512)] {
        for positive in [true, false] {
            let errors = compare(batch, side, positive);
            let range = if positive { "0..1" } else { "-1..1" };
            println!(
                "  {:>9} positions, values in {range:<6} burn-deconv {:.1e}, Burn's layer {:.1e}",
                batch * side * side,
                errors.ours,
                errors.burns
            );
            right &= errors.ours <= errors.burns.max(NOISE);
        }
    }
    right &= ones_are_counted();
    println!("{:.0?}", begin.elapsed());
    if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
