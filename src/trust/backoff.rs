//! How long to wait before the next attempt.
//!
//! Counts attempts and reads no clock. Every wait is jittered, the longest one too.

use crate::clock::Lifetime;
use crate::entropy::Entropy;

/// Doubles with every failure. A wait is between half of its bound and its bound.
#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Lifetime,
    longest: Lifetime,
    failures: u32,
}

impl Backoff {
    pub(super) const fn new(shortest: Lifetime, longest: Lifetime) -> Self {
        Self { shortest, longest, failures: 0 }
    }

    /// Everything is well again.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failed attempt.
    pub(super) fn after_failure(&mut self, entropy: &dyn Entropy) -> Lifetime {
        self.failures = self.failures.saturating_add(1);
        let doubled = self.shortest.millis().saturating_mul(1_i64 << self.failures.min(20));
        let bound = doubled.min(self.longest.millis());
        between(bound / 2, bound, entropy)
    }
}

/// `length`, ten per cent more or less, so that many processes do not ask at one moment.
pub(super) fn about(length: Lifetime, entropy: &dyn Entropy) -> Lifetime {
    let tenth = length.millis() / 10;
    between(length.millis() - tenth, length.millis() + tenth, entropy)
}

fn between(low: i64, high: i64, entropy: &dyn Entropy) -> Lifetime {
    let mut bytes = [0_u8; 4];
    // Without entropy the wait is in the middle: a missing jitter must not stop refreshing.
    let share = match entropy.fill(&mut bytes) {
        Ok(()) => i64::from(u32::from_be_bytes(bytes)),
        Err(_none) => i64::from(u32::MAX) / 2,
    };
    let millis = low + (high - low) * share / i64::from(u32::MAX);
    Lifetime::from_millis(u32::try_from(millis).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn wap_17_waits_grow_and_have_a_ceiling_and_jitter() {
        let mut backoff = Backoff::new(Lifetime::from_seconds(1), Lifetime::from_seconds(60));
        let mut seen = std::collections::BTreeSet::new();
        let first = backoff.after_failure(&SystemEntropy).millis();
        assert!((1000..=2000).contains(&first), "{first}");
        for _ in 0..100 {
            let wait = backoff.after_failure(&SystemEntropy).millis();
            assert!((1000..=60_000).contains(&wait), "{wait}");
            seen.insert(wait);
        }
        assert!(seen.len() > 50, "no jitter");
        assert!(seen.last().is_some_and(|longest| *longest > 30_000));
        backoff.reset();
        assert!(backoff.after_failure(&SystemEntropy).millis() <= 2000);
    }

    #[test]
    fn regular_waits_differ_by_ten_per_cent_at_most() {
        for _ in 0..100 {
            let wait = about(Lifetime::from_minutes(5), &SystemEntropy).millis();
            assert!((270_000..=330_000).contains(&wait), "{wait}");
        }
    }
}
