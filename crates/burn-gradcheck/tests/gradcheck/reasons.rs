//! Differences that disagree with a gradient for another reason than a wrong one.

use burn::module::Module;
use burn::nn::LinearConfig;
use burn::tensor::{DType, Device, Tensor};
use burn_gradcheck::{Finding, GradcheckOptions, Mode, check, check_adjoint, module};

use crate::{named, only, options, random};

#[test]
fn kinks_are_no_errors() {
    // Two of the elements stand on the kink. One is a billionth beside it, where small steps see
    // none.
    let x = Tensor::<1>::from_data(
        [0.5, 0.0, -0.7, 1e-9, 0.0, 1.2],
        (&Device::flex(), DType::F64),
    );
    let relu = |x: Tensor<1>| burn::tensor::activation::relu(x);
    let report = check(("x", x.clone()), relu, &options(Mode::EveryElement)).unwrap();
    assert_eq!(
        (report.tensors[0].kinks, report.tensors[0].compared),
        (2, 12)
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
    assert!(report.tensors.iter().all(|tensor| tensor.compared > 0));
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
