//! Modules that make tensors in the device's default type, checked in f64. The default belongs to
//! the process, so this file has one of its own.

use burn::nn::{GruConfig, LstmConfig};
use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use burn_gradcheck::{GradcheckOptions, Mode, Verdict, check, module};

#[test]
fn recurrent_modules_of_burn_pass_every_mode() {
    let mut device = Device::flex();
    device.configure(FloatDType::F64).unwrap();
    device.seed(1); // With some initial values, rounding hides a little more than the tolerance.
    let lstm = LstmConfig::new(3, 4, true).init(&device);
    let gru = GruConfig::new(3, 4, true).init(&device);
    let input = || {
        (
            "input",
            Tensor::<3>::random([2, 5, 3], Distribution::Default, &device),
        )
    };
    for mode in [Mode::EveryElement, Mode::Sampled(5), Mode::Projections] {
        let options = GradcheckOptions::new().with_mode(mode);
        let lstm = check(
            (module(&lstm), input()),
            |(lstm, input)| {
                let (output, state) = lstm.forward(input, None);
                (output, state.cell)
            },
            &options,
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
        let gru = check(
            (module(&gru), input()),
            |(gru, input)| gru.forward(input, None),
            &options,
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!((lstm.tensors.len(), gru.tensors.len()), (17, 13));
        for tensor in lstm.tensors.iter().chain(&gru.tensors) {
            assert_eq!(tensor.verdict, Verdict::Agrees, "{lstm:#} {gru:#}");
        }
    }
}
