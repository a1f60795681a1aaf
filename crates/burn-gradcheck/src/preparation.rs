//! Everything that a check looks at before it takes differences: options, arguments, the passes
//! themselves.

use std::time::Instant;

use burn::tensor::DType;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::differences::{Differences, Reference, index};
use super::function::{Function, Order, Output, Pass};
use super::{
    Arguments, Finding, GradcheckFailure, GradcheckOptions, GradcheckReport, Mode, Outputs,
    TensorReport, Verdict,
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
    pub(super) fn prepare<'b, A: Arguments, O: Outputs, F: Fn(A::Values) -> O>(
        &mut self,
        arguments: &'b A,
        function: F,
    ) -> Option<Differences<'b, A, F>>
    where
        'a: 'b,
    {
        let options = self.options;
        self.check_options();
        if !self.findings.is_empty() {
            return None;
        }
        let function = match Function::new(arguments, function, options.dtype) {
            Ok(function) => function,
            Err(finding) => {
                self.findings.push(*finding);
                return None;
            }
        };
        let (checked, frozen): (Vec<_>, Vec<_>) =
            (function.variables.iter()).partition(|variable| variable.checked);
        self.report.frozen = frozen.iter().map(|frozen| frozen.name.clone()).collect();
        if checked.is_empty() {
            self.findings.push(Finding::NoTensors {
                frozen: self.report.frozen.clone(),
            });
        }
        for variable in &function.variables {
            self.check_finite(&variable.name, &variable.values, &variable.shape);
        }
        if !self.findings.is_empty() {
            return None;
        }

        let mut output = Output::default();
        let mut references = vec![];
        for (nth, &seed) in options.seeds.iter().enumerate() {
            let draw = |count| draw(&mut StdRng::seed_from_u64(seed), count);
            let run = || {
                if nth == 0 {
                    function.forward_elsewhere();
                }
                function.backward(draw, Order::RowMajor)
            };
            let pass = match caught(run) {
                Ok(pass) => pass,
                Err(message) => {
                    self.findings.push(Finding::Panics {
                        dtype: options.dtype,
                        message,
                    });
                    return None;
                }
            };
            if nth == 0 {
                self.check_output(&pass.output);
                self.check_deterministic(&function, &pass, &run());
                if !self.findings.is_empty() {
                    self.count_passes(&function);
                    return None;
                }
                let strided = function.backward(draw, Order::Strided);
                self.check_layout(&function, &pass, &strided);
                output = pass.output;
            }
            references.push(Reference::new(seed, pass.grad_output, pass.gradients));
        }
        self.check_gradients(&function, &references[0]);
        self.count_passes(&function);
        Some(Differences {
            function,
            options,
            output,
            references,
        })
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
    fn check_deterministic<A, F>(
        &mut self,
        function: &Function<'_, A, F>,
        first: &Pass,
        second: &Pass,
    ) {
        let differ = |a: f64, b: f64| a.to_bits() != b.to_bits();
        for (tensor, index, [first, second]) in disagreements(function, first, second, differ) {
            self.findings.push(Finding::NonDeterministic {
                tensor,
                index,
                first,
                second,
            });
        }
    }

    /// The same values in views must give the same but for rounding: they may be summed in another
    /// order.
    fn check_layout<A, F>(
        &mut self,
        function: &Function<'_, A, F>,
        row_major: &Pass,
        strided: &Pass,
    ) {
        let tolerance = self.options.epsilon().sqrt();
        let largest = |pass: &Pass| {
            let gradients = pass.gradients.iter().flatten();
            (gradients.flat_map(|gradient| &gradient.values))
                .chain(&pass.output.values)
                .filter(|value| value.is_finite())
                .fold(0.0, |largest: f64, value| largest.max(value.abs()))
        };
        let allowed = tolerance * largest(row_major);
        let differ = |a: f64, b: f64| match a.is_finite() && b.is_finite() {
            true => (a - b).abs() > allowed,
            false => a.to_bits() != b.to_bits(),
        };
        for (tensor, index, [row_major, strided]) in
            disagreements(function, row_major, strided, differ)
        {
            self.findings.push(Finding::LayoutDependent {
                tensor,
                index,
                row_major,
                strided,
            });
        }
    }

    /// Shapes, data types and values of the gradients.
    fn check_gradients<A, F>(&mut self, function: &Function<'_, A, F>, reference: &Reference) {
        for (variable, gradient) in function.variables.iter().zip(&reference.gradients) {
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

    pub(super) fn count_passes<A, F>(&mut self, function: &Function<'_, A, F>) {
        (self.report.forwards, self.report.backwards) = function.passes.get();
    }
}

/// Random signs, magnitudes from 0.5 to 1.5: none is lost, none outweighs the rest.
pub(super) fn draw(rng: &mut StdRng, count: usize) -> Vec<f64> {
    (0..count)
        .map(|_| {
            let within_one = 2.0 * rng.random::<f64>() - 1.0;
            within_one + f64::copysign(0.5, within_one)
        })
        .collect()
}

/// Where two passes differ most, in the outputs and in each gradient: name, index, both values. A
/// missing gradient counts as zero.
fn disagreements<A, F>(
    function: &Function<'_, A, F>,
    first: &Pass,
    second: &Pass,
    differ: impl Fn(f64, f64) -> bool,
) -> Vec<(String, Vec<usize>, [f64; 2])> {
    let mut found = vec![];
    let mut look = |name: &str, shape: &[usize], first: &[f64], second: &[f64]| {
        let size = shape.iter().product();
        let at = |values: &[f64], i: usize| values.get(i).copied().unwrap_or(0.0);
        let worst = (0..size)
            .map(|i| (i, at(first, i), at(second, i)))
            .filter(|&(_, first, second)| differ(first, second))
            .max_by(|a, b| (a.1 - a.2).abs().total_cmp(&(b.1 - b.2).abs()));
        if let Some((i, first, second)) = worst {
            found.push((name.to_string(), index(i, shape), [first, second]));
        }
    };
    for (first, second) in first.output.tensors().zip(second.output.tensors()) {
        look(&first.name, first.shape, first.values, second.values);
    }
    let gradients = first.gradients.iter().zip(&second.gradients);
    for (variable, (first, second)) in function.variables.iter().zip(gradients) {
        let [first, second] = [first, second].map(|gradient| {
            (gradient.as_ref()).map_or(&[][..], |gradient| gradient.values.as_slice())
        });
        look(&variable.name, &variable.shape, first, second);
    }
    found
}
