//! How near a picture comes to the truth: PSNR and SSIM.

/// An exact match counts as this many dB.
const MAX_PSNR: f64 = 100.0;

/// Peak signal-to-noise ratio in dB of a mean squared error of values in 0 to 1:
/// `10 log10(1 / mse)`.
pub fn psnr_of_mse(mse: f64) -> f64 {
    // `min` would turn a NaN into the best value of all.
    let psnr = -10.0 * mse.log10();
    if psnr > MAX_PSNR { MAX_PSNR } else { psnr }
}

/// The mean squared error of two channels of the same size.
pub fn mean_squared_error(image: &[f32], truth: &[f32]) -> f64 {
    assert_eq!(image.len(), truth.len());
    let squares = image
        .iter()
        .zip(truth)
        .map(|(&got, &expected)| (f64::from(got) - f64::from(expected)).powi(2));
    squares.sum::<f64>() / truth.len() as f64
}

/// The window of SSIM, and the constants for values in 0 to 1.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Structural similarity of two channels, the mean over all windows that lie inside (Wang et al.
/// 2004: Gaussian windows of 11 x 11 values, sigma 1.5, K1 = 0.01, K2 = 0.03).
///
/// `None` if no window fits.
///
/// # Shapes
///
/// - image, truth: `[h, w]`, values in 0 to 1
pub fn ssim(image: &[f32], truth: &[f32], size: [usize; 2]) -> Option<f64> {
    let [height, width] = size;
    assert_eq!([image.len(), truth.len()], [height * width; 2]);
    if height.min(width) < WINDOW {
        return None;
    }
    let a: Vec<_> = image.iter().map(|&value| f64::from(value)).collect();
    let b: Vec<_> = truth.iter().map(|&value| f64::from(value)).collect();
    let product =
        |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
    let [mean_a, mean_b] = [&a, &b].map(|values| blurred(values, size));
    let [aa, bb, ab] = [(&a, &a), (&b, &b), (&a, &b)].map(|(x, y)| blurred(&product(x, y), size));
    let sum: f64 = (0..mean_a.len())
        .map(|at| {
            let [ma, mb] = [mean_a[at], mean_b[at]];
            let [va, vb, cov] = [aa[at] - ma * ma, bb[at] - mb * mb, ab[at] - ma * mb];
            (2.0 * ma * mb + C1) * (2.0 * cov + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2))
        })
        .sum();
    Some(sum / mean_a.len() as f64)
}

/// The Gaussian mean of each window.
///
/// # Shapes
///
/// - values: `[h, w]`
/// - output: `[h - 10, w - 10]`
fn blurred(values: &[f64], [height, width]: [usize; 2]) -> Vec<f64> {
    let weights: [f64; WINDOW] = std::array::from_fn(|tap| {
        let x = tap as f64 - (WINDOW / 2) as f64;
        (-x * x / (2.0 * SIGMA * SIGMA)).exp()
    });
    let sum: f64 = weights.iter().sum();
    let weights = weights.map(|weight| weight / sum);
    let [h, w] = [height, width].map(|size| size - (WINDOW - 1));

    // [height, w]
    let mut across = vec![0.0; height * w];
    for (row, across) in values.chunks_exact(width).zip(across.chunks_exact_mut(w)) {
        for (tap, weight) in weights.iter().enumerate() {
            for (value, from) in across.iter_mut().zip(&row[tap..]) {
                *value += weight * from;
            }
        }
    }
    let mut output = vec![0.0; h * w];
    for (y, row) in output.chunks_exact_mut(w).enumerate() {
        for (tap, weight) in weights.iter().enumerate() {
            for (value, from) in row.iter_mut().zip(&across[(y + tap) * w..]) {
                *value += weight * from;
            }
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_is_that_of_the_mean_squared_error() {
        // an error of 0.1 everywhere is 10 log10(1 / 0.01)
        let mse = mean_squared_error(&[0.6; 8], &[0.5; 8]);
        assert!((psnr_of_mse(mse) - 20.0).abs() < 1e-5);
        assert_eq!(psnr_of_mse(0.0), MAX_PSNR);
        assert!(psnr_of_mse(f64::NAN).is_nan());
    }

    #[test]
    fn ssim_of_constants_is_the_luminance_term() {
        let [a, b] = [0.25, 0.75];
        let expected = (2.0 * a * b + C1) / (a * a + b * b + C1);
        let got = ssim(&[a as f32; 13 * 12], &[b as f32; 13 * 12], [13, 12]).unwrap();
        // variances of constants are rounding
        assert!((got - expected).abs() < 1e-9, "{got} {expected}");
        assert_eq!(ssim(&[0.5; 100], &[0.5; 100], [10, 10]), None);
    }

    #[test]
    fn ssim_is_one_for_the_same_and_is_symmetric() {
        let a: Vec<_> = (0..30 * 20)
            .map(|at| ((at * 7) % 13) as f32 / 12.0)
            .collect();
        let b: Vec<_> = (0..30 * 20)
            .map(|at| ((at * 5) % 11) as f32 / 10.0)
            .collect();
        assert!((ssim(&a, &a, [30, 20]).unwrap() - 1.0).abs() < 1e-12);
        let [ab, ba] = [ssim(&a, &b, [30, 20]), ssim(&b, &a, [30, 20])].map(Option::unwrap);
        assert!((ab - ba).abs() < 1e-12 && ab < 0.9, "{ab}");
    }

    /// One window, the sums written out.
    #[test]
    fn ssim_of_one_window_is_the_papers_formula() {
        let value = |at: usize, step: usize| ((at * step) % 17) as f32 / 16.0;
        let [a, b] = [3, 5].map(|step| (0..121).map(|at| value(at, step)).collect::<Vec<_>>());
        let weight = |at: usize| {
            let [y, x] = [at / 11, at % 11].map(|at| at as f64 - 5.0);
            (-(x * x + y * y) / 4.5).exp()
        };
        let sum: f64 = (0..121).map(weight).sum();
        let mean =
            |f: &dyn Fn(usize) -> f64| (0..121).map(|at| weight(at) * f(at)).sum::<f64>() / sum;
        let [at_a, at_b] = [&a, &b].map(|values| move |at: usize| f64::from(values[at]));
        let [ma, mb] = [mean(&at_a), mean(&at_b)];
        let va = mean(&|at| (at_a(at) - ma).powi(2));
        let vb = mean(&|at| (at_b(at) - mb).powi(2));
        let cov = mean(&|at| (at_a(at) - ma) * (at_b(at) - mb));
        let expected =
            (2.0 * ma * mb + C1) * (2.0 * cov + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2));
        let got = ssim(&a, &b, [11, 11]).unwrap();
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    }
}
