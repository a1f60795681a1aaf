//! Modules, costs, progress and reports.

use std::sync::{Arc, Mutex};

use burn::nn::conv::{Conv2dConfig, ConvTranspose2dConfig};
use burn::nn::{BatchNormConfig, LayerNormConfig, Linear, LinearConfig, LstmConfig};
use burn::tensor::{DType, Device, Distribution, Tensor};
use burn_gradcheck::{
    GradcheckFailure, GradcheckOptions, GradcheckReport, Mode, Verdict, check, check_adjoint,
    module,
};

use crate::broken::{Fault, Of};
use crate::{Outcome, check_broken, options, random};

#[test]
fn modules_of_burn_pass_every_mode() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::F64, 5e-9), (DType::F32, 5e-4)] {
        for mode in [Mode::EveryElement, Mode::Sampled(5), Mode::Projections] {
            let options = options(mode).with_dtype(dtype);
            let options = match dtype {
                // The weights are random in every run.
                DType::F32 => options.with_relative_tolerance(1e-3),
                _ => options,
            };
            let passes = |outcome: Outcome, names: &[&str]| {
                let report = outcome.unwrap_or_else(|failure| panic!("{failure}"));
                let got: Vec<_> = report.tensors.iter().map(|tensor| &tensor.name).collect();
                assert_eq!(got, names);
                for tensor in &report.tensors {
                    assert_ne!(tensor.verdict, Verdict::Unused, "{report:#}");
                    assert!(tensor.largest_error < tolerance, "{report:#}");
                    assert!(tensor.resolution < 10.0 * tolerance, "{report:#}");
                }
            };

            let linear = LinearConfig::new(4, 3).init(&device);
            passes(
                check(
                    (module(&linear), random([5, 4])),
                    |(linear, x)| linear.forward(x),
                    &options,
                ),
                &["weight", "bias", "argument 1"],
            );
            let conv = Conv2dConfig::new([2, 3], [3, 3]).init(&device);
            passes(
                check(
                    (("conv", module(&conv)), ("x", random([2, 2, 5, 4]))),
                    |(conv, x)| conv.forward(x),
                    &options,
                ),
                &["conv.weight", "conv.bias", "x"],
            );
            let norm = LayerNormConfig::new(4).init(&device);
            passes(
                check(
                    (module(&norm), ("x", random([5, 4]))),
                    |(norm, x)| norm.forward(x),
                    &options,
                ),
                &["gamma", "beta", "x"],
            );
        }
    }
}

#[test]
fn a_module_with_tensors_of_its_own_is_checked_in_their_type() {
    let lstm = LstmConfig::new(3, 4, true).init(&Device::flex());
    let check_in = |dtype| {
        check(
            (module(&lstm), ("x", random([2, 5, 3]))),
            |(lstm, x)| {
                let (output, state) = lstm.forward(x, None);
                (output, state.cell)
            },
            &GradcheckOptions::new()
                .with_dtype(dtype)
                .with_relative_tolerance(1e-3),
        )
    };
    let report = check_in(DType::F32).unwrap();
    assert_eq!(report.tensors.len(), 17);
    let text = check_in(DType::F64).unwrap_err().to_string();
    assert!(text.contains("as Burn's Lstm does"), "{text}");
}

#[test]
fn the_module_stays_as_it_is() {
    let device = Device::flex();
    let norm = BatchNormConfig::new(2).init(&device);
    let deconv = ConvTranspose2dConfig::new([2, 2], [3, 3]).init(&device);
    let before = (
        norm.running_mean.value().into_data(),
        deconv.weight.val().into_data(),
    );
    let x = Tensor::<4>::random([2, 2, 3, 4], Distribution::Default, &device);
    let report = check(
        (
            ("norm", module(&norm)),
            ("deconv", module(&deconv)),
            ("x", x),
        ),
        |(norm, deconv, x)| norm.forward(deconv.forward(x)),
        &options(Mode::Projections),
    )
    .unwrap();
    assert_eq!(report.frozen, ["norm.running_mean", "norm.running_var"]);
    let after = (
        norm.running_mean.value().into_data(),
        deconv.weight.val().into_data(),
    );
    assert_eq!(before, after);
}

#[test]
fn costs_are_as_documented() {
    let shapes = || (random([3, 4]), random([5]));
    let (elements, tensors) = (17, 2);
    for (mode, seeds, forwards) in [
        (Mode::EveryElement, 2, 2 * elements),
        (Mode::Sampled(4), 3, 2 * 4 * tensors),
        (Mode::Projections, 3, 2 * tensors * 3),
    ] {
        let report = check(
            shapes(),
            |(a, b)| (a.sin(), b.exp()),
            &options(mode).with_seeds(0..seeds as u64),
        )
        .unwrap();
        assert_eq!(report.backwards, seeds + 2);
        assert_eq!(
            report.forwards,
            forwards + tensors + 2 * seeds + 6,
            "{mode:?}"
        );
    }
}

#[test]
fn progress_is_reported() {
    let seen = Arc::new(Mutex::new(vec![]));
    let options = options(Mode::EveryElement).with_progress({
        let seen = seen.clone();
        move |progress| {
            let line = (progress.tensor.clone(), progress.done, progress.total);
            seen.lock().unwrap().push(line);
        }
    });
    check(
        (random([3]), random([2])),
        |(a, b)| (a.sin(), b.exp()),
        &options,
    )
    .unwrap();
    let expected = [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]
        .map(|(argument, done)| (format!("argument {argument}"), done, 5));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn reports_print_and_serialise() {
    let report = check(
        (vec![random([2, 2]), random([2, 2])], ("b", random([2, 2]))),
        |(a, b)| vec![a[0].clone() * b.clone(), a[1].clone() + b],
        &options(Mode::EveryElement).with_seeds([5]),
    )
    .unwrap();
    let line = report.to_string();
    assert!(
        line.starts_with("gradients agree: 3 tensors, every element, F64, 1 seed, "),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
    let table = format!("{report:#}");
    assert_eq!(table.lines().count(), 5);
    assert!(table.contains("\n0.0     [2, 2]  "), "{table}");
    let json = serde_json::to_string(&report).unwrap();
    let read: GradcheckReport = serde_json::from_str(&json).unwrap();
    assert_eq!(format!("{read:#}"), table);

    let failure = check_broken(Fault::Scaled, Of::Bias, Some(Mode::Projections), DType::F64);
    let failure = failure.unwrap_err();
    let json = serde_json::to_string(&failure).unwrap();
    let read: GradcheckFailure = serde_json::from_str(&json).unwrap();
    assert_eq!(read.to_string(), failure.to_string());
    println!("{failure}");
}

#[test]
fn closures_over_linear_modules_pass_the_adjoint_check() {
    let linear: Linear = LinearConfig::new(4, 3).init(&Device::flex());
    let report = check_adjoint(
        (module(&linear), ("x", random([5, 4]))),
        |(linear, x)| linear.forward(x),
        &GradcheckOptions::new(),
    )
    .unwrap();
    assert!(
        report
            .tensors
            .iter()
            .all(|tensor| tensor.largest_error < 1e-15),
        "{report:#}"
    );
    assert_eq!(report.mode, None);
    let layer = ConvTranspose2dConfig::new([4, 3], [4, 4])
        .with_stride([2, 2])
        .with_padding([1, 1])
        .init(&Device::flex());
    check_adjoint(
        (module(&layer), ("x", random([2, 4, 3, 5]))),
        |(layer, x)| layer.forward(x),
        &GradcheckOptions::new(),
    )
    .unwrap();
}
