//! The random numbers of a check: output gradients, directions and samples.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A generator for one tensor and one attempt, so that no two directions are the same.
pub(super) fn generator(seed: u64, variable: usize, attempt: usize) -> StdRng {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut mixed = 0;
    for part in [variable, attempt] {
        mixed ^= rng.random::<u64>().wrapping_mul(part as u64 + 1);
    }
    StdRng::seed_from_u64(mixed)
}

/// Numbers with random signs and magnitudes from 0.5 to 1.5: none is lost beside the others.
pub(super) fn components(rng: &mut StdRng, count: usize) -> Vec<f64> {
    (0..count)
        .map(|_| {
            let within_one = 2.0 * rng.random::<f64>() - 1.0;
            within_one + f64::copysign(0.5, within_one)
        })
        .collect()
}
