//! Decides whether one more fits into a rate: the generic cell rate algorithm (ITU-T I.371), one number for each identity.
//!
//! Never reads a clock: the moment is an argument.

use std::sync::atomic::{AtomicI64, Ordering};

use super::settings::Rate;
use crate::clock::{Lifetime, Timestamp};

/// A cell that is further ahead than its whole burst and this is of another rate, or of a clock that was set back: it counts as
/// full. Less than this is a request that took its reading of the clock before the others and waited for a key.
const BEHIND: i64 = 5 * 1_000_000_000;

/// The theoretical arrival time of the next one, in nanoseconds since the epoch. A new cell has its whole burst.
#[derive(Debug, Default)]
pub(super) struct Cell(AtomicI64);

impl Cell {
    /// Takes one, or says after how long there is one to take.
    pub(super) fn take(&self, rate: Rate, at: Timestamp) -> Result<(), Lifetime> {
        let at = at.millis().saturating_mul(1_000_000);
        let mut outcome = Ok(());
        let step = |due| {
            let (due, told) = next(due, rate, at);
            outcome = told;
            Some(due)
        };
        // `next` is asked again for as long as another thread was faster; the last answer is the one that was stored.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        outcome
    }
}

/// The cell after an arrival `at`, and whether it was let in.
fn next(due: i64, rate: Rate, at: i64) -> (i64, Result<(), Lifetime>) {
    let interval = rate.interval_nanos();
    let full = at.saturating_add(interval.saturating_mul(rate.burst()));
    let due = if due > full.saturating_add(BEHIND) { full } else { due };
    let after = due.max(at).saturating_add(interval);
    if after <= full {
        return (after, Ok(()));
    }
    let millis = (after - full).unsigned_abs().div_ceil(1_000_000);
    (due, Err(Lifetime::from_millis(u32::try_from(millis).unwrap_or(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_790_000_000);

    proptest! {
        #[test]
        fn no_window_has_more_than_its_rate_and_a_burst(
            count in 1_u32..2_000,
            minutes in proptest::bool::ANY,
            gaps in vec(proptest::prop_oneof![0_u32..3, 0_u32..2_000, 0_u32..120_000], 1..400),
        ) {
            let rate = Rate::parse(&format!("{count}/{}", if minutes { 'm' } else { 's' })).unwrap();
            let (cell, mut at, mut granted) = (Cell::default(), START, Vec::new());
            for gap in gaps {
                at = at.plus(Lifetime::from_millis(gap));
                match cell.take(rate, at) {
                    Ok(()) => granted.push(at.millis()),
                    Err(wait) => {
                        // Who comes back when it was told to is let in, and not a millisecond before.
                        prop_assert!(wait.millis() * 1_000_000 < rate.interval_nanos() + 1_000_000);
                        let early = at.plus(Lifetime::from_millis(u32::try_from(wait.millis() - 1).unwrap()));
                        prop_assert!(next(cell.0.load(Ordering::Acquire), rate, early.millis() * 1_000_000).1.is_err());
                        let then = at.plus(wait);
                        prop_assert!(next(cell.0.load(Ordering::Acquire), rate, then.millis() * 1_000_000).1.is_ok());
                    }
                }
            }
            let per_milli = f64::from(count) / if minutes { 60_000.0 } else { 1_000.0 };
            for (first, start) in granted.iter().enumerate() {
                for (last, end) in granted.iter().enumerate().skip(first) {
                    let most = per_milli * (end - start) as f64 + rate.burst() as f64;
                    prop_assert!((last - first + 1) as f64 <= most + 1e-6);
                }
            }
        }

        #[test]
        fn whatever_the_clock_does_nobody_waits_for_longer_than_this(moments in vec(0_u32..4_000_000_000, 1..200)) {
            let (cell, rate) = (Cell::default(), Rate::parse("5/s").unwrap());
            for moment in moments {
                if let Err(wait) = cell.take(rate, START.plus(Lifetime::from_millis(moment))) {
                    prop_assert!(wait.millis() <= 5_200);
                }
            }
        }
    }

    #[test]
    fn a_faster_rate_does_not_inherit_the_wait_of_a_slower_one() {
        let cell = Cell::default();
        cell.take(Rate::parse("1/m").unwrap(), START).unwrap();
        let fast = Rate::parse("10/s").unwrap();
        assert_eq!(cell.take(fast, START), Err(Lifetime::from_millis(100)));
        cell.take(fast, START.plus(Lifetime::from_millis(100))).unwrap();
    }
}
