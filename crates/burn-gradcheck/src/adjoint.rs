//! [`check_adjoint`]: the exact test for functions that are linear in an argument.

use super::function::Checked;
use super::judge::relative;
use super::point::{Point, Reference, norm};
use super::preparation::Check;
use super::random::{components, generator};
use super::{
    Arguments, Finding, GradcheckFailure, GradcheckOptions, GradcheckReport, Outputs, TensorReport,
    Verdict,
};

/// The tolerance of the adjoint check, in epsilons: two sums of products, rounded in another order.
const ADJOINT_EPSILONS: f64 = 256.0;

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
    super::run(arguments, function, options, None, |check, point| {
        check.adjoints(point);
    })
}

/// `<J v, u>` beside `<v, Jᵀ u>`.
struct Products {
    forward: f64,
    backward: f64,
    /// `|J v| |u|`, or all of the gradient where `J v` is zero.
    size: f64,
    responds: bool,
}

impl Check<'_> {
    fn adjoints(&mut self, point: &Point) {
        for (place, variable) in point.function.variables().iter().enumerate() {
            if variable.checked && !variable.values.is_empty() {
                self.adjoint(point, place);
            }
        }
        self.count_passes(point.function);
    }

    fn adjoint(&mut self, point: &Point, place: usize) {
        let variable = &point.function.variables()[place];
        let options = self.options;
        let tolerance = options.tolerance_or(ADJOINT_EPSILONS * options.epsilon());
        let origin = at(point.function, place, &vec![0.0; variable.values.len()]);

        let mut largest_error: f64 = 0.0;
        let mut verdict = Verdict::Unused;
        for reference in &point.references {
            let products = match self.products(point, place, reference, &origin) {
                Ok(Some(products)) => products,
                Ok(None) => {
                    verdict = Verdict::Fails;
                    break;
                }
                Err(finding) => {
                    self.findings.push(*finding);
                    verdict = Verdict::Fails;
                    break;
                }
            };
            let Products {
                forward,
                backward,
                size,
                responds,
            } = products;
            let difference = (forward - backward).abs();
            let error = relative(difference, size);
            largest_error = largest_error.max(error);
            let agrees = difference <= tolerance * size + options.absolute_tolerance;
            if agrees {
                if responds && verdict == Verdict::Unused {
                    verdict = Verdict::Agrees;
                }
                continue;
            }
            if verdict != Verdict::Fails {
                self.findings.push(Finding::NotAdjoint {
                    tensor: variable.name.clone(),
                    seed: reference.seed,
                    forward,
                    backward,
                    error,
                    tolerance,
                });
            }
            verdict = Verdict::Fails;
        }
        self.report.tensors.push(TensorReport {
            name: variable.name.clone(),
            shape: variable.shape.clone(),
            step: None,
            compared: point.references.len(),
            kinks: 0,
            largest_error,
            at: None,
            resolution: tolerance + largest_error,
            unresolved: 0,
            verdict,
        });
    }

    /// Both products for the direction of one seed. `None` if the gradient cannot be used, about
    /// which there is a finding already; a finding if the function is not linear.
    fn products(
        &self,
        point: &Point,
        place: usize,
        reference: &Reference,
        origin: &[f64],
    ) -> Result<Option<Products>, Box<Finding>> {
        let (options, variable) = (self.options, &point.function.variables()[place]);
        let mut rng = generator(reference.seed, place, 0);
        let [v, w] = [(); 2].map(|()| -> Vec<f64> {
            let components = components(&mut rng, variable.values.len());
            components.into_iter().map(|v| options.round(v)).collect()
        });
        let sum: Vec<_> = v
            .iter()
            .zip(&w)
            .map(|(v, w)| options.round(v + w))
            .collect();
        let [of_v, of_w, of_sum] = [&v, &w, &sum].map(|values| at(point.function, place, values));

        let not_additive = (0..origin.len()).map(|i| (of_sum[i] - of_v[i]) - (of_w[i] - origin[i]));
        let size = norm(of_v.iter().copied()) + norm(of_w.iter().copied());
        let error = norm(not_additive) / size.max(f64::MIN_POSITIVE);
        // Rounding alone makes some epsilons.
        if error > options.epsilon().sqrt() {
            return Err(Box::new(Finding::NotLinear {
                tensor: variable.name.clone(),
                error,
            }));
        }

        let backward = match &reference.gradients[place] {
            None => 0.0,
            Some(gradient) => {
                if gradient.shape != variable.shape || gradient.dtype != options.dtype {
                    return Ok(None);
                }
                v.iter().zip(&gradient.values).map(|(v, g)| v * g).sum()
            }
        };
        let mapped: Vec<_> = of_v.iter().zip(origin).map(|(f, f0)| f - f0).collect();
        let u = &reference.grad_output;
        let bound = norm(mapped.iter().copied()) * norm(u.iter().copied());
        Ok(Some(Products {
            forward: mapped.iter().zip(u).map(|(mapped, u)| mapped * u).sum(),
            backward,
            size: if bound > 0.0 { bound } else { backward.abs() },
            responds: bound > 0.0,
        }))
    }
}

/// The outputs with other values in one variable.
fn at(function: &dyn Checked, variable: usize, values: &[f64]) -> Vec<f64> {
    function.forward_at(variable, values).values
}
