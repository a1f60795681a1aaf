//! Random layers on Flex against plain loops and an independent formula of the sizes.
//!
//! Three kinds of cases, by their number:
//!
//! - most compare the output and all gradients of both algorithms with [`expected`], for views,
//!   tracked subsets, f32 and f64; one in 16 has a large kernel
//! - one in eight has infinite, NaN and negative zero values
//! - one in four has extreme or illegal parameters, and compares only the sizes
//!
//! All finite values are whole numbers, so results are compared with `==`. Four threads call at
//! once, some of them from a Rayon pool of their own.

mod case;
mod sizes;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use burn::tensor::ops::PadMode;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_deconv::{Algorithm, try_deconv2d};

use self::case::{Layer, Values};
use self::sizes::check_sizes;
use crate::draw::Draw;

/// The threads that call at the same time.
const THREADS: usize = 4;
/// A case that takes longer counts as a hang.
const MAX_TIME: Duration = Duration::from_secs(60);
/// The most products of a case, so it takes milliseconds.
const MAX_PRODUCTS: usize = 1 << 20;
/// The explicit algorithm multiplies by the inserted zeros, and is left out above this.
const MAX_EXPLICIT_PRODUCTS: usize = 1 << 22;
/// Only so many failures are printed.
const MAX_MESSAGES: usize = 10;

#[derive(Default)]
struct Counts {
    layers: AtomicUsize,
    sizes: AtomicUsize,
    comparisons: AtomicUsize,
    wrong: AtomicUsize,
}

impl Counts {
    fn compare<T: PartialEq>(&self, what: &str, case: &dyn Debug, got: &T, expected: &T) {
        self.comparisons.fetch_add(1, Relaxed);
        if got != expected {
            self.report(&format!("{what} of {case:?}"));
        }
    }

    fn report(&self, message: &str) {
        if self.wrong.fetch_add(1, Relaxed) < MAX_MESSAGES {
            println!("wrong: {message}");
        }
    }
}

/// Runs the campaign. It fails if anything is wrong, panics or hangs.
pub fn run(cases: usize, seed: u64) -> ExitCode {
    let clock = Instant::now();
    let (next, counts) = (AtomicUsize::new(0), Counts::default());
    let running: [Mutex<Option<(usize, Instant)>>; THREADS] = Default::default();
    std::thread::scope(|scope| {
        let workers = running.each_ref().map(|running| {
            let (next, counts) = (&next, &counts);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= cases {
                        return;
                    }
                    *running.lock().unwrap() = Some((number, Instant::now()));
                    let one = || run_one(number, seed, counts);
                    if catch_unwind(AssertUnwindSafe(one)).is_err() {
                        counts.report(&format!("case {number} of seed {seed} panics"));
                    }
                    *running.lock().unwrap() = None;
                }
            })
        });
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            for running in &running {
                if let Some((number, start)) = *running.lock().unwrap()
                    && start.elapsed() > MAX_TIME
                {
                    println!("case {number} of seed {seed} hangs");
                    std::process::exit(1);
                }
            }
        }
    });

    let count = |counter: &AtomicUsize| counter.load(Relaxed);
    println!(
        "layer, seed {seed}: {} layers, {} sizes, {} comparisons, {} wrong, {:.1} s",
        count(&counts.layers),
        count(&counts.sizes),
        count(&counts.comparisons),
        count(&counts.wrong),
        clock.elapsed().as_secs_f64()
    );
    if count(&counts.wrong) == 0 && count(&counts.layers) > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_one(number: usize, seed: u64, counts: &Counts) {
    let mut draw = Draw::new(seed.wrapping_mul(1 << 32).wrapping_add(number as u64));
    if number % 4 == 3 {
        return check_sizes(&mut draw, counts);
    }
    let layer = Layer::random(&mut draw);
    let values = Values::random(&mut draw, &layer, number % 8 == 1);
    if draw.below(8) == 0 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1 + draw.below(3));
        let pool = pool.build().expect("a pool of threads");
        pool.install(|| check_layer(&mut draw, &layer, &values, counts));
    } else {
        check_layer(&mut draw, &layer, &values, counts);
    }
}

/// Output and gradients of input, weight and bias.
#[derive(Default)]
struct Answer {
    output: Vec<f64>,
    grad_input: Vec<f64>,
    grad_weight: Vec<f64>,
    grad_bias: Vec<f64>,
}

/// Every product of a value and a weight, one by one: value `i` times tap `t` belongs to place
/// `i * s + (k - 1 - t) * d` of the full map.
fn expected(layer: &Layer, values: &Values, bias: bool) -> Answer {
    let [n, c_out, o_h, o_w] = layer.output_shape();
    let [_, c_in, h, w] = layer.input_shape();
    let [_, c_in_per_group, k_h, k_w] = layer.weight_shape();
    let c_out_per_group = c_out / layer.sizes.groups;
    let place = |axis: usize, value: usize, tap: usize| {
        let sizes = layer.sizes.axes[axis];
        let place = value * sizes.stride + (sizes.kernel - 1 - tap) * sizes.dilation;
        let place = place.checked_sub(layer.windows[axis].begin)?;
        (place < layer.windows[axis].output).then_some(place)
    };
    let mut answer = Answer {
        output: vec![0.0; values.grad_output.len()],
        grad_input: vec![0.0; values.input.len()],
        grad_weight: vec![0.0; values.weight.len()],
        grad_bias: vec![0.0; c_out],
    };
    for map in 0..n {
        for o in 0..c_out {
            let plane = (map * c_out + o) * o_h * o_w;
            for at in plane..plane + o_h * o_w {
                answer.grad_bias[o] += values.grad_output[at];
            }
            for i in 0..c_in_per_group {
                let c = o / c_out_per_group * c_in_per_group + i;
                for (y, ky) in (0..h).flat_map(|y| (0..k_h).map(move |ky| (y, ky))) {
                    let Some(row) = place(0, y, ky) else { continue };
                    for (x, kx) in (0..w).flat_map(|x| (0..k_w).map(move |kx| (x, kx))) {
                        let Some(column) = place(1, x, kx) else {
                            continue;
                        };
                        let value = ((map * c_in + c) * h + y) * w + x;
                        let tap = ((o * c_in_per_group + i) * k_h + ky) * k_w + kx;
                        let output = plane + row * o_w + column;
                        answer.output[output] += values.input[value] * values.weight[tap];
                        answer.grad_input[value] += values.grad_output[output] * values.weight[tap];
                        answer.grad_weight[tap] += values.grad_output[output] * values.input[value];
                    }
                }
            }
            if bias {
                for at in plane..plane + o_h * o_w {
                    answer.output[at] += values.bias[o];
                }
            }
        }
    }
    answer
}

fn check_layer(draw: &mut Draw, layer: &Layer, values: &Values, counts: &Counts) {
    let (bias, dtype) = (draw.below(2) == 0, draw.pick(&[DType::F32, DType::F64]));
    let expected = expected(layer, values, bias);
    let device = Device::flex().autodiff();
    let tracking = if draw.below(4) == 0 {
        device.clone().gradient_checkpointing()
    } else {
        device
    };
    counts.layers.fetch_add(1, Relaxed);
    for algorithm in [Algorithm::SkipZeros, Algorithm::Explicit] {
        let [_, c_out, ..] = layer.output_shape();
        let fulls: usize = layer
            .sizes
            .axes
            .iter()
            .map(|axis| (axis.input * axis.stride + axis.kernel * axis.dilation) * axis.kernel)
            .product();
        let explicit_products = fulls * layer.sizes.batch * c_out * layer.weight_shape()[1];
        if algorithm == Algorithm::Explicit
            && (!values.finite || explicit_products > MAX_EXPLICIT_PRODUCTS)
        {
            continue; // 0 * inf is NaN there, as its documentation says.
        }
        let tracked = [0, 1, 2].map(|_| draw.below(4) > 0);
        let view = [draw.below(4), draw.below(4)];
        let case = (layer, algorithm, dtype, bias, tracked, view);

        let leaf = |values: &[f64], shape: [usize; 4], tracked: bool| {
            let data = TensorData::new(values.to_vec(), shape);
            Tensor::<4>::from_data(data, (&tracking, dtype)).set_require_grad(tracked)
        };
        let input = leaf(&values.input, layer.input_shape(), tracked[0]);
        let weight = leaf(&values.weight, layer.weight_shape(), tracked[1]);
        let bias = bias.then(|| {
            let data = TensorData::new(values.bias.clone(), [c_out]);
            Tensor::<1>::from_data(data, (&tracking, dtype)).set_require_grad(tracked[2])
        });
        let (x, w) = (
            as_view(input.clone(), view[0]),
            as_view(weight.clone(), view[1]),
        );
        let options = layer.options().with_algorithm(algorithm);
        let output = match try_deconv2d(x, w, bias.clone(), options) {
            Ok(output) => output,
            Err(error) => {
                counts.report(&format!("{error}: {case:?}"));
                continue;
            }
        };
        counts.compare("shape", &case, &output.dims(), &layer.output_shape());
        counts.compare(
            "output",
            &case,
            &bits(output.clone()),
            &same_bits(&expected.output),
        );
        if !output.is_tracked() {
            continue;
        }
        let grad_output = leaf(&values.grad_output, layer.output_shape(), false);
        let grads = backward(output, grad_output);
        let gradient = |what, tensor: Option<Vec<u64>>, tracked: bool, expected: &[f64]| {
            let expected = tracked.then(|| same_bits(expected));
            counts.compare(what, &case, &tensor, &expected);
        };
        let (grad_input, grad_weight) = (input.grad(&grads), weight.grad(&grads));
        gradient(
            "input's gradient",
            grad_input.map(bits),
            tracked[0],
            &expected.grad_input,
        );
        gradient(
            "weight's gradient",
            grad_weight.map(bits),
            tracked[1],
            &expected.grad_weight,
        );
        if let Some(bias) = bias {
            let grad_bias = bias.grad(&grads).map(bits);
            gradient(
                "bias's gradient",
                grad_bias,
                tracked[2],
                &expected.grad_bias,
            );
        }
    }
}

/// The gradients for this output gradient. A product with the output would turn an infinite output
/// and a gradient of zero into NaN, but only in the loss, which nobody reads.
fn backward(output: Tensor<4>, grad_output: Tensor<4>) -> burn::tensor::Gradients {
    (output * grad_output).sum().backward()
}

/// The same values with another order in memory: a permutation, the inside of a larger tensor whose
/// border is NaN, or rows from the last to the first.
fn as_view(tensor: Tensor<4>, kind: usize) -> Tensor<4> {
    match kind {
        0 => tensor,
        1 => {
            let [a, b, c, d] = tensor.dims();
            let flat: Tensor<2> = tensor.permute([3, 1, 0, 2]).reshape([d * b, a * c]);
            flat.reshape([d, b, a, c]).permute([2, 1, 3, 0])
        }
        2 => {
            let [a, b, c, d] = tensor.dims();
            let padded = tensor.pad([(1, 1), (2, 1)], PadMode::Constant(f32::NAN));
            padded.slice([0..a, 0..b, 1..c + 1, 2..d + 2])
        }
        _ => tensor.flip([2, 3]).flip([3, 2]),
    }
}

/// The values as bits of f64, with one NaN and one zero.
fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u64> {
    same_bits(&tensor.try_into_vec_as::<f64>().expect("a tensor of floats"))
}

fn same_bits(values: &[f64]) -> Vec<u64> {
    let one = |value: &f64| {
        if value.is_nan() {
            f64::NAN.to_bits()
        } else {
            (value + 0.0).to_bits() // -0.0 + 0.0 is 0.0
        }
    };
    values.iter().map(one).collect()
}
