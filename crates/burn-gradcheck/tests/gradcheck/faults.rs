//! What is wrong with a backward pass is found, by every mode, and named.

use burn::nn::DropoutConfig;
use burn::tensor::{DType, Device, Tensor};
use burn_gradcheck::{Finding, GradcheckOptions, Mode, Verdict, check, check_adjoint};

use crate::broken::{Fault, Of};
use crate::{MODES, check_broken, named, only, options, random};

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
        (Fault::KernelFlipped, Of::Input),
        (Fault::KernelFlipped, Of::Weight),
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
