//! [`compare_devices`]: does a device compute what another one computes?

use core::fmt;

use burn::tensor::{DType, Device, FloatDType};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::function::{Checked, Function, Order, Pass};
use super::point::index;
use super::{Arguments, Finding, Outputs};
use crate::panic::caught;

/// Each seed has its own output gradient, and its passes are other calls of the function.
const SEEDS: [u64; 3] = [0, 1, 2];

/// An error of this many roundings of the data type is no fault: sums of different order differ by
/// that.
const ROUNDINGS: f64 = 32.0;

/// Nor is an error this many times as large as that of the other device.
const TIMES_THE_OTHERS: f64 = 16.0;

/// What two devices computed, tensor by tensor.
///
/// `{}` prints one line, `{:#}` a table with a line for each tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// The data type on both devices.
    pub dtype: DType,
    /// The reference, as Burn prints it.
    pub reference: String,
    /// The device under test.
    pub device: String,
    /// The outputs, and then the gradients, in the order of the arguments.
    pub tensors: Vec<DeviceTensor>,
}

/// What two devices computed for one output or one gradient. Errors are differences from the
/// reference's own answer in f64, relative to the element or to the root mean square of the tensor,
/// whichever is larger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceTensor {
    /// `output`, `output 1`, `gradient of weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The largest error on the device under test. It is infinite if the tensor is missing there,
    /// has another shape, or is not finite where the answer is.
    pub error: f64,
    /// The largest error on the reference, in the data type of the comparison.
    pub reference_error: f64,
    /// The worst element: on the reference if that is at fault, or else on the device under test.
    pub worst: WorstElement,
    /// The outcome.
    pub verdict: DeviceVerdict,
}

/// The element of a tensor with the largest error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorstElement {
    /// Its index.
    pub at: Vec<usize>,
    /// The reference's answer in f64.
    pub exact: f64,
    /// The answer that differs. It is NaN if the tensor is missing or has another shape.
    pub got: f64,
    /// Whether the arguments were permuted views.
    pub strided: bool,
    /// The seed of the output gradient.
    pub seed: u64,
}

/// The outcome for one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceVerdict {
    /// Both devices are as exact as rounding lets them be.
    Agrees,
    /// The device under test is at fault.
    DeviceDiffers,
    /// The reference is at fault: the device under test is near to its answer in f64, it is not.
    ReferenceDiffers,
}

/// Why [`compare_devices`] fails.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DeviceFailure {
    /// The devices do not agree.
    #[error("{0:#}")]
    Differ(DeviceReport),
    /// A device cannot compute in the data type, or the reference cannot compute in f64.
    #[error("{0}")]
    Unsupported(Box<Finding>),
    /// The function panics on a device.
    #[error("the function panics on {device} in {dtype:?}: {message}")]
    Panics {
        /// The device.
        device: String,
        /// The data type.
        dtype: DType,
        /// The panic's message.
        message: String,
    },
}

/// Compares what two devices compute: the outputs of a function, and the gradients of all its
/// arguments.
///
/// The function runs on `reference` in f64, on `reference` in `dtype`, and on `device` in `dtype`,
/// with the same values: those of `arguments`, rounded to `dtype`. Each runs several times, with
/// random output gradients, and with arguments that are permuted views. A tensor agrees if its error
/// is at most 32 roundings of `dtype`, or 16 times that of the other device.
///
/// The function takes its device from its arguments: `input.device()`. Tensors that it captures stay
/// where they are.
///
/// # Errors
///
/// [`DeviceFailure::Differ`] if a tensor is wrong on one of them. It says on which: the one that is
/// farther from the answer in f64. A fault that the reference also has in f64 is taken for the
/// truth.
///
/// # Example
///
/// ```
/// use burn::tensor::{DType, Device, Tensor};
/// use burn_gradcheck::compare_devices;
///
/// let reference = Device::flex();
/// let device = Device::default(); // the GPU, say
/// let x = Tensor::<2>::from_data([[0.3, -1.2], [0.7, 0.4]], &reference);
/// let report = compare_devices(
///     (("x", x.clone()), ("y", x)),
///     |(x, y)| x.matmul(y).tanh(),
///     &reference,
///     &device,
///     DType::F32,
/// )?;
/// println!("{report:#}");
/// assert_eq!(report.tensors[1].name, "gradient of x");
/// # Ok::<(), burn_gradcheck::DeviceFailure>(())
/// ```
pub fn compare_devices<A: Arguments, O: Outputs>(
    arguments: A,
    function: impl Fn(A::Values) -> O,
    reference: &Device,
    device: &Device,
    dtype: DType,
) -> Result<DeviceReport, DeviceFailure> {
    let on = |device: &Device, computed: DType| {
        Function::on_device(&arguments, &function, computed, dtype, device)
            .map_err(DeviceFailure::Unsupported)
    };
    compare(
        &on(reference, DType::F64)?,
        &on(reference, dtype)?,
        &on(device, dtype)?,
        DeviceReport {
            dtype,
            reference: format!("{reference:?}"),
            device: format!("{device:?}"),
            tensors: vec![],
        },
    )
}

/// Fills the report. The functions are the same on the reference in f64, on the reference, and on
/// the device under test.
fn compare(
    exact: &dyn Checked,
    reference: &dyn Checked,
    device: &dyn Checked,
    mut report: DeviceReport,
) -> Result<DeviceReport, DeviceFailure> {
    let names: Vec<String> = device.variables().iter().map(|v| v.name.clone()).collect();
    for seed in SEEDS {
        for order in [Order::RowMajor, Order::Strided] {
            let pass = |function: &dyn Checked, device: &str, dtype: DType| {
                let pass = caught(|| function.backward(seed, order));
                let pass = pass.map_err(|message| DeviceFailure::Panics {
                    device: device.to_string(),
                    dtype,
                    message,
                })?;
                Ok(tensors(&pass, &names))
            };
            let exact = pass(exact, &report.reference, DType::F64)?;
            let reference = pass(reference, &report.reference, report.dtype)?;
            let device = pass(device, &report.device, report.dtype)?;

            for exact in exact {
                let strided = order == Order::Strided;
                let worst = |found: &[Answer]| exact.worst(found, seed, strided);
                report.add(&exact, worst(&reference), worst(&device));
            }
        }
    }
    for tensor in &mut report.tensors {
        tensor.judge(report.dtype);
    }
    if report.tensors.iter().all(DeviceTensor::agrees) {
        Ok(report)
    } else {
        Err(DeviceFailure::Differ(report))
    }
}

/// An output or a gradient of one pass.
struct Answer {
    name: String,
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn tensors(pass: &Pass, names: &[String]) -> Vec<Answer> {
    let outputs = pass.output.tensors().map(|output| Answer {
        name: output.name.clone(),
        shape: output.shape.to_vec(),
        values: output.values.to_vec(),
    });
    let gradients = names
        .iter()
        .zip(&pass.gradients)
        .filter_map(|(name, gradient)| {
            let gradient = gradient.as_ref()?;
            Some(Answer {
                name: format!("gradient of {name}"),
                shape: gradient.shape.clone(),
                values: gradient.values.clone(),
            })
        });
    outputs.chain(gradients).collect()
}

impl Answer {
    /// The largest error of the tensor of this name among `found`, and its element.
    fn worst(&self, found: &[Answer], seed: u64, strided: bool) -> (f64, WorstElement) {
        let found = found.iter().find(|other| other.name == self.name);
        let values = match found {
            Some(found) if found.shape == self.shape => &found.values[..],
            _ => &[],
        };
        let squares: f64 = self.values.iter().map(|exact| exact * exact).sum();
        let mean = (squares / self.values.len().max(1) as f64).sqrt();

        let mut worst = (-1.0, 0);
        for (place, &exact) in self.values.iter().enumerate() {
            let got = values.get(place).copied().unwrap_or(f64::NAN);
            let error = relative_error(got, exact, mean);
            if error > worst.0 {
                worst = (error, place);
            }
        }
        let (error, place) = worst;
        if error < 0.0 {
            return (0.0, WorstElement::default()); // It has no element.
        }
        let element = WorstElement {
            at: index(place, &self.shape),
            exact: self.values[place],
            got: values.get(place).copied().unwrap_or(f64::NAN),
            strided,
            seed,
        };
        (error, element)
    }
}

fn relative_error(got: f64, exact: f64, mean: f64) -> f64 {
    if got == exact || (got.is_nan() && exact.is_nan()) {
        return 0.0;
    }
    let error = (got - exact).abs() / exact.abs().max(mean);
    if error.is_nan() { f64::INFINITY } else { error }
}

impl DeviceReport {
    /// Adds the errors of one pass to those of the passes before.
    fn add(&mut self, exact: &Answer, reference: (f64, WorstElement), device: (f64, WorstElement)) {
        let known = self
            .tensors
            .iter_mut()
            .find(|tensor| tensor.name == exact.name);
        let Some(tensor) = known else {
            let worst = if reference.0 > device.0 {
                reference.1
            } else {
                device.1
            };
            self.tensors.push(DeviceTensor {
                name: exact.name.clone(),
                shape: exact.shape.clone(),
                error: device.0,
                reference_error: reference.0,
                worst,
                verdict: DeviceVerdict::Agrees,
            });
            return;
        };
        let largest = tensor.error.max(tensor.reference_error);
        if device.0 > largest && device.0 >= reference.0 {
            tensor.worst = device.1;
        } else if reference.0 > largest {
            tensor.worst = reference.1;
        }
        tensor.error = tensor.error.max(device.0);
        tensor.reference_error = tensor.reference_error.max(reference.0);
    }
}

impl DeviceTensor {
    fn judge(&mut self, dtype: DType) {
        let differs = |error: f64, other: f64| {
            error > ROUNDINGS * rounding(dtype) && error > TIMES_THE_OTHERS * other
        };
        self.verdict = if differs(self.error, self.reference_error) {
            DeviceVerdict::DeviceDiffers
        } else if differs(self.reference_error, self.error) {
            DeviceVerdict::ReferenceDiffers
        } else {
            DeviceVerdict::Agrees
        };
    }

    fn agrees(&self) -> bool {
        self.verdict == DeviceVerdict::Agrees
    }
}

/// The distance from 1 to the next number of a float type.
fn rounding(dtype: DType) -> f64 {
    match FloatDType::from(dtype) {
        FloatDType::F64 => f64::EPSILON,
        FloatDType::F32 | FloatDType::Flex32 => f32::EPSILON.into(),
        FloatDType::F16 => f64::powi(2.0, -10),
        FloatDType::BF16 => f64::powi(2.0, -7),
    }
}

impl fmt::Display for DeviceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            dtype,
            reference,
            device,
            tensors,
        } = self;
        let wrong = tensors.iter().filter(|tensor| !tensor.agrees()).count();
        match wrong {
            0 => write!(f, "{device} agrees with {reference}")?,
            _ => write!(f, "{device} differs from {reference} in {wrong} tensors")?,
        }
        write!(f, " ({dtype:?}, {} tensors)", tensors.len())?;
        if f.alternate() {
            for tensor in tensors {
                write!(f, "\n{tensor}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for DeviceTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            shape,
            error,
            reference_error,
            worst,
            verdict,
        } = self;
        let verdict = match verdict {
            DeviceVerdict::Agrees => "agrees",
            DeviceVerdict::DeviceDiffers => "THE DEVICE DIFFERS",
            DeviceVerdict::ReferenceDiffers => "THE REFERENCE DIFFERS",
        };
        write!(
            f,
            "- {name} {shape:?}: {verdict}, error {error:.1e}, of the reference \
             {reference_error:.1e}; worst at {:?}: {:.9e}, exact {:.9e} (seed {}{})",
            worst.at,
            worst.got,
            worst.exact,
            worst.seed,
            if worst.strided {
                ", arguments are views"
            } else {
                ""
            },
        )
    }
}
