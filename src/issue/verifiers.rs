//! How slowly those who verify our tokens read the key set: the slowest that was really seen.
//!
//! Remembers no peer and no tag: 32 numbers, whoever asks and however often. Whoever is slower than [`LONGEST_WAIT`] counts as that.

use std::sync::{Mutex, PoisonError};

use super::wait::LONGEST_WAIT;
use crate::clock::{Lifetime, Timestamp};

const DAY: i64 = 86_400;
/// A turn of thirty days sees its keys enter and leave the set: what was seen in the turn before counts in the next.
const DAYS: usize = 32;

/// A day, and the slowest verifier that was seen on it, in minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    number: i64,
    minutes: i64,
}

/// What conditional requests (RFC 9110 §13.1.2) tell: whoever names a set that we no longer serve has kept it until now.
#[derive(Debug, Default)]
pub(super) struct Verifiers(Mutex<[Day; DAYS]>);

impl Verifiers {
    /// Somebody had, until `at`, a set that was replaced at `replaced`.
    pub(super) fn saw(&self, replaced: Timestamp, at: Timestamp) {
        if replaced > at {
            return;
        }
        let late = at.since(replaced).min(LONGEST_WAIT);
        // Whole minutes: an impatient liar makes us write dates a few hundred times, not at each request.
        let minutes = (late.seconds_rounded_up() + 59) / 60;
        let number = at.seconds().div_euclid(DAY);
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = usize::try_from(number.rem_euclid(DAYS as i64)).unwrap_or_default();
        if let Some(day) = days.get_mut(slot) {
            let known = if day.number == number { day.minutes } else { 0 };
            *day = Day { number, minutes: known.max(minutes) };
        }
    }

    /// The slowest of the last 32 days; `None` when none came late.
    pub(super) fn slowest(&self, at: Timestamp) -> Option<Lifetime> {
        let today = at.seconds().div_euclid(DAY);
        let days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = days.iter().filter(|day| day.number <= today && day.number > today - DAYS as i64);
        let minutes = recent.map(|day| day.minutes).max().filter(|minutes| *minutes > 0)?;
        u32::try_from(minutes * 60).ok().map(Lifetime::from_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_790_000_000 + seconds)
    }

    #[test]
    fn the_slowest_counts_for_a_turn_and_nobody_beyond_the_bound() {
        let verifiers = Verifiers::default();
        assert_eq!(verifiers.slowest(at(0)), None);
        verifiers.saw(at(0), at(540));
        verifiers.saw(at(0), at(60));
        assert_eq!(verifiers.slowest(at(600)), Some(Lifetime::from_minutes(9)));
        verifiers.saw(at(0), at(541));
        assert_eq!(verifiers.slowest(at(600)), Some(Lifetime::from_minutes(10)), "whole minutes, rounded up");
        verifiers.saw(at(100), at(0));
        assert_eq!(verifiers.slowest(at(600)), Some(Lifetime::from_minutes(10)), "from the future");
        verifiers.saw(at(0), at(9 * LONGEST_WAIT.seconds()));
        assert_eq!(verifiers.slowest(at(9 * LONGEST_WAIT.seconds())), Some(LONGEST_WAIT), "and not slower");
        assert_eq!(verifiers.slowest(at(36 * DAY)), None, "forgotten");
    }
}
