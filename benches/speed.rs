//! Both algorithms beside Burn's own `conv_transpose2d` on layers in real use: forward, and forward
//! with backward, in milliseconds. Each answer is checked before it is timed; the rivals take turns,
//! so that a machine whose speed drifts does not favour one; medians.
//!
//! ```text
//! cargo bench --features ndarray
//! ```

use std::time::{Duration, Instant};

use burn::tensor::module::conv_transpose2d;
use burn::tensor::ops::ConvTransposeOptions;
use burn::tensor::{Device, Distribution, Tensor};
use burn_deconv::{Algorithm, Deconv2dOptions, Geometry, deconv2d};

/// Name, input `[n, c_in, h, w]`, `c_out`, kernel and stride of both axes; all `Padding::Same`.
const LAYERS: [(&str, [usize; 4], usize, usize, usize); 7] = [
    ("article", [1, 4, 3, 3], 2, 3, 2),
    ("dcgan_8_to_16", [16, 256, 8, 8], 128, 4, 2),
    ("unet_up", [4, 128, 32, 32], 64, 2, 2),
    ("segmentation_up", [1, 64, 64, 64], 32, 3, 2),
    ("rgb_head", [4, 32, 64, 64], 3, 4, 2),
    ("super_resolution_x3", [1, 56, 96, 96], 1, 9, 3),
    ("stride_1", [1, 32, 32, 32], 32, 3, 1),
];

const ROUNDS: usize = 15;
/// A slow layer gets fewer rounds: after this time none but the least.
const PATIENCE: Duration = Duration::from_secs(6);
const LEAST_ROUNDS: usize = 3;

type Form<'a> = (&'a str, Box<dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<4> + 'a>);

fn main() {
    let mut devices = vec![("flex", Device::flex())];
    #[cfg(feature = "ndarray")]
    #[allow(deprecated)] // by Burn, which ends its support with version 0.23
    devices.push(("ndarray", Device::ndarray()));

    for (backend, device) in devices {
        println!(
            "\n| {backend}: forward / forward and backward, ms | explicit | skip-zeros | Burn |"
        );
        println!("|---|---|---|---|");
        for layer in LAYERS {
            let times =
                measure(layer, &device).map(|[forward, both]| format!("{forward:.2} / {both:.2}"));
            println!("| {} | {} |", layer.0, times.join(" | "));
        }
    }
}

/// The medians of explicit, skip-zeros and Burn, each forward and forward with backward.
fn measure(
    (name, input, c_out, kernel, stride): (&str, [usize; 4], usize, usize, usize),
    device: &Device,
) -> [[f64; 2]; 3] {
    let weight = [c_out, input[1], kernel, kernel];
    let options = Deconv2dOptions::new().with_stride([stride, stride]);
    let geometry = Geometry::new(input, weight, &options).expect("a legal layer");
    let random =
        |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), device);
    let (x, w, grad) = (
        random(input),
        random(weight),
        random(geometry.output_shape()),
    );

    let ours = |algorithm| {
        let options = options.clone().with_algorithm(algorithm);
        move |x, w| deconv2d(x, w, None, options.clone())
    };
    let forms: [Form; 3] = [
        ("explicit", Box::new(ours(Algorithm::Explicit))),
        ("skip-zeros", Box::new(ours(Algorithm::SkipZeros))),
        ("Burn", Box::new(|x, w| burn_layer(x, w, &geometry))),
    ];
    // Burn's weight lies in its own layout before the clock starts.
    let turned = w.clone().flip([2, 3]).swap_dims(0, 1);
    let turned = Tensor::<4>::from_data(turned.into_data(), device);
    let weights = [w.clone(), w, turned];

    let outputs = [0, 1, 2].map(|i| forms[i].1(x.clone(), weights[i].clone()));
    for (i, output) in outputs.iter().enumerate() {
        let difference = (output.clone() - outputs[0].clone()).abs().max();
        let difference = difference.into_scalar::<f32>();
        // A sum of c_in * k * k products of at most 1 in f32.
        let bound = (input[1] * kernel * kernel) as f32 * f32::EPSILON;
        assert!(
            difference <= bound,
            "{name}: {} is off by {difference}",
            forms[i].0
        );
    }

    let mut times = [[(); 2]; 3].map(|row| row.map(|()| Vec::new()));
    let mut round = |i: usize| {
        let form = &forms[i].1;
        let clock = Instant::now();
        let output = form(x.clone(), weights[i].clone());
        times[i][0].push(clock.elapsed().as_secs_f64() * 1e3);
        drop(output);

        let tracked = |tensor: &Tensor<4>| Tensor::<4>::from_inner(tensor.clone()).require_grad();
        let (x, w) = (tracked(&x), tracked(&weights[i]));
        let clock = Instant::now();
        let loss = (form(x.clone(), w.clone()) * Tensor::from_inner(grad.clone())).sum();
        let gradients = loss.backward();
        times[i][1].push(clock.elapsed().as_secs_f64() * 1e3);
        let complete = x.grad(&gradients).is_some() && w.grad(&gradients).is_some();
        assert!(complete, "{name}: {} has no gradient", forms[i].0);
    };
    // The rivals take turns. The explicit algorithm, whose large maps would leave the allocator and
    // the caches in another state for them, goes last.
    for group in [&[1, 2][..], &[0]] {
        let start = Instant::now();
        for done in 0..ROUNDS {
            if done >= LEAST_ROUNDS && start.elapsed() > PATIENCE {
                break;
            }
            group.iter().for_each(|&i| round(i));
        }
    }
    times.map(|row| row.map(median))
}

/// The crop at the end that Burn's symmetric padding cannot express is sliced off.
fn burn_layer(x: Tensor<4>, w: Tensor<4>, geometry: &Geometry) -> Tensor<4> {
    let strides = geometry.axes().map(|axis| axis.stride());
    let padding = geometry.axes().map(|axis| axis.crop_begin());
    let options = ConvTransposeOptions::new(strides, padding, [0, 0], [1, 1], 1);
    let output = conv_transpose2d(x, w, None, options);
    let [n, c, h, w] = geometry.output_shape();
    match output.dims() == geometry.output_shape() {
        true => output,
        false => output.slice([0..n, 0..c, 0..h, 0..w]),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
