//! Random numbers from a seed, so that a run can be repeated.

use std::time::Duration;

/// SplitMix64, whose constants are its author's. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in 0..1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `around`, at most `jitter` shorter or longer, and never below zero.
    pub(crate) fn spread(&mut self, around: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return around;
        }
        let offset = jitter.mul_f64(2.0 * self.fraction());
        (around + offset).saturating_sub(jitter)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
