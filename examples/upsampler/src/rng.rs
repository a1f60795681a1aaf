//! Random numbers that depend on the seed only, not on the version of a library.

/// SplitMix64 (Steele, Lea and Flood, <https://doi.org/10.1145/2714064.2660195>).
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (self.bits() >> 40) as f32 / (1 << 24) as f32 * (high - low)
    }

    /// A whole number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_sequence() {
        // the first values of the authors' C code for the seed 1234567
        let mut rng = Rng::new(1234567);
        assert_eq!(rng.bits(), 6457827717110365317);
        assert_eq!(rng.bits(), 3203168211198807973);
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut rng = Rng::new(0);
        for _ in 0..1000 {
            assert!((-2.0..=3.0).contains(&rng.range(-2.0, 3.0)));
            assert!(rng.below(7) < 7);
        }
    }
}
