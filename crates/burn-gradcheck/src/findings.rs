//! [`Finding`]: everything that a check can find wrong, and how it says so.

use core::fmt;

use burn::tensor::DType;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An analytic and a numeric derivative that disagree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The element, or `None` for a direction through many.
    pub index: Option<Vec<usize>>,
    /// The seed of the output gradient.
    pub seed: u64,
    /// The step `h` of the difference.
    pub step: f64,
    /// The derivative that the backward pass gives.
    pub analytic: f64,
    /// The difference quotient with the step `h`.
    pub numeric: f64,
    /// The difference quotient with the step `h / 2`.
    pub numeric_half: f64,
    /// The error of the latter, estimated from both: `|numeric - numeric_half| / 3` (Richardson).
    pub error_estimate: f64,
    /// The difference that would have been allowed.
    pub tolerance: f64,
    /// The difference, relative as in [`TensorReport::largest_error`].
    ///
    /// [`TensorReport::largest_error`]: super::TensorReport::largest_error
    pub relative_error: f64,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            analytic,
            numeric,
            numeric_half,
            step,
            error_estimate,
            tolerance,
            seed,
            ..
        } = self;
        write!(
            f,
            "analytic {analytic:.9e}, numeric {numeric:.9e} at h = {step:.1e} and \
             {numeric_half:.9e} at h/2 (error estimate {error_estimate:.0e}), tolerance \
             {tolerance:.0e}, seed {seed}"
        )
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Finding {
    /// The gradient is not the derivative.
    #[error(
        "{tensor}: wrong gradient in {wrong} of {compared} comparisons; the worst, {}: {worst}",
        place(.tensor, &.worst.index)
    )]
    WrongGradient {
        /// The tensor's name.
        tensor: String,
        /// The worst comparison.
        worst: Comparison,
        /// How many comparisons fail.
        wrong: usize,
        /// Of how many.
        compared: usize,
    },
    /// The function depends on the tensor, which gets no gradient.
    #[error(
        "{tensor}: no gradient, though the output depends on it (is something detached, or never \
         registered?); {}: {worst}",
        place(.tensor, &.worst.index)
    )]
    MissingGradient {
        /// The tensor's name.
        tensor: String,
        /// The comparison, with an analytic value of zero.
        worst: Comparison,
    },
    /// The function does not depend on the tensor, which gets a gradient.
    #[error(
        "{tensor}: a gradient, though the output does not depend on it; {}: {worst}",
        place(.tensor, &.worst.index)
    )]
    UnexpectedGradient {
        /// The tensor's name.
        tensor: String,
        /// The worst comparison.
        worst: Comparison,
    },
    /// The gradient has another shape than its tensor.
    #[error("{tensor}: the gradient has the shape {got:?}, expected the tensor's, {expected:?}")]
    WrongShape {
        /// The tensor's name.
        tensor: String,
        /// The gradient's shape.
        got: Vec<usize>,
        /// The tensor's shape.
        expected: Vec<usize>,
    },
    /// A gradient or an output has another data type than the arguments.
    #[error(
        "{tensor}: the {what} has the data type {got:?}, expected that of the arguments, {expected:?}"
    )]
    WrongDType {
        /// The tensor's name.
        tensor: String,
        /// `"gradient"` or `"output"`.
        what: String,
        /// Its data type.
        got: DType,
        /// The data type of the check.
        expected: DType,
    },
    /// The function panics with the arguments in the data type of the check.
    #[error(
        "the function panics with arguments in {dtype:?}: {message}. If it makes tensors in the \
         device's default type, as Burn's Lstm does, check in F32, or give the device another \
         default first: device.configure(FloatDType::F64)"
    )]
    Panics {
        /// The data type of the check.
        dtype: DType,
        /// The panic's message.
        message: String,
    },
    /// The same arguments give other results the second time.
    #[error(
        "{tensor}: not deterministic, {}: first {first:e}, then {second:e} with the same \
         arguments (a layer that draws random numbers, as dropout, cannot be checked: set its \
         probability to 0)",
        place(.tensor, &Some(.index.clone()))
    )]
    NonDeterministic {
        /// The tensor whose gradient differs, or `output`.
        tensor: String,
        /// Where.
        index: Vec<usize>,
        /// The first result.
        first: f64,
        /// The second result.
        second: f64,
    },
    /// The same values in another memory order give other results.
    #[error(
        "{tensor}: depends on the memory order, {}: {row_major:e} with contiguous arguments and \
         output gradient, {strided:e} with the same values in permuted views (are strides \
         ignored?)",
        place(.tensor, &Some(.index.clone()))
    )]
    LayoutDependent {
        /// The tensor whose gradient differs, or `output`.
        tensor: String,
        /// Where.
        index: Vec<usize>,
        /// The result with contiguous tensors.
        row_major: f64,
        /// The result with strided tensors.
        strided: f64,
    },
    /// Every direction crosses a kink, so nothing could be compared.
    #[error(
        "{tensor}: nothing to compare, all of {kinks} directions cross a kink (the one-sided \
         differences disagree, which is no error of the gradient): move the arguments away from it"
    )]
    OnlyKinks {
        /// The tensor's name.
        tensor: String,
        /// How many directions were tried.
        kinks: usize,
    },
    /// Rounding errors of the outputs hide errors of the gradient that matter.
    #[error(
        "{tensor}: nothing is decided, the rounding errors of the outputs hide errors of the \
         gradient up to {resolution:.0e} of its size in {dtype:?}: check in F64, or make the \
         outputs smaller (is a large constant added to them?)"
    )]
    Unresolved {
        /// The tensor's name.
        tensor: String,
        /// The smallest error that would have been found, relative to the gradient's size.
        resolution: f64,
        /// The data type of the check.
        dtype: DType,
    },
    /// The differences of ever smaller steps run away from each other.
    #[error(
        "{tensor}: differences scatter, {:e}, {:e} and {:e} at h = {step:.1e}, h/2 and h/4: the \
         output jumps, or part of the function computes in less than {dtype:?} (then check in F32)",
        .numeric[0], .numeric[1], .numeric[2]
    )]
    Scatters {
        /// The tensor's name.
        tensor: String,
        /// The step `h`.
        step: f64,
        /// The difference quotients with the steps `h`, `h / 2` and `h / 4`.
        numeric: [f64; 3],
        /// The data type of the check.
        dtype: DType,
    },
    /// Rounding drowns the differences.
    #[error(
        "{tensor}: a step of {step:e} is too small in {dtype:?}: rounding would reach the \
         tolerance; leave the step to the check, or take at least {at_least:.0e}"
    )]
    StepTooSmall {
        /// The tensor's name.
        tensor: String,
        /// The step.
        step: f64,
        /// The smallest step that the tolerance allows.
        at_least: f64,
        /// The data type of the check.
        dtype: DType,
    },
    /// The differences are far from the derivative, which is right.
    #[error(
        "{tensor}: a step of {step:e} is too large: {numeric:e} numerically, but {better:e} with \
         a step of {suggested:.1e}, which agrees with the gradient; leave the step to the check"
    )]
    StepTooLarge {
        /// The tensor's name.
        tensor: String,
        /// The step.
        step: f64,
        /// The difference quotient with it.
        numeric: f64,
        /// The difference quotient with the suggested step.
        better: f64,
        /// A step that works.
        suggested: f64,
    },
    /// A function that is not linear in the tensor cannot be checked by its adjoint.
    #[error(
        "{tensor}: the function is not linear in it, f(v + w) + f(0) and f(v) + f(w) differ by \
         {error:.1e} of their size: use check"
    )]
    NotLinear {
        /// The tensor's name.
        tensor: String,
        /// The relative difference.
        error: f64,
    },
    /// `<J v, u>` is not `<v, Jᵀ u>`.
    #[error(
        "{tensor}: not the adjoint, <J v, u> = {forward:.15e}, but <v, Jᵀ u> = {backward:.15e}; \
         they differ by {error:.1e} of |J v| |u|, tolerance {tolerance:.0e}, seed {seed}"
    )]
    NotAdjoint {
        /// The tensor's name.
        tensor: String,
        /// The seed.
        seed: u64,
        /// `<J v, u>`.
        forward: f64,
        /// `<v, Jᵀ u>`.
        backward: f64,
        /// Their difference, relative to `|J v| |u|`.
        error: f64,
        /// The largest legal error.
        tolerance: f64,
    },
    /// An argument or an output is infinite or not a number.
    #[error("{tensor}: not finite, {value} {}", place(.tensor, &Some(.index.clone())))]
    NotFinite {
        /// The argument's name, or `output`.
        tensor: String,
        /// Where.
        index: Vec<usize>,
        /// The value, `NaN` or `inf`.
        value: String,
    },
    /// No output depends on any argument.
    #[error("nothing to check: no output depends on any of the arguments")]
    NothingDepends,
    /// There is no tensor to check.
    #[error(
        "nothing to check: the arguments hold no float tensor that requires a gradient (frozen: \
         {frozen:?})"
    )]
    NoTensors {
        /// Those that require none.
        frozen: Vec<String>,
    },
    /// The device cannot compute in the data type, or the check cannot.
    #[error(
        "{tensor}: cannot be checked in {dtype:?} on {device}: take F64 or F32, and a device that \
         supports it, such as a CPU"
    )]
    UnsupportedDType {
        /// The tensor's name.
        tensor: String,
        /// The data type of the check.
        dtype: DType,
        /// The tensor's device.
        device: String,
    },
    /// An option that cannot be used.
    #[error("options: {option} must be {legal}, got {got}")]
    IllegalOption {
        /// Its name.
        option: String,
        /// What is legal.
        legal: String,
        /// What was got.
        got: String,
    },
}

/// `at weight[3,0,1,2]`
pub(super) fn place(tensor: &str, index: &Option<Vec<usize>>) -> String {
    match index {
        None => format!("along a random direction through {tensor}"),
        Some(index) => {
            let index: Vec<_> = index.iter().map(usize::to_string).collect();
            format!("at {tensor}[{}]", index.join(","))
        }
    }
}
