//! For whom the activation of a published key waits: the caches that we allow, the slowest verifier that was seen, the canary.
//!
//! A pure function. Never asks for an earlier moment than the file has, and never for one beyond [`LONGEST_WAIT`]: whoever
//! pretends to be slow, and a public URL that fails, cannot stop a rotation.

use super::schedule::{JWKS_MAX_AGE, PUBLISHED_BEFORE_USE, Schedule};
use super::timeline::ago;
use crate::clock::{Lifetime, Timestamp};
use crate::identity::KeyId;
use crate::jose::Algorithm;

/// How long a key waits at most: for slow verifiers from its publication on, for its canary from the moment at which it was to sign.
pub const LONGEST_WAIT: Lifetime = Lifetime::from_hours(6);
/// So long before its activation a key is postponed whose canary has not passed: every process on the folder reads that in time.
const CANARY_BEFORE: Lifetime = Lifetime::from_seconds(60);
/// For how long at a time.
const CANARY_AGAIN: Lifetime = Lifetime::from_seconds(180);

/// What became of the trial of a key through the public URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Not tried yet in this process.
    Waiting,
    /// The public URL had the key, and its copy verified a signature of ours.
    Passed,
    /// It did not, for this reason.
    Failed(String),
}

/// Why a key signs later than planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A verifier was seen that is slower than the caches we allow.
    SlowVerifier,
    /// The public URL does not serve the key yet.
    Canary,
}

impl Cause {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlowVerifier => "slow_verifier",
            Self::Canary => "canary",
        }
    }
}

/// A published key that does not sign yet, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The key.
    pub key_id: KeyId,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its dates, as the file has them.
    pub schedule: Schedule,
    /// The slowest verifier that was seen in 32 days.
    pub slowest: Option<Lifetime>,
    /// The trial through the public URL.
    pub canary: Canary,
}

impl Wait {
    /// How long slow verifiers are waited for. Not less than the file says.
    fn caches_until(&self) -> Timestamp {
        self.schedule.publish().plus(LONGEST_WAIT).max(self.schedule.activate())
    }

    /// How long the canary is waited for. A next key that was made a day ahead is not tried less than one made in haste.
    fn tried_until(&self) -> Timestamp {
        self.schedule.planned().plus(LONGEST_WAIT)
    }

    /// When it signs whatever else happens.
    pub fn at_the_latest(&self) -> Timestamp {
        if self.canary == Canary::Passed { self.caches_until() } else { self.caches_until().max(self.tried_until()) }
    }

    /// When it should sign, and for whose sake that is later than the file says. `None` when the file's date is good.
    pub fn later(&self, at: Timestamp) -> Option<(Timestamp, Cause)> {
        let planned = self.schedule.activate();
        // Twice what was seen, as with the caches: a request tells what its sender held at least, not at most.
        let publish = self.schedule.publish();
        let seen = self.slowest.map_or(publish, |slowest| publish.plus(slowest).plus(slowest));
        let caches = seen.max(publish.plus(PUBLISHED_BEFORE_USE)).min(self.caches_until());
        let tried = if self.canary == Canary::Passed || planned.minus(CANARY_BEFORE) > at {
            planned
        } else {
            at.plus(CANARY_AGAIN).min(self.tried_until()).max(planned)
        };
        let (until, cause) = if caches >= tried { (caches, Cause::SlowVerifier) } else { (tried, Cause::Canary) };
        (until > planned).then_some((until, cause))
    }

    /// Whether it is about to sign although its canary has not passed: it has waited long enough.
    pub fn signs_untried(&self, at: Timestamp) -> bool {
        self.canary != Canary::Passed && self.schedule.activate().minus(CANARY_BEFORE) <= at && self.later(at).is_none()
    }

    /// `waits until … for caches of 5 m; slowest verifier seen 9 m; canary passed`.
    pub fn sentence(&self, at: Timestamp) -> String {
        let until = self.later(at).map_or(self.schedule.activate(), |(until, _)| until);
        let slowest = match self.slowest {
            Some(slowest) => format!("slowest verifier seen {}", ago(slowest)),
            None => "no slower verifier seen".to_owned(),
        };
        let canary = match &self.canary {
            Canary::Waiting => "canary not tried yet".to_owned(),
            Canary::Passed => "canary passed".to_owned(),
            Canary::Failed(why) => format!("canary failed: {why}"),
        };
        format!("waits until {} for caches of {}; {slowest}; {canary}", until.to_rfc3339(), ago(JWKS_MAX_AGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn wait(slowest: Option<u32>, canary: Canary) -> Wait {
        Wait {
            key_id: KeyId::parse("k").unwrap(),
            algorithm: Algorithm::ES256,
            schedule: Schedule::announced(at(-15)),
            slowest: slowest.map(Lifetime::from_seconds),
            canary,
        }
    }

    #[test]
    fn caches_are_waited_for_up_to_the_bound() {
        for (slowest, later) in [
            (None, None),
            (Some(300), None),
            (Some(540), Some((at(1080), Cause::SlowVerifier))),
            (Some(20_000), Some((at(LONGEST_WAIT.seconds()), Cause::SlowVerifier))),
            (Some(u32::MAX), Some((at(LONGEST_WAIT.seconds()), Cause::SlowVerifier))),
        ] {
            assert_eq!(wait(slowest, Canary::Passed).later(at(1)), later, "{slowest:?}");
        }
        let mut held = wait(Some(540), Canary::Passed);
        held.schedule = held.schedule.held(at(90_000));
        assert_eq!((held.later(at(1)), held.caches_until()), (None, at(90_000)), "never earlier");
        assert_eq!(held.at_the_latest(), at(90_000));
    }

    #[test]
    fn an_untried_key_is_postponed_until_the_bound_and_then_signs() {
        for canary in [Canary::Waiting, Canary::Failed("an old set".to_owned())] {
            let mut wait = wait(None, canary);
            assert_eq!(wait.later(at(539)), None, "there is time");
            let (mut now, mut moves) = (at(540), 0);
            while let Some((until, cause)) = wait.later(now) {
                assert!(until > wait.schedule.activate() && cause == Cause::Canary && !wait.signs_untried(now));
                wait.schedule = wait.schedule.put_off(until);
                (now, moves) = (until.minus(CANARY_BEFORE), moves + 1);
            }
            assert!(wait.signs_untried(now) && moves > 100);
            assert_eq!(wait.schedule.activate(), at(600 + LONGEST_WAIT.seconds()));
            wait.canary = Canary::Passed;
            assert!(!wait.signs_untried(now));
        }
    }

    #[test]
    fn a_key_that_was_made_a_day_ahead_waits_for_its_canary_too() {
        let mut wait = wait(None, Canary::Failed("an old set".to_owned()));
        wait.schedule = Schedule::announced_for(at(-15), at(86_400));
        assert_eq!(wait.later(at(86_339)), None, "there is time");
        assert_eq!(wait.later(at(86_340)), Some((at(86_520), Cause::Canary)));
        assert_eq!(wait.at_the_latest(), at(86_400 + LONGEST_WAIT.seconds()));
        wait.schedule = wait.schedule.put_off(at(86_400 + LONGEST_WAIT.seconds()));
        assert!(wait.signs_untried(at(86_400 + LONGEST_WAIT.seconds() - 60)), "and not for ever");
    }

    #[test]
    fn the_plan_is_a_sentence() {
        let sentence = wait(Some(540), Canary::Passed).sentence(at(1));
        assert_eq!(
            sentence,
            "waits until 1970-01-01T00:18:00Z for caches of 5 m; slowest verifier seen 9 m; canary passed"
        );
        let sentence = wait(None, Canary::Failed("503".to_owned())).sentence(at(1));
        assert!(sentence.ends_with("no slower verifier seen; canary failed: 503"), "{sentence}");
    }
}
