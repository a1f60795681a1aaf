//! What a check says: [`GradcheckReport`], and [`GradcheckFailure`] with its [`Finding`]s.

use core::fmt;

use burn::tensor::DType;
use serde::{Deserialize, Serialize};

use super::findings::place;
use super::{Finding, Mode};

/// What was compared, and how well it agrees.
///
/// `{}` prints one line, `{:#}` a table under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradcheckReport {
    /// What the differences were taken along; `None` in
    /// [`check_adjoint`](super::check_adjoint), which takes none.
    pub mode: Option<Mode>,
    /// The data type of the check.
    pub dtype: DType,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The tensors checked, in the order of the arguments.
    pub tensors: Vec<TensorReport>,
    /// The names of those that require no gradient and were not checked.
    pub frozen: Vec<String>,
    /// How many forward passes it took.
    pub forwards: usize,
    /// How many backward passes it took.
    pub backwards: usize,
}

/// How well the gradient of one tensor agrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The step of the differences, where there were any.
    pub step: Option<f64>,
    /// How many values were compared: directions times seeds.
    pub compared: usize,
    /// How many of the directions cross a kink, where there is no derivative to compare with.
    pub kinks: usize,
    /// The largest difference of an analytic and a numeric derivative, relative to the larger of
    /// them or to the root mean square of the tensor's gradient, whichever is largest.
    pub largest_error: f64,
    /// The element with the largest error, where single elements were compared.
    pub at: Option<Vec<usize>>,
    /// The smallest error that every comparison would have found, relative as `largest_error`: a
    /// smaller one may hide behind the tolerance, rounding errors or kinks.
    pub resolution: f64,
    /// How many of the elements compared are so small that rounding hides errors of more than 5 %
    /// of their own size.
    pub unresolved: usize,
    /// The outcome.
    pub verdict: Verdict,
}

impl TensorReport {
    fn outcome(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Agrees => "agrees".to_string(),
            Verdict::Coarse => format!("not resolved below {:.1e}", self.resolution),
            Verdict::Unused => "unused".to_string(),
            Verdict::Fails => "FAILS".to_string(),
        };
        match self.unresolved {
            0 => verdict,
            count => format!("{verdict}, {count} unresolved"),
        }
    }
}

/// The outcome for one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The gradient is right, to the tolerance.
    Agrees,
    /// Nothing is wrong above [`TensorReport::resolution`]. Rounding errors or kinks hide what is
    /// below, which is more than the tolerance.
    Coarse,
    /// The function does not depend on the tensor, which gets no gradient or zero.
    Unused,
    /// There is a [`Finding`] about it.
    Fails,
}

/// A check that found something.
///
/// Prints each finding and the table of what was compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradcheckFailure {
    /// All that is wrong; never empty.
    pub findings: Vec<Finding>,
    /// What was compared.
    pub report: Box<GradcheckReport>,
}

impl core::error::Error for GradcheckFailure {}

impl fmt::Display for GradcheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gradient check failed ({})", self.report.how())?;
        for finding in &self.findings {
            writeln!(f, "- {finding}")?;
        }
        self.report.table(f)
    }
}

impl fmt::Display for GradcheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_coarse = |tensor: &&TensorReport| tensor.verdict == Verdict::Coarse;
        let coarsest = (self.tensors.iter().filter(is_coarse))
            .max_by(|a, b| a.resolution.total_cmp(&b.resolution));
        match coarsest {
            None => write!(f, "gradients agree: {}", self.how())?,
            Some(tensor) => write!(
                f,
                "no wrong gradient found, but errors below {:.1e} in {} are not resolved: {}",
                tensor.resolution,
                tensor.name,
                self.how()
            )?,
        }
        let worst =
            (self.tensors.iter()).max_by(|a, b| a.largest_error.total_cmp(&b.largest_error));
        if let Some(worst) = worst {
            write!(
                f,
                ", largest relative error {:.1e} (resolution {:.1e}) {}",
                worst.largest_error,
                worst.resolution,
                place(&worst.name, &worst.at)
            )?;
        }
        if f.alternate() {
            writeln!(f)?;
            self.table(f)?;
        }
        Ok(())
    }
}

impl GradcheckReport {
    fn how(&self) -> String {
        let mode = self
            .mode
            .map_or("adjoint".to_string(), |mode| mode.to_string());
        let plural = |count: usize, noun: &str| {
            format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
        };
        format!(
            "{}, {mode}, {:?}, {}, {} and {}",
            plural(self.tensors.len(), "tensor"),
            self.dtype,
            plural(self.seeds.len(), "seed"),
            plural(self.forwards, "forward"),
            plural(self.backwards, "backward"),
        )
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![
            [
                "tensor",
                "shape",
                "step",
                "compared",
                "kinks",
                "largest error",
                "resolution",
                "verdict",
            ]
            .map(String::from),
        ];
        rows.extend(self.tensors.iter().map(|tensor| {
            [
                tensor.name.clone(),
                format!("{:?}", tensor.shape),
                (tensor.step).map_or("-".to_string(), |step| format!("{step:.1e}")),
                tensor.compared.to_string(),
                tensor.kinks.to_string(),
                format!("{:.1e}", tensor.largest_error),
                format!("{:.1e}", tensor.resolution),
                tensor.outcome(),
            ]
        }));
        let widths: [usize; 8] = core::array::from_fn(|column| {
            (rows.iter().map(|row| row[column].chars().count()))
                .max()
                .unwrap_or(0)
        });
        for row in rows {
            let cells: Vec<_> = (row.iter().zip(widths))
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        if !self.frozen.is_empty() {
            writeln!(f, "not checked (frozen): {}", self.frozen.join(", "))?;
        }
        Ok(())
    }
}
