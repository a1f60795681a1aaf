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
    /// The largest difference of analytic and numeric value, relative as the tolerance is.
    pub largest_error: f64,
    /// The element with the largest error, where single elements were compared.
    pub at: Option<Vec<usize>>,
    /// The outcome.
    pub verdict: Verdict,
}

/// The outcome for one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The gradient is right.
    Agrees,
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
        let worst = (self.tensors.iter())
            .max_by(|a, b| a.largest_error.total_cmp(&b.largest_error))
            .map_or(String::new(), |worst| {
                let place = place(&worst.name, &worst.at);
                format!(
                    ", largest relative error {:.1e} {place}",
                    worst.largest_error
                )
            });
        write!(f, "gradients agree: {}{worst}", self.how())?;
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
                match tensor.verdict {
                    Verdict::Agrees => "agrees".to_string(),
                    Verdict::Unused => "unused".to_string(),
                    Verdict::Fails => "FAILS".to_string(),
                },
            ]
        }));
        let widths: [usize; 7] = core::array::from_fn(|column| {
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
