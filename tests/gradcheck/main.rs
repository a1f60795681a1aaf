//! The gradient checker: it finds everything that is wrong, and nothing where nothing is.

mod broken;

use std::sync::{Arc, Mutex};

use broken::{Broken, Fault, Of};
use burn::module::Module;
use burn::nn::conv::Conv2dConfig;
use burn::nn::{BatchNormConfig, DropoutConfig, LayerNormConfig, Linear, LinearConfig, LstmConfig};
use burn::tensor::{DType, Device, Distribution, Tensor};
use burn_deconv::gradcheck::{
    Finding, GradcheckFailure, GradcheckOptions, GradcheckReport, Mode, Verdict, check,
    check_adjoint, module,
};
use burn_deconv::{Deconv2dLayerConfig, Padding};

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
    let data = burn::tensor::TensorData::new(values, shape);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

/// Checks the operation with a fault. As many input as output channels, so that swapped ones fit.
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

#[test]
fn the_operation_without_a_fault_passes_every_mode() {
    for mode in MODES {
        for dtype in [DType::F64, DType::F32] {
            let report = check_broken(Fault::None, Of::Input, mode, dtype).unwrap();
            for tensor in &report.tensors {
                assert_eq!(tensor.verdict, Verdict::Agrees);
                let tolerance = match (mode, dtype) {
                    (None, DType::F64) => 1e-15,
                    (None, _) => 1e-6,
                    (_, DType::F64) => 1e-9,
                    _ => 1e-4,
                };
                assert!(tensor.largest_error <= tolerance, "{mode:?} {report:#}");
            }
        }
    }
}

#[test]
fn every_mode_finds_every_fault_and_names_the_tensor() {
    let faults = [
        (Fault::SignFlipped, Of::Input),
        (Fault::SignFlipped, Of::Weight),
        (Fault::SignFlipped, Of::Bias),
        (Fault::KernelNotRotated, Of::Input),
        (Fault::KernelNotRotated, Of::Weight),
        (Fault::BorderRowMissing, Of::Input),
        (Fault::BorderRowMissing, Of::Weight),
        (Fault::BorderRowMissing, Of::Bias),
        (Fault::ChannelsSwapped, Of::Input),
        (Fault::ChannelsSwapped, Of::Weight),
        (Fault::Scaled, Of::Input),
        (Fault::Scaled, Of::Weight),
        (Fault::Scaled, Of::Bias),
        (Fault::StaleSavedTensor, Of::Input),
        (Fault::StaleSavedTensor, Of::Weight),
    ];
    for dtype in [DType::F64, DType::F32] {
        for (fault, of) in faults {
            for mode in MODES {
                let failure = check_broken(fault, of, mode, dtype).expect_err("a finding");
                let found: Vec<_> = failure.findings.iter().map(named).collect();
                let expected = format!("wrong {}", of.name());
                assert_eq!(found, [expected], "{fault:?} {mode:?} {dtype:?}\n{failure}");

                let error = (failure.report.tensors.iter())
                    .find(|tensor| tensor.verdict == Verdict::Fails)
                    .unwrap();
                println!(
                    "{dtype:?} {fault:?} {of:?} {mode:?} {:.1e}",
                    error.largest_error
                );
            }
        }
    }
}

/// The one finding of a check that fails.
fn only(outcome: Outcome) -> Finding {
    let failure = outcome.expect_err("a finding");
    assert_eq!(failure.findings.len(), 1, "{failure}");
    failure.findings[0].clone()
}

#[test]
fn the_worst_element_is_named() {
    // One element of the gradient is wrong, by a millionth.
    let x = random([2, 3, 4]);
    let mut spot = vec![0.0; 24];
    spot[17] = 1e-6;
    let spot = Tensor::<3>::from_data(
        burn::tensor::TensorData::new(spot, [2, 3, 4]),
        (&Device::flex(), DType::F64),
    );
    for mode in [Mode::EveryElement, Mode::Projections] {
        let spot = spot.clone();
        let broken = move |x: Tensor<3>| {
            let off = x.clone() - x.clone().detach();
            x.sin() + off * spot.clone()
        };
        let finding = only(check(("x", x.clone()), broken, &options(mode)));
        let text = finding.to_string();
        let Finding::WrongGradient { tensor, worst, .. } = finding else {
            panic!("{text}")
        };
        assert_eq!(tensor, "x");
        assert_eq!(worst.index, Some(vec![1, 1, 1]), "{mode:?}");
        assert!(text.contains("at x[1,1,1]: analytic "), "{text}");
        // The numeric values agree with each other, and not with the analytic one.
        assert!(worst.error_estimate < worst.tolerance);
        assert!((worst.analytic - worst.numeric_half).abs() > 10.0 * worst.tolerance);
    }
}

#[test]
fn missing_gradients_are_told_from_unused_tensors() {
    let arguments = || {
        (
            ("x", random([3, 4])),
            ("scale", random([3, 4])),
            ("unused", random([5])),
        )
    };
    for mode in [Mode::EveryElement, Mode::Sampled(4), Mode::Projections] {
        let outcome = check(
            arguments(),
            |(x, scale, _): (Tensor<2>, Tensor<2>, Tensor<1>)| x * scale.detach(),
            &options(mode),
        );
        let failure = outcome.unwrap_err();
        assert_eq!(failure.report.tensors[2].verdict, Verdict::Unused);
        let [Finding::MissingGradient { tensor, worst }] = &failure.findings[..] else {
            panic!("{failure}")
        };
        assert_eq!((tensor.as_str(), worst.analytic), ("scale", 0.0));
    }
    // The same by an operation that never registers one.
    for of in [Of::Input, Of::Weight, Of::Bias] {
        let finding = only(check_broken(
            Fault::Missing,
            of,
            Some(Mode::Projections),
            DType::F64,
        ));
        assert_eq!(named(&finding), format!("missing {}", of.name()));
        let finding = only(check_broken(Fault::Missing, of, None, DType::F64));
        assert_eq!(named(&finding), format!("wrong {}", of.name()));
    }
}

#[test]
fn gradients_of_unused_tensors_are_unexpected() {
    for mode in [Mode::EveryElement, Mode::Sampled(4), Mode::Projections] {
        let finding = only(check(
            (("x", random([3, 4])), ("unused", random([3, 4]))),
            |(x, unused)| x.sin() + (unused.clone() - unused.detach()),
            &options(mode),
        ));
        assert_eq!(named(&finding), "unexpected unused");
    }
    let finding = only(check_adjoint(
        (("x", random([3, 4])), ("unused", random([3, 4]))),
        |(x, unused)| x * 2.0 + (unused.clone() - unused.detach()),
        &GradcheckOptions::new(),
    ));
    let Finding::NotAdjoint { tensor, error, .. } = finding else {
        panic!("{finding}")
    };
    assert_eq!((tensor.as_str(), error), ("unused", 1.0));
}

#[test]
fn nothing_to_check_is_a_failure() {
    let constant: fn(Tensor<2>) -> Tensor<2> = |x| Tensor::ones([2, 2], (&x.device(), DType::F64));
    for function in [constant, |x| x * 0.0] {
        let finding = only(check(random([3, 4]), function, &options(Mode::Projections)));
        assert_eq!(finding, Finding::NothingDepends);
        let finding = only(check_adjoint(
            random([3, 4]),
            function,
            &GradcheckOptions::new(),
        ));
        assert_eq!(finding, Finding::NothingDepends);
    }

    let frozen = LinearConfig::new(3, 2).init(&Device::flex()).no_grad();
    let input = random([1, 3]);
    let finding = only(check(
        module(&frozen),
        |frozen| frozen.forward(input.clone()),
        &options(Mode::Projections),
    ));
    let frozen = ["weight", "bias"].map(String::from).to_vec();
    assert_eq!(finding, Finding::NoTensors { frozen });
}

#[test]
fn wrong_shapes_and_data_types_are_found() {
    for mode in [Some(Mode::Projections), None] {
        let finding = only(check_broken(
            Fault::WrongShape,
            Of::Weight,
            mode,
            DType::F64,
        ));
        assert_eq!(
            finding.to_string(),
            "weight: the gradient has the shape [1, 1, 1, 81], expected the tensor's, [3, 3, 3, 3]"
        );
        let finding = only(check_broken(
            Fault::WrongDType,
            Of::Weight,
            mode,
            DType::F64,
        ));
        assert_eq!(
            finding.to_string(),
            "weight: the gradient has the data type F32, expected that of the arguments, F64"
        );
    }
    let to_f32 = |x: Tensor<2>| x.cast(DType::F32);
    let finding = only(check(random([3, 4]), to_f32, &options(Mode::Projections)));
    assert_eq!(
        finding.to_string(),
        "output: the output has the data type F32, expected that of the arguments, F64"
    );
}

#[test]
fn chance_is_found() {
    let outcome = check_broken(
        Fault::NonDeterministic,
        Of::Weight,
        Some(Mode::Projections),
        DType::F64,
    );
    assert!(matches!(
        only(outcome),
        Finding::NonDeterministic { tensor, .. } if tensor == "weight"
    ));

    let dropout = DropoutConfig::new(0.5).init();
    let outcome = check(
        ("x", random([8, 8])),
        |x| dropout.forward(x),
        &options(Mode::Projections),
    );
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.contains("output: not deterministic, at output["),
        "{text}"
    );
}

#[test]
fn dependence_on_the_memory_order_is_found() {
    for mode in MODES {
        let failure = check_broken(Fault::IgnoresStrides, Of::Input, mode, DType::F64).unwrap_err();
        let tensors: Vec<_> = (failure.findings.iter())
            .map(|finding| match finding {
                Finding::LayoutDependent { tensor, .. } => tensor.as_str(),
                other => panic!("{other}"),
            })
            .collect();
        // The bias's is a sum over all of its channel, and the order of channels changes too.
        assert_eq!(tensors, ["input", "weight", "bias"], "{failure}");
    }
}

#[test]
fn kinks_are_no_errors() {
    // Two of the elements stand on the kink, one a billionth beside it.
    let x = Tensor::<1>::from_data(
        [0.5, 0.0, -0.7, 1e-9, 0.0, 1.2],
        (&Device::flex(), DType::F64),
    );
    let relu = |x: Tensor<1>| burn::tensor::activation::relu(x);
    let report = check(("x", x.clone()), relu, &options(Mode::EveryElement)).unwrap();
    assert_eq!(
        (report.tensors[0].kinks, report.tensors[0].compared),
        (3, 9)
    );

    // Beside the kink, the difference with a smaller step agrees.
    let beside = x.clone().narrow(0, 2, 2);
    let report = check(
        ("x", beside),
        relu,
        &options(Mode::EveryElement)
            .with_step(1e-10)
            .with_relative_tolerance(1e-5),
    )
    .unwrap();
    assert_eq!(
        (report.tensors[0].kinks, report.tensors[0].compared),
        (0, 6)
    );

    // On it, no step helps.
    for mode in [Mode::EveryElement, Mode::Projections] {
        let on = Tensor::<1>::zeros([4], (&Device::flex(), DType::F64));
        let finding = only(check(("x", on), relu, &options(mode)));
        assert!(matches!(finding, Finding::OnlyKinks { .. }), "{finding}");
    }

    // A wrong gradient stays wrong on a kink.
    let wrong = |x: Tensor<1>| {
        let off = x.clone() - x.clone().detach();
        burn::tensor::activation::relu(x) + off * 1.5
    };
    for mode in [Mode::EveryElement, Mode::Projections] {
        let finding = only(check(("x", x.clone()), wrong, &options(mode)));
        assert_eq!(named(&finding), "wrong x");
    }
}

#[test]
fn a_large_network_with_rectifiers_is_checked_in_spite_of_kinks() {
    let device = Device::flex();
    let [first, second] =
        [(8, 256), (256, 3)].map(|(from, to)| LinearConfig::new(from, to).init(&device));
    let report = check(
        (
            ("first", module(&first)),
            ("second", module(&second)),
            ("x", random([64, 8])),
        ),
        |(first, second, x)| second.forward(burn::tensor::activation::relu(first.forward(x))),
        &options(Mode::Projections),
    )
    .unwrap();
    assert!(
        report
            .tensors
            .iter()
            .all(|tensor| tensor.compared > 0 && tensor.largest_error < 2e-8)
    );
}

#[test]
fn steps_that_do_not_suit_are_told_from_bugs() {
    let x = random([3, 4]);
    for mode in [Mode::EveryElement, Mode::Projections] {
        let check_with = |step| {
            check(
                ("x", x.clone()),
                |x: Tensor<2>| (x * 3.0).exp(),
                &options(mode).with_step(step),
            )
        };
        let small = only(check_with(1e-12));
        assert!(matches!(small, Finding::StepTooSmall { .. }), "{small}");
        let large = only(check_with(0.5));
        assert!(matches!(large, Finding::StepTooLarge { .. }), "{large}");
        check_with(1e-5).unwrap();
    }
    // What it says is legal is legal.
    let Finding::StepTooSmall { at_least, .. } = only(check(
        ("x", x.clone()),
        |x: Tensor<2>| x.exp(),
        &options(Mode::Projections)
            .with_dtype(DType::F32)
            .with_step(1e-7),
    )) else {
        panic!()
    };
    let options = options(Mode::Projections).with_dtype(DType::F32);
    check(
        ("x", x),
        |x: Tensor<2>| x.exp(),
        &options.with_step(2.0 * at_least),
    )
    .unwrap();
}

#[test]
fn what_is_not_finite_is_named() {
    let x = |values: [f64; 2]| Tensor::<1>::from_data(values, (&Device::flex(), DType::F64));
    let finding = only(check(
        ("x", x([0.5, f64::NAN])),
        |x| x * 2.0,
        &GradcheckOptions::new(),
    ));
    assert_eq!(finding.to_string(), "x: not finite, NaN at x[1]");
    let finding = only(check(
        ("x", x([0.5, -1.0])),
        |x: Tensor<1>| x.log(),
        &GradcheckOptions::new(),
    ));
    assert_eq!(finding.to_string(), "output: not finite, NaN at output[1]");
    let failure = check(
        ("x", x([0.5, 0.0])),
        |x: Tensor<1>| x.sqrt(),
        &GradcheckOptions::new(),
    );
    let text = failure.unwrap_err().to_string();
    assert!(
        text.contains("gradient of x: not finite, inf at gradient of x[1]"),
        "{text}"
    );
}

#[test]
fn options_that_cannot_be_used_are_named() {
    let texts = [
        (
            GradcheckOptions::new().with_seeds([]),
            "options: seeds must be at least one, got none",
        ),
        (
            options(Mode::Sampled(0)),
            "options: Mode::Sampled must be at least 1, got 0",
        ),
        (
            GradcheckOptions::new().with_step(-1.0),
            "options: step must be a positive number, got -1",
        ),
        (
            GradcheckOptions::new().with_relative_tolerance(f64::NAN),
            "options: relative_tolerance must be a positive number, got NaN",
        ),
        (
            GradcheckOptions::new().with_dtype(DType::F16),
            "input: cannot be checked in F16 on Device<Flex(Cpu)>: take F64 or F32, and a \
             device that supports it, such as a CPU",
        ),
    ];
    for (options, text) in texts {
        let finding = only(check(random([2, 2]), |x: Tensor<2>| x.exp(), &options));
        assert_eq!(finding.to_string(), text);
    }
    let finding = only(check_adjoint(
        random([2, 2]),
        |x: Tensor<2>| x.exp(),
        &GradcheckOptions::new(),
    ));
    assert!(matches!(finding, Finding::NotLinear { .. }), "{finding}");
}

#[test]
fn a_function_that_panics_says_why() {
    let weight = Tensor::<2>::ones([4, 2], &Device::flex());
    let finding = only(check(
        random([3, 4]),
        |x: Tensor<2>| x.matmul(weight.clone().autodiff()),
        &GradcheckOptions::new(),
    ));
    let text = finding.to_string();
    assert!(
        text.contains("dtype mismatch") && text.contains("FloatDType::F64"),
        "{text}"
    );
}

#[test]
fn modules_of_burn_pass_every_mode() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::F64, 2e-8), (DType::F32, 1e-3)] {
        for mode in [Mode::EveryElement, Mode::Sampled(5), Mode::Projections] {
            let options = options(mode).with_dtype(dtype);
            let options = match dtype {
                // Weights are drawn anew in every run.
                DType::F32 => options.with_relative_tolerance(1e-3),
                _ => options,
            };
            let passes = |outcome: Outcome, names: &[&str]| {
                let report = outcome.unwrap_or_else(|failure| panic!("{failure}"));
                let got: Vec<_> = report.tensors.iter().map(|tensor| &tensor.name).collect();
                assert_eq!(got, names);
                for tensor in &report.tensors {
                    assert_eq!(tensor.verdict, Verdict::Agrees, "{report:#}");
                    assert!(tensor.largest_error < tolerance, "{report:#}");
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
    let deconv = Deconv2dLayerConfig::new([2, 2], [3, 3]).init(&device);
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
    assert_eq!(
        serde_json::from_str::<GradcheckReport>(&json).unwrap(),
        report
    );

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
    let padding = Padding::Explicit(1, 1, 1, 1);
    let layer = Deconv2dLayerConfig::new([4, 3], [4, 4])
        .with_padding(padding)
        .init(&Device::flex());
    check_adjoint(
        (module(&layer), ("x", random([2, 4, 3, 5]))),
        |(layer, x)| layer.forward(x),
        &GradcheckOptions::new(),
    )
    .unwrap();
}

#[test]
fn parts_in_lower_precision_and_jumps_are_told_from_bugs() {
    for mode in [Mode::EveryElement, Mode::Projections] {
        let in_f32 = |x: Tensor<2>| x.cast(DType::F32).sin().cast(DType::F64);
        let finding = only(check(("x", random([3, 4])), in_f32, &options(mode)));
        assert!(matches!(finding, Finding::Scatters { .. }), "{finding}");

        // Down at 0, up everywhere else.
        let at_zero = Tensor::<1>::zeros([1], (&Device::flex(), DType::F64));
        let jump = |x: Tensor<1>| x.clone() + x.sign();
        let finding = only(check(("x", at_zero), jump, &options(mode)));
        assert!(matches!(finding, Finding::Scatters { .. }), "{finding}");
    }
}
