//! [`check_adjoint`]: the exact test for functions that are linear in an argument.

use super::differences::{Differences, norm};
use super::function::Variable;
use super::preparation::{Check, draw};
use super::{
    Arguments, Finding, GradcheckFailure, GradcheckOptions, GradcheckReport, Outputs, TensorReport,
    Verdict,
};

/// Checks the gradients of a function that is linear, or linear plus a constant, in each of its
/// arguments while the others stay as they are: convolutions and matrix products, and sums of them
/// with a bias.
///
/// For every tensor, with `J` the linear map and random `v` and `u`, it compares
///
/// ```text
/// <J v, u> = <v, Jᵀ u>        J v = f(v) - f(0),    Jᵀ u = the gradient of <f, u>
/// ```
///
/// There is no step and no truncation: in f64 both sides agree to about 1e-15 of `|J v| |u|`. Of
/// the options, the data type, the seeds and the tolerances count; the relative tolerance is 256
/// epsilon unless set, 6e-14 in f64.
///
/// It takes, besides what [`check`](super::check) takes before its comparisons, three forward
/// passes for each tensor and seed and one for each tensor.
///
/// # Errors
///
/// As [`check`](super::check); and [`Finding::NotLinear`] if the function is not linear, with
/// [`Finding::NotAdjoint`] in place of wrong gradients.
///
/// # Panics
///
/// As [`check`](super::check).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_gradcheck::{GradcheckOptions, check_adjoint};
///
/// let device = Device::default();
/// let a = Tensor::<2>::from_data([[0.3, -1.2], [0.7, 0.4]], &device);
/// let b = Tensor::<2>::from_data([[1.1], [0.2]], &device);
/// let options = GradcheckOptions::new();
/// let report = check_adjoint((a.clone(), b), |(a, b)| a.matmul(b), &options)?;
/// assert!(report.tensors[0].largest_error < 1e-14);
///
/// let failure = check_adjoint(a, |a| a.exp(), &options).unwrap_err();
/// assert!(failure.to_string().contains("not linear"));
/// # Ok::<(), burn_gradcheck::GradcheckFailure>(())
/// ```
pub fn check_adjoint<A: Arguments, O: Outputs>(
    arguments: A,
    function: impl Fn(A::Values) -> O,
    options: &GradcheckOptions,
) -> Result<GradcheckReport, GradcheckFailure> {
    let mut check = Check::new(options, None);
    if let Some(differences) = check.prepare(&arguments, function) {
        for (place, variable) in differences.function.variables.iter().enumerate() {
            if variable.checked && !variable.values.is_empty() {
                check.adjoint(&differences, place, variable);
            }
        }
        check.count_passes(&differences.function);
    }
    check.finish()
}

impl Check<'_> {
    fn adjoint<A: Arguments, O: Outputs, F: Fn(A::Values) -> O>(
        &mut self,
        differences: &Differences<'_, A, F>,
        place: usize,
        variable: &Variable,
    ) {
        let (options, name) = (self.options, &variable.name);
        let tolerance = options.tolerance_or(256.0 * options.epsilon());
        let at = |values: Vec<f64>| differences.function.forward_at(place, values).values;
        let count = variable.values.len();
        let origin = at(vec![0.0; count]);

        let (mut largest_error, mut verdict) = (0.0, Verdict::Unused);
        for (nth, reference) in differences.references.iter().enumerate() {
            let mut rng = self.rng(nth, place, 0);
            let [v, w] = [(); 2].map(|()| -> Vec<f64> {
                let drawn = draw(&mut rng, count);
                drawn.into_iter().map(|v| options.round(v)).collect()
            });
            let sum: Vec<_> = (v.iter().zip(&w))
                .map(|(v, w)| options.round(v + w))
                .collect();
            let [of_v, of_w, of_sum] = [&v, &w, &sum].map(|values| at(values.clone()));

            let not_additive =
                (0..origin.len()).map(|i| (of_sum[i] - of_v[i]) - (of_w[i] - origin[i]));
            let size = norm(of_v.iter().copied()) + norm(of_w.iter().copied());
            let error = norm(not_additive) / size.max(f64::MIN_POSITIVE);
            // Rounding alone makes some epsilons.
            if error > options.epsilon().sqrt() {
                self.findings.push(Finding::NotLinear {
                    tensor: name.clone(),
                    error,
                });
                verdict = Verdict::Fails;
                break;
            }

            let u = &reference.grad_output;
            let mapped: Vec<_> = of_v
                .iter()
                .zip(&origin)
                .map(|(f, origin)| f - origin)
                .collect();
            let forward: f64 = mapped.iter().zip(u).map(|(mapped, u)| mapped * u).sum();
            let backward: f64 = match &reference.gradients[place] {
                None => 0.0,
                Some(gradient)
                    if gradient.shape != variable.shape || gradient.dtype != options.dtype =>
                {
                    verdict = Verdict::Fails;
                    break;
                }
                Some(gradient) => v.iter().zip(&gradient.values).map(|(v, g)| v * g).sum(),
            };
            let bound = norm(mapped.iter().copied()) * norm(u.iter().copied());
            if verdict == Verdict::Unused && bound > 0.0 {
                verdict = Verdict::Agrees;
            }
            // Where J v is zero, all of the gradient is wrong.
            let size = if bound > 0.0 { bound } else { backward.abs() };
            let difference = (forward - backward).abs();
            let error = if difference == 0.0 {
                0.0
            } else {
                difference / size
            };
            largest_error = f64::max(largest_error, error);
            let agrees = difference <= tolerance * size + options.absolute_tolerance;
            if !agrees {
                if verdict != Verdict::Fails {
                    self.findings.push(Finding::NotAdjoint {
                        tensor: name.clone(),
                        seed: reference.seed,
                        forward,
                        backward,
                        error,
                        tolerance,
                    });
                }
                verdict = Verdict::Fails;
            }
        }
        self.report.tensors.push(TensorReport {
            name: name.clone(),
            shape: variable.shape.clone(),
            step: None,
            compared: differences.references.len(),
            kinks: 0,
            largest_error,
            at: None,
            verdict,
        });
    }
}
