//! `compare_devices`: a right function agrees on two devices, and a fault that only one of them has
//! is found there. Flex and NdArray are the two devices.
#![cfg(feature = "ndarray")]
#![allow(deprecated)] // Device::ndarray, by Burn

use std::cell::RefCell;

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_gradcheck::{
    Arguments, DeviceFailure, DeviceReport, DeviceVerdict, Outputs, compare_devices, module,
};

/// Values in [-1, 1] that repeat.
fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (1..=count)
        .map(|i| 2.0 * (i as f32 * 0.618_034).fract() - 1.0)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn is_ndarray(device: &Device) -> bool {
    format!("{device:?}").contains("NdArray")
}

fn compare<A: Arguments, O: Outputs>(
    arguments: A,
    function: impl Fn(A::Values) -> O,
) -> Result<DeviceReport, DeviceFailure> {
    let (flex, ndarray) = (Device::flex(), Device::ndarray());
    compare_devices(arguments, function, &flex, &ndarray, DType::F32)
}

/// The verdicts that are not `Agrees`, by name.
fn differing(outcome: Result<DeviceReport, DeviceFailure>) -> Vec<(String, DeviceVerdict)> {
    let Err(DeviceFailure::Differ(report)) = outcome else {
        panic!("the devices agree: {outcome:?}");
    };
    println!("{report:#}");
    let differs = |verdict| verdict != DeviceVerdict::Agrees;
    let tensors = report.tensors.into_iter().filter(|t| differs(t.verdict));
    tensors.map(|t| (t.name, t.verdict)).collect()
}

#[derive(Module, Debug)]
struct Model {
    linear: Linear,
    norm: BatchNorm,
}

#[test]
fn a_right_module_agrees() {
    let device = Device::flex();
    device.seed(1);
    let model = Model {
        linear: LinearConfig::new(3, 4).init(&device),
        norm: BatchNormConfig::new(4).init(&device),
    };
    let report = compare(
        (module(&model), ("input", random([5, 3]))),
        |(model, input)| model.norm.forward(model.linear.forward(input)).tanh(),
    )
    .unwrap();
    let names: Vec<_> = report
        .tensors
        .iter()
        .map(|tensor| &tensor.name[..])
        .collect();
    let expected = [
        "output",
        "gradient of linear.weight",
        "gradient of linear.bias",
        "gradient of norm.gamma",
        "gradient of norm.beta",
        "gradient of input",
    ];
    assert_eq!(names, expected);
    assert!(report.tensors[0].error < 1e-5, "{report:#}");
    assert!(report.to_string().ends_with("(F32, 6 tensors)"), "{report}");
}

#[test]
fn a_wrong_kernel_is_found_on_its_device() {
    let outcome = compare(("x", random([4, 6])), |x| {
        // Half of the columns are skipped where the "kernel" is chosen by the device.
        let columns = if is_ndarray(&x.device()) { 3 } else { 6 };
        x.slice([0..4, 0..columns]).powi_scalar(2).sum_dim(1)
    });
    let expected =
        ["output", "gradient of x"].map(|name| (name.into(), DeviceVerdict::DeviceDiffers));
    assert_eq!(differing(outcome), expected);
}

#[test]
fn a_fault_of_the_reference_is_the_references() {
    let outcome = compare(("x", random([4, 6])), |x| {
        let is_faulty = !is_ndarray(&x.device()) && x.dtype() == DType::F32;
        let factor = if is_faulty { 1.001 } else { 1.0 };
        x * factor
    });
    let expected =
        ["output", "gradient of x"].map(|name| (name.into(), DeviceVerdict::ReferenceDiffers));
    assert_eq!(differing(outcome), expected);
}

/// The values of the call before, as a read that does not wait for its kernel has them.
#[test]
fn an_unsynchronised_read_is_found() {
    let before = RefCell::new(None::<Tensor<2>>);
    let outcome = compare(("x", random([4, 6])), |x| {
        if !is_ndarray(&x.device()) {
            return x.exp();
        }
        let stale = before.replace(Some(x.clone().detach()));
        stale
            .map_or(x.clone(), |stale| x - stale.clone() + stale * 1.5)
            .exp()
    });
    assert!(!differing(outcome).is_empty());
}

/// A kernel that reads a transposed view as if its values lay in order.
#[test]
fn a_transposed_view_is_found() {
    let outcome = compare(("x", random([4, 6])), |x| {
        let transposed = if is_ndarray(&x.device()) {
            x.reshape([6, 4])
        } else {
            x.transpose()
        };
        transposed.exp()
    });
    let expected =
        ["output", "gradient of x"].map(|name| (name.into(), DeviceVerdict::DeviceDiffers));
    assert_eq!(differing(outcome), expected);
}

#[test]
fn a_missing_gradient_is_found() {
    let outcome = compare((("x", random([3])), ("y", random([3]))), |(x, y)| {
        let y = if is_ndarray(&y.device()) {
            y.detach()
        } else {
            y
        };
        x * y
    });
    let expected = [("gradient of y".to_string(), DeviceVerdict::DeviceDiffers)];
    assert_eq!(differing(outcome), expected);
}

#[test]
fn a_panic_names_its_device() {
    let outcome = compare(("x", random([3])), |x: Tensor<1>| {
        assert!(!is_ndarray(&x.device()), "no kernel for this");
        x
    });
    let message = outcome.unwrap_err().to_string();
    assert!(message.starts_with("the function panics on "), "{message}");
    assert!(message.ends_with("in F32: no kernel for this"), "{message}");
}

#[test]
fn a_type_that_a_device_lacks_is_an_error() {
    let (flex, ndarray) = (Device::flex(), Device::ndarray());
    let outcome = compare_devices(("x", random([3])), |x| x, &flex, &ndarray, DType::BF16);
    assert!(
        matches!(outcome, Err(DeviceFailure::Unsupported(_))),
        "{outcome:?}"
    );
}
