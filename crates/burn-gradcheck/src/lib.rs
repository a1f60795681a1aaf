//! A gradient checker for any function or module of Burn: is what the backward pass computes the
//! derivative of the forward pass?
//!
//! [`check`] compares the gradients of `<u, f(x)>`, with random output gradients `u`, with central
//! differences of `f`. [`check_adjoint`] needs no differences where `f` is linear. Both return a
//! [`GradcheckReport`], or a [`GradcheckFailure`] that names the tensor, the worst element, and what
//! is wrong with it.
//!
//! ```
//! use burn::nn::{LayerNormConfig, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//! use burn_gradcheck::{GradcheckOptions, check, module};
//!
//! let device = Device::default();
//! let (linear, norm) = (LinearConfig::new(4, 3).init(&device), LayerNormConfig::new(3).init(&device));
//! let input = Tensor::<2>::from_data([[0.3, -1.2, 0.5, 0.9], [1.4, 0.1, -0.6, -0.2]], &device);
//!
//! let report = check(
//!     (("linear", module(&linear)), ("norm", module(&norm)), ("input", input)),
//!     |(linear, norm, input)| norm.forward(linear.forward(input)).tanh(),
//!     &GradcheckOptions::new(),
//! )?;
//! println!("{report}");
//! assert_eq!(report.tensors.len(), 5);
//! # Ok::<(), burn_gradcheck::GradcheckFailure>(())
//! ```
//!
//! # Which mode
//!
//! Start with the default, [`Mode::Projections`]: its cost does not grow with the tensors. Use
//! [`Mode::EveryElement`] for small shapes in a test suite, where each element is held to its own
//! size, and [`Mode::Sampled`] to look at single elements of large tensors. Where the function is
//! linear in each argument, as a convolution is, add [`check_adjoint`]: it is exact to rounding.
//! [`Mode`] has the costs.
//!
//! # What the numbers mean
//!
//! - **Output gradient.** It is random, so errors that cancel in a plain sum show: a flipped kernel,
//!   swapped channels.
//! - **Difference.** `(f(x + h v) - f(x - h v)) / 2h`, subtracted output by output in f64 and then
//!   multiplied by `u`. Its error is of the order `h²`, plus rounding of the order `eps / h`.
//! - **Error.** The difference of the analytic and the numeric derivative, relative to the larger of
//!   them, or to the root mean square of the tensor's gradient if that is larger. A right gradient
//!   has about 1e-10 in f64 and 1e-4 in f32.
//! - **Resolution.** The smallest error that would have been found. Large outputs have large rounding
//!   errors, which hide small changes. If the first step does not decide, the check searches for
//!   a better one, measures how far each difference can be trusted, and says so.
//! - **Kink.** At the corner of a rectifier the one-sided derivatives differ, however small the step.
//!   Any gradient between them is accepted, and the kink is counted.
//!
//! # Another device
//!
//! [`compare_devices`] asks whether a device computes rightly: outputs and gradients against those of
//! another device, and both against an answer in f64.
//!
//! # What else is checked
//!
//! Tensors that the output depends on without a gradient, and the reverse; shapes and data types of
//! gradients; the same bits the second time; the same values in permuted views. Other arguments pass
//! through the function between each forward pass and its backward pass, so a tensor that is saved
//! anywhere but in the graph is a stale one.
//!
//! # Limits
//!
//! First derivatives only, as everywhere in Burn 0.22, in f64 or f32. A module that makes tensors in
//! the device's default type, as Burn's `Lstm` does, runs in f64 only if that type is f64
//! (`device.configure(FloatDType::F64)`, at the start of the program). The closure captures integer
//! and Boolean arguments. A gradient that is wrong only elsewhere than at the arguments given is not
//! seen.
//!
//! # Sources
//!
//! The test of `<u, J v>` is that of HIPS autograd and JAX (`check_grads`); element by element it is
//! PyTorch's `gradcheck`. Step and errors: Press et al., *Numerical Recipes*, 3rd ed., section 5.7.
//! The adjoint ("dot product") test: Claerbout, *Earth Soundings Analysis*, 1992, chapter 5.
//!
//! # Where things are in the code
//!
//! | file | what it does |
//! |---|---|
//! | `options.rs`, `findings.rs`, `report.rs` | what a caller chooses, and what a check says |
//! | `arguments.rs` | what functions take and return: tensors, modules, tuples |
//! | `function.rs`, `tensors.rs` | the function as flat values in, flat values and gradients out |
//! | `preparation.rs` | all that needs no differences |
//! | `point.rs` | differences along one direction |
//! | `judge.rs`, `search.rs` | one direction: right, wrong, a kink, or not decided |
//! | `locate.rs` | the worst element of a direction |
//! | `compare.rs`, `dense.rs` | all directions of a tensor |
//! | `seen.rs` | what they have shown, and the verdict |
//! | `adjoint.rs` | [`check_adjoint`] |
//! | `devices.rs` | [`compare_devices`] |

mod adjoint;
mod arguments;
mod compare;
mod dense;
mod devices;
mod findings;
mod function;
mod judge;
mod locate;
mod options;
mod panic;
mod point;
mod preparation;
mod random;
mod report;
mod search;
mod seen;
mod tensors;

pub use adjoint::check_adjoint;
pub use arguments::{ArgumentMapper, Arguments, Name, OutputVisitor, Outputs, Parameters, module};
pub use devices::{
    DeviceFailure, DeviceReport, DeviceTensor, DeviceVerdict, WorstElement, compare_devices,
};
pub use findings::{Comparison, Finding};
pub use options::{GradcheckOptions, Mode, Progress};
pub use report::{GradcheckFailure, GradcheckReport, TensorReport, Verdict};

use function::Function;
use point::Point;
use preparation::Check;

/// Checks the gradients of a function at its arguments.
///
/// It calls `function` with copies of `arguments` in the data type of the check. The function must
/// return the same for the same arguments. A [`module`] among them runs in training mode.
///
/// # Errors
///
/// A [`GradcheckFailure`] with all [`Finding`]s: wrong, missing and unexpected gradients, wrong
/// shapes and data types, results that depend on chance or on the memory order, comparisons that
/// decide nothing, options that cannot be used.
///
/// # Panics
///
/// If `function` panics after its first call, or returns another number of values for other
/// arguments. A panic in its first call is a [`Finding`].
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_gradcheck::{Finding, GradcheckOptions, check};
///
/// let x = Tensor::<1>::from_data([0.3, -1.2, 0.7], &Device::default());
///
/// let report = check(x.clone(), |x| x.clone() * x.sin(), &GradcheckOptions::new())?;
/// assert!(report.tensors[0].largest_error < 1e-8);
///
/// // A detached factor: the gradient lacks a term.
/// let failure = check(x, |x| x.clone().detach() * x.sin(), &GradcheckOptions::new()).unwrap_err();
/// assert!(matches!(&failure.findings[..], [Finding::WrongGradient { .. }]));
/// # Ok::<(), burn_gradcheck::GradcheckFailure>(())
/// ```
pub fn check<A: Arguments, O: Outputs>(
    arguments: A,
    function: impl Fn(A::Values) -> O,
    options: &GradcheckOptions,
) -> Result<GradcheckReport, GradcheckFailure> {
    run(
        arguments,
        function,
        options,
        Some(options.mode),
        |check, point| check.compare_all(point),
    )
}

/// Prepares a check, compares if there is something to compare, and reports.
fn run<A: Arguments, O: Outputs>(
    arguments: A,
    function: impl Fn(A::Values) -> O,
    options: &GradcheckOptions,
    mode: Option<Mode>,
    compare: impl FnOnce(&mut Check<'_>, &Point<'_>),
) -> Result<GradcheckReport, GradcheckFailure> {
    let mut check = Check::new(options, mode);
    match Function::new(&arguments, function, options.dtype) {
        Ok(function) => {
            if let Some(point) = check.prepare(&function) {
                compare(&mut check, &point);
            }
        }
        Err(finding) => check.findings.push(*finding),
    }
    check.finish()
}

/// The code in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
