//! The gradient checker: it finds everything that is wrong, and nothing where nothing is.

mod broken;
mod faults;
mod reasons;
mod resolution;
mod usage;

use broken::{Broken, Fault, Of};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_gradcheck::{
    Finding, GradcheckFailure, GradcheckOptions, GradcheckReport, Mode, check, check_adjoint,
};

type Outcome = Result<GradcheckReport, GradcheckFailure>;

/// The modes; `None` is the adjoint check.
const MODES: [Option<Mode>; 4] = [
    Some(Mode::EveryElement),
    Some(Mode::Sampled(10)),
    Some(Mode::Projections),
    None,
];

fn options(mode: Mode) -> GradcheckOptions {
    GradcheckOptions::new().with_mode(mode)
}

/// Values in [-1, 1] that repeat.
fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    // The fractional parts of multiples of the golden ratio: Weyl's sequence.
    let values: Vec<f64> = (1..=count)
        .map(|i| 2.0 * (i as f64 * 0.618_033_988_749_895).fract() - 1.0)
        .collect();
    let data = TensorData::new(values, shape);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

/// Checks the operation with a fault. It has as many input as output channels, so swapped ones fit.
fn check_broken(fault: Fault, of: Of, mode: Option<Mode>, dtype: DType) -> Outcome {
    let broken = Broken::new(fault, of);
    let arguments = (
        ("input", random([2, 3, 3, 4])),
        ("weight", random([3, 3, 3, 3])),
        ("bias", random([3])),
    );
    let forward = |(input, weight, bias)| broken.forward(input, weight, bias);
    let options = GradcheckOptions::new().with_dtype(dtype);
    match mode {
        Some(mode) => check(arguments, forward, &options.with_mode(mode)),
        None => check_adjoint(arguments, forward, &options),
    }
}

fn named(finding: &Finding) -> String {
    match finding {
        Finding::WrongGradient { tensor, .. } => format!("wrong {tensor}"),
        Finding::NotAdjoint { tensor, .. } => format!("wrong {tensor}"),
        Finding::MissingGradient { tensor, .. } => format!("missing {tensor}"),
        Finding::UnexpectedGradient { tensor, .. } => format!("unexpected {tensor}"),
        other => format!("{other:?}"),
    }
}

/// The one finding of a check that fails.
fn only(outcome: Outcome) -> Finding {
    let failure = outcome.expect_err("a finding");
    assert_eq!(failure.findings.len(), 1, "{failure}");
    failure.findings[0].clone()
}
