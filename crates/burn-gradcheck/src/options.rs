//! [`GradcheckOptions`]: what is compared, in which data type, how closely.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use burn::tensor::DType;
use serde::{Deserialize, Serialize};

/// The coarsest resolution that counts as a check. A gradient that is 5 % off changes how a model
/// learns; a comparison that cannot see it says nothing.
pub(super) const COARSEST: f64 = 0.05;

/// The directions along which differences are taken.
///
/// The costs, with `N` the elements of all tensors, `T` their number and `S` that of the seeds:
///
/// | mode | forward passes | finds |
/// |---|---|---|
/// | `EveryElement` | `2 N` | any wrong element: each is held to its own size |
/// | `Sampled(n)` | `2 n T` at most | what is wrong in many elements |
/// | `Projections` | `2 T S` | any wrong element that is not small beside its whole tensor |
///
/// Each check also takes `S + 2` backward passes (one for each seed, one repeated, one on strided
/// tensors), `2 S + 6` forward passes around them, and one for each tensor to choose its step. A
/// comparison that the first difference does not decide takes some tens more: a wrong gradient, a
/// kink, an element that is tiny beside the others, large outputs whose rounding drowns the
/// difference. [`GradcheckReport`](super::GradcheckReport) counts them all.
///
/// Rounding limits every mode. An element whose derivative drowns in the rounding errors of the
/// outputs is counted as `unresolved` in its [`TensorReport`](super::TensorReport).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Every element of every tensor by itself.
    EveryElement,
    /// This many random elements of each tensor.
    Sampled(usize),
    /// For each seed, one random direction through all elements of a tensor. Each tensor has its
    /// own directions, so a large one does not hide a small one. If a direction disagrees, halving
    /// it finds the worst element.
    Projections,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::EveryElement => f.write_str("every element"),
            Mode::Sampled(count) => write!(f, "{count} sampled elements a tensor"),
            Mode::Projections => f.write_str("random projections"),
        }
    }
}

/// How far a long check has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The tensor that is being checked.
    pub tensor: String,
    /// The comparisons done.
    pub done: usize,
    /// All comparisons.
    pub total: usize,
    /// The time since the check began.
    pub elapsed: Duration,
}

type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

/// How to check. The defaults suit most functions.
///
/// # Example
///
/// ```
/// use burn::tensor::DType;
/// use burn_gradcheck::{GradcheckOptions, Mode};
///
/// let options = GradcheckOptions::new()
///     .with_mode(Mode::EveryElement)
///     .with_dtype(DType::F32)
///     .with_seeds([7, 8])
///     .with_progress(|progress| eprintln!("{} of {}", progress.done, progress.total));
/// assert!(options.relative_tolerance() < 1e-3);
/// ```
#[derive(Clone)]
pub struct GradcheckOptions {
    pub(super) mode: Mode,
    pub(super) dtype: DType,
    pub(super) seeds: Vec<u64>,
    pub(super) step: Option<f64>,
    relative_tolerance: Option<f64>,
    pub(super) absolute_tolerance: f64,
    pub(super) progress: Option<OnProgress>,
}

impl Default for GradcheckOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl GradcheckOptions {
    /// [`Mode::Projections`] in f64 with the seeds 0, 1 and 2.
    pub fn new() -> Self {
        Self {
            mode: Mode::Projections,
            dtype: DType::F64,
            seeds: vec![0, 1, 2],
            step: None,
            relative_tolerance: None,
            absolute_tolerance: 0.0,
            progress: None,
        }
    }

    /// What the differences are taken along. Default: [`Mode::Projections`].
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The data type of the check, `F64` or `F32`: all arguments are cast to it. Default: `F64`,
    /// which CPU backends have. In f32, differences resolve a few digits only.
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// The seeds of the random output gradients, directions and samples. Each seed makes its own
    /// output gradient. Default: 0, 1, 2.
    pub fn with_seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.seeds = seeds.into_iter().collect();
        self
    }

    /// The step `h` of the differences `(f(x + h v) - f(x - h v)) / 2h`, in units of the arguments.
    ///
    /// Default: for each tensor the step that changes the outputs by `cbrt(eps)` of their size, as
    /// a trial step measures. There the truncation error, which grows with `h²`, and the rounding
    /// error, which grows with `eps / h`, are about equal, `eps^(2/3)` (Press et al., *Numerical
    /// Recipes*, 3rd ed., section 5.7). A comparison that this step does not decide searches for
    /// a better one; a step that was set is kept.
    pub fn with_step(mut self, step: f64) -> Self {
        self.step = Some(step);
        self
    }

    /// How far the analytic and the numeric derivative may differ, relative to the larger of them;
    /// along a random direction, whose parts may cancel, at least to the size that such a
    /// derivative has on average. What rounding may do to the numeric derivative is allowed
    /// besides. Default: `sqrt(eps)`, half of the digits: 1.5e-8 in f64, 3.5e-4 in f32.
    pub fn with_relative_tolerance(mut self, tolerance: f64) -> Self {
        self.relative_tolerance = Some(tolerance);
        self
    }

    /// How far the analytic and the numeric derivative may always differ. Default: 0.
    pub fn with_absolute_tolerance(mut self, tolerance: f64) -> Self {
        self.absolute_tolerance = tolerance;
        self
    }

    /// Calls `progress` after each comparison. Default: silence.
    pub fn with_progress(mut self, progress: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// The relative tolerance in force.
    pub fn relative_tolerance(&self) -> f64 {
        self.tolerance_or(self.epsilon().sqrt())
    }

    /// The relative tolerance that was set, or `default`.
    pub(super) fn tolerance_or(&self, default: f64) -> f64 {
        self.relative_tolerance.unwrap_or(default)
    }

    /// The machine epsilon of the data type.
    pub(super) fn epsilon(&self) -> f64 {
        match self.dtype {
            DType::F32 => f64::from(f32::EPSILON),
            _ => f64::EPSILON,
        }
    }

    /// The value nearest to `value` in the data type.
    pub(super) fn round(&self, value: f64) -> f64 {
        match self.dtype {
            DType::F32 => f64::from(value as f32),
            _ => value,
        }
    }
}

impl fmt::Debug for GradcheckOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradcheckOptions")
            .field("mode", &self.mode)
            .field("dtype", &self.dtype)
            .field("seeds", &self.seeds)
            .field("step", &self.step)
            .field("relative_tolerance", &self.relative_tolerance())
            .field("absolute_tolerance", &self.absolute_tolerance)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}
