//! Everything that a check looks at before it takes differences: options, arguments, the passes
//! themselves.

use std::time::Instant;

use burn::tensor::DType;

use super::function::{Checked, Order, Output, Pass};
use super::point::{Point, Reference, index};
use super::{
    Finding, GradcheckFailure, GradcheckOptions, GradcheckReport, Mode, TensorReport, Verdict,
};
use crate::panic::caught;

/// A check under way.
pub(super) struct Check<'a> {
    pub(super) options: &'a GradcheckOptions,
    pub(super) report: GradcheckReport,
    pub(super) findings: Vec<Finding>,
    pub(super) began: Instant,
}

impl<'a> Check<'a> {
    pub(super) fn new(options: &'a GradcheckOptions, mode: Option<Mode>) -> Self {
        Self {
            options,
            report: GradcheckReport {
                mode,
                dtype: options.dtype,
                seeds: options.seeds.clone(),
                tensors: vec![],
                frozen: vec![],
                forwards: 0,
                backwards: 0,
            },
            findings: vec![],
            began: Instant::now(),
        }
    }

    pub(super) fn finish(mut self) -> Result<GradcheckReport, GradcheckFailure> {
        let is_unused = |tensor: &TensorReport| tensor.verdict == Verdict::Unused;
        if self.findings.is_empty() && self.report.tensors.iter().all(is_unused) {
            self.findings.push(Finding::NothingDepends);
        }
        if self.findings.is_empty() {
            return Ok(self.report);
        }
        Err(GradcheckFailure {
            findings: self.findings,
            report: Box::new(self.report),
        })
    }

    fn illegal(&mut self, option: &str, legal: &str, got: String) {
        self.findings.push(Finding::IllegalOption {
            option: option.to_string(),
            legal: legal.to_string(),
            got,
        });
    }

    fn check_options(&mut self) {
        let options = self.options;
        if options.seeds.is_empty() {
            self.illegal("seeds", "at least one", "none".to_string());
        }
        if options.mode == Mode::Sampled(0) {
            self.illegal("Mode::Sampled", "at least 1", "0".to_string());
        }
        if let Some(step) = options.step
            && !(step.is_normal() && step > 0.0)
        {
            self.illegal("step", "a positive number", step.to_string());
        }
        let relative = options.relative_tolerance();
        if !(relative.is_finite() && relative > 0.0) {
            self.illegal(
                "relative_tolerance",
                "a positive number",
                relative.to_string(),
            );
        }
        let absolute = options.absolute_tolerance;
        if !(absolute.is_finite() && absolute >= 0.0) {
            self.illegal(
                "absolute_tolerance",
                "a number, at least 0",
                absolute.to_string(),
            );
        }
    }

    /// Runs the function forward and backward for every seed, and checks everything that needs no
    /// differences. `None` if there is nothing to compare then.
    pub(super) fn prepare<'b>(&mut self, function: &'b dyn Checked) -> Option<Point<'b>>
    where
        'a: 'b,
    {
        self.check_options();
        self.check_arguments(function);
        if !self.findings.is_empty() {
            return None;
        }
        let first = self.first_pass(function)?;
        let strided = function.backward(self.options.seeds[0], Order::Strided);
        self.check_layout(function, &first, &strided);

        let mut references = vec![];
        let Pass {
            output,
            grad_output,
            gradients,
        } = first;
        references.push(Reference::new(
            self.options.seeds[0],
            grad_output,
            gradients,
        ));
        for &seed in &self.options.seeds[1..] {
            let pass = function.backward(seed, Order::RowMajor);
            references.push(Reference::new(seed, pass.grad_output, pass.gradients));
        }
        self.check_gradients(function, &references[0]);
        self.count_passes(function);
        Some(Point {
            function,
            options: self.options,
            output,
            references,
        })
    }

    /// What is checked, and whether its values can be.
    fn check_arguments(&mut self, function: &dyn Checked) {
        let (checked, frozen): (Vec<_>, Vec<_>) =
            (function.variables().iter()).partition(|variable| variable.checked);
        self.report.frozen = frozen.iter().map(|frozen| frozen.name.clone()).collect();
        if checked.is_empty() {
            self.findings.push(Finding::NoTensors {
                frozen: self.report.frozen.clone(),
            });
        }
        for variable in function.variables() {
            self.check_finite(&variable.name, &variable.values, &variable.shape);
        }
    }

    /// The first forward and backward pass, if the function does not panic and does the same twice.
    fn first_pass(&mut self, function: &dyn Checked) -> Option<Pass> {
        let run = || {
            function.forward_elsewhere();
            function.backward(self.options.seeds[0], Order::RowMajor)
        };
        let first = match caught(run) {
            Ok(first) => first,
            Err(message) => {
                self.findings.push(Finding::Panics {
                    dtype: self.options.dtype,
                    message,
                });
                return None;
            }
        };
        let second = run();
        self.check_output(&first.output);
        self.check_deterministic(function, &first, &second);
        if self.findings.is_empty() {
            return Some(first);
        }
        self.count_passes(function);
        None
    }

    fn check_finite(&mut self, name: &str, values: &[f64], shape: &[usize]) {
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            self.findings.push(Finding::NotFinite {
                tensor: name.to_string(),
                index: index(at, shape),
                value: values[at].to_string(),
            });
        }
    }

    fn check_output(&mut self, output: &Output) {
        for tensor in output.tensors() {
            self.check_finite(&tensor.name, tensor.values, tensor.shape);
            self.check_dtype(&tensor.name, "output", tensor.dtype);
        }
    }

    fn check_dtype(&mut self, tensor: &str, what: &str, got: DType) {
        let expected = self.options.dtype;
        if got != expected {
            self.findings.push(Finding::WrongDType {
                tensor: tensor.to_string(),
                what: what.to_string(),
                got,
                expected,
            });
        }
    }

    /// The second pass must give the same bits.
    fn check_deterministic(&mut self, function: &dyn Checked, first: &Pass, second: &Pass) {
        let differ = |a: f64, b: f64| a.to_bits() != b.to_bits();
        for disagreement in disagreements(function, first, second, &differ) {
            let [first, second] = disagreement.values;
            self.findings.push(Finding::NonDeterministic {
                tensor: disagreement.tensor,
                index: disagreement.index,
                first,
                second,
            });
        }
    }

    /// The same values in permuted views must give the same results. They may be summed in another
    /// order, so rounding may differ.
    fn check_layout(&mut self, function: &dyn Checked, row_major: &Pass, strided: &Pass) {
        let gradients = row_major.gradients.iter().flatten();
        let largest = (gradients.flat_map(|gradient| &gradient.values))
            .chain(&row_major.output.values)
            .filter(|value| value.is_finite())
            .fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let allowed = self.options.epsilon().sqrt() * largest;
        let differ = |a: f64, b: f64| {
            if a.is_finite() && b.is_finite() {
                (a - b).abs() > allowed
            } else {
                a.to_bits() != b.to_bits()
            }
        };
        for disagreement in disagreements(function, row_major, strided, &differ) {
            let [row_major, strided] = disagreement.values;
            self.findings.push(Finding::LayoutDependent {
                tensor: disagreement.tensor,
                index: disagreement.index,
                row_major,
                strided,
            });
        }
    }

    /// Shapes, data types and values of the gradients.
    fn check_gradients(&mut self, function: &dyn Checked, reference: &Reference) {
        for (variable, gradient) in function.variables().iter().zip(&reference.gradients) {
            let Some(gradient) = gradient else { continue };
            let name = format!("gradient of {}", variable.name);
            self.check_finite(&name, &gradient.values, &gradient.shape);
            if gradient.shape != variable.shape {
                self.findings.push(Finding::WrongShape {
                    tensor: variable.name.clone(),
                    got: gradient.shape.clone(),
                    expected: variable.shape.clone(),
                });
            }
            self.check_dtype(&variable.name, "gradient", gradient.dtype);
        }
    }

    pub(super) fn count_passes(&mut self, function: &dyn Checked) {
        (self.report.forwards, self.report.backwards) = function.passes();
    }
}

/// Where two passes differ most in one tensor.
struct Disagreement {
    tensor: String,
    index: Vec<usize>,
    values: [f64; 2],
}

/// Where two passes differ most, in the outputs and in each gradient. A missing gradient counts as
/// zero.
fn disagreements(
    function: &dyn Checked,
    first: &Pass,
    second: &Pass,
    differ: &dyn Fn(f64, f64) -> bool,
) -> Vec<Disagreement> {
    let mut found = vec![];
    let mut look = |name: &str, shape: &[usize], first: &[f64], second: &[f64]| {
        let at = |values: &[f64], i: usize| values.get(i).copied().unwrap_or(0.0);
        let worst = (0..shape.iter().product())
            .map(|i| (i, at(first, i), at(second, i)))
            .filter(|&(_, first, second)| differ(first, second))
            .max_by(|a, b| (a.1 - a.2).abs().total_cmp(&(b.1 - b.2).abs()));
        if let Some((i, first, second)) = worst {
            found.push(Disagreement {
                tensor: name.to_string(),
                index: index(i, shape),
                values: [first, second],
            });
        }
    };
    for (first, second) in first.output.tensors().zip(second.output.tensors()) {
        look(&first.name, first.shape, first.values, second.values);
    }
    let gradients = first.gradients.iter().zip(&second.gradients);
    for (variable, (first, second)) in function.variables().iter().zip(gradients) {
        let [first, second] = [first, second].map(|gradient| match gradient {
            Some(gradient) => gradient.values.as_slice(),
            None => &[],
        });
        look(&variable.name, &variable.shape, first, second);
    }
    found
}
