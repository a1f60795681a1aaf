//! A gradient checker for any function or module of Burn: does the backward pass compute the
//! derivative of the forward pass?
//!
//! [`check`] compares the gradients of `<u, f(x)>`, with random output gradients `u`, against
//! central differences of `f`; [`check_adjoint`] needs no differences where `f` is linear. Both
//! return a [`GradcheckReport`] or a [`GradcheckFailure`] that names the tensor, the worst element,
//! and what is wrong with it.
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
//! Start with the default, [`Mode::Projections`]: its cost does not grow with the tensors, and it
//! sees every element. Take [`Mode::EveryElement`] for small shapes in a test suite, where each
//! element is compared by itself, and [`Mode::Sampled`] to look at single elements of large
//! tensors. Where the function is linear in each argument, as a convolution is, add
//! [`check_adjoint`]: it is exact to rounding. [`Mode`] has the costs.
//!
//! # What the numbers mean
//!
//! - **Output gradient.** Drawn at random, so that errors which cancel in a plain sum show: a
//!   flipped kernel, swapped channels.
//! - **Difference.** `(f(x + h v) - f(x - h v)) / 2h`, subtracted output by output and multiplied
//!   with `u` afterwards, in f64. Its error is of the order `h²`, plus rounding of the order
//!   `eps / h`.
//! - **Relative error.** The difference of analytic and numeric derivative over the larger of them,
//!   or over the average size of such a derivative in its tensor, or over what rounding lets a
//!   difference resolve: an element that is near zero by chance is no reason for alarm. About 1e-10 in f64 and 1e-4 in f32 is what a right gradient
//!   has; 1e-3 in f64 is a bug.
//! - **h/2.** Where they disagree, the difference is taken again with half the step. If both
//!   numeric values agree with each other (the error estimate, by Richardson's extrapolation, is
//!   small), the analytic gradient is wrong.
//! - **Kink.** At the corner of a rectifier the one-sided derivatives differ, however small the
//!   step; the check sees that, accepts any gradient between them, and counts it.
//!
//! # What else is looked at
//!
//! Tensors that the output depends on without a gradient, and the reverse; shapes and data types of
//! gradients; the same bits the second time; the same values in permuted views. Other arguments pass
//! through the function between each forward pass and its backward pass, so that a tensor saved
//! anywhere but in the graph is a stale one.
//!
//! # Limits
//!
//! First derivatives, as everywhere in Burn 0.22. Computed in f64 or f32; a module that makes
//! tensors in the device's default type, as Burn's `Lstm` does, runs in f64 only once that type is
//! f64 (`device.configure(FloatDType::F64)`, at the start of the program). Integer and Boolean
//! arguments are captured by the closure. A gradient that is wrong only elsewhere than at the
//! arguments given is not seen.
//!
//! # In Burn 0.22.1
//!
//! Of 38 of its operations tried in f64, element by element, 36 agree to 3e-10 on flex and 33 on
//! ndarray. What the check reports of the others is so: `hard_sigmoid`, and on ndarray `sigmoid` and
//! `silu`, compute in f32; on ndarray the gradient of `gelu` is that of its tanh approximation; the
//! gradient of `var` is right to 5e-8.
//!
//! # Sources
//!
//! The bilinear form `<u, J v>` as the test is that of HIPS autograd and JAX (`check_grads`);
//! element by element, PyTorch's `gradcheck`. Step and errors: Press et al., *Numerical Recipes*,
//! 3rd ed., section 5.7. The adjoint ("dot product") test: Claerbout, *Earth Soundings Analysis*,
//! 1992, chapter 5.

// compare -> explain, adjoint -> preparation -> differences -> function -> report -> findings ->
// options, arguments: no file uses one before it.
mod adjoint;
mod arguments;
mod compare;
mod differences;
mod explain;
mod findings;
mod function;
mod options;
mod panic;
mod preparation;
mod report;

pub use adjoint::check_adjoint;
pub use arguments::{ArgumentMapper, Arguments, Name, OutputVisitor, Outputs, Parameters, module};
pub use findings::{Comparison, Finding};
pub use options::{GradcheckOptions, Mode, Progress};
pub use report::{GradcheckFailure, GradcheckReport, TensorReport, Verdict};

use preparation::Check;

/// Checks the gradients of a function at its arguments.
///
/// `function` is called with copies of `arguments` in the data type of the check; it must return
/// the same for the same arguments. A module among them ([`module`]) runs in training mode.
///
/// # Errors
///
/// With all [`Finding`]s: wrong, missing and unexpected gradients, wrong shapes and data types,
/// results that depend on chance or on the memory order, steps that do not suit the data type,
/// options that cannot be used.
///
/// # Panics
///
/// If `function` does, other than at its first call, which is a [`Finding`]; or if it returns
/// another number of values where its arguments are others.
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
    let mut check = Check::new(options, Some(options.mode));
    if let Some(differences) = check.prepare(&arguments, function) {
        check.compare_all(&differences);
    }
    check.finish()
}
