//! Checks the gradients of a small module, then breaks
//! it in two ways and shows what the checker says.
//!
//! ```text
//! cargo run --example gradcheck
//! ```

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_gradcheck::{Finding, GradcheckOptions, Mode, check, module};

/// A linear layer whose output passes through `scale * sin(frequency * x)`, channel by channel.
#[derive(Module, Debug)]
struct Wave {
    linear: Linear,
    frequency: Param<Tensor<1>>,
    scale: Param<Tensor<1>>,
}

impl Wave {
    fn init(device: &Device) -> Self {
        let from = |values: [f32; 3]| Param::from_tensor(Tensor::from_data(values, device));
        Self {
            linear: LinearConfig::new(4, 3).init(device),
            frequency: from([1.0, 2.0, 3.0]),
            scale: from([0.5, 1.0, -1.5]),
        }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let angle = self.linear.forward(input) * self.frequency.val().unsqueeze();
        angle.sin() * self.scale.val().unsqueeze()
    }

    /// Somebody meant to save memory.
    fn forward_detached(&self, input: Tensor<2>) -> Tensor<2> {
        let angle = self.linear.forward(input) * self.frequency.val().detach().unsqueeze();
        angle.sin() * self.scale.val().unsqueeze()
    }

    /// The value of `forward`, with a gradient of the scale that is 1.001 times what it should be.
    fn forward_scaled(&self, input: Tensor<2>) -> Tensor<2> {
        let scale = self.scale.val();
        let more = (scale.clone() - scale.detach()) * 0.001;
        let angle = self.linear.forward(input.clone()) * self.frequency.val().unsqueeze();
        self.forward(input) + angle.sin() * more.unsqueeze()
    }
}

fn main() {
    let device = Device::default();
    let wave = Wave::init(&device);
    let values: Vec<f32> = (0..8).map(|i| (i as f32 * 0.7).sin()).collect();
    let input = Tensor::<2>::from_data(TensorData::new(values, [2, 4]), &device);
    let arguments = || (module(&wave), ("input", input.clone()));

    println!("As it is, by random projections (the default):\n");
    let options = GradcheckOptions::new();
    let report = check(arguments(), |(wave, input)| wave.forward(input), &options)
        .unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report}\n");

    println!("Element by element, with the table:\n");
    let every_element = GradcheckOptions::new().with_mode(Mode::EveryElement);
    let report = check(
        arguments(),
        |(wave, input)| wave.forward(input),
        &every_element,
    )
    .unwrap_or_else(|failure| panic!("{failure}"));
    println!("{report:#}");

    println!("With the frequency detached:\n");
    let failure = check(
        arguments(),
        |(wave, input)| wave.forward_detached(input),
        &options,
    )
    .expect_err("a missing gradient");
    println!("{failure}");
    assert!(matches!(
        &failure.findings[..],
        [Finding::MissingGradient { tensor, .. }] if tensor == "frequency"
    ));

    println!("With a gradient of the scale that is 0.1 % too large:\n");
    let failure = check(
        arguments(),
        |(wave, input)| wave.forward_scaled(input),
        &options,
    )
    .expect_err("a wrong gradient");
    println!("{failure}");
    assert!(matches!(
        &failure.findings[..],
        [Finding::WrongGradient { tensor, .. }] if tensor == "scale"
    ));
}
