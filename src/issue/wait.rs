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
    /// Whether its file is ours to change.
    pub ours: bool,
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
        if self.by_order() {
            self.schedule.activate()
        } else if self.canary == Canary::Passed {
            self.caches_until()
        } else {
            self.caches_until().max(self.tried_until())
        }
    }

    /// Whether a person has written that date: we never write one so soon after the publication. It is not moved.
    pub fn by_order(&self) -> bool {
        self.ours && self.schedule.activate() < self.schedule.publish().plus(PUBLISHED_BEFORE_USE)
    }

    /// When it signs at the earliest if it is to sign now.
    pub fn soonest(&self, at: Timestamp) -> Timestamp {
        let caches = self.caches().min(self.schedule.publish().plus(LONGEST_WAIT));
        let tried = if self.canary == Canary::Passed { at } else { at.plus(CANARY_AGAIN) };
        caches.max(tried)
    }

    /// When every cache has the key, those of the slowest verifier too.
    fn caches(&self) -> Timestamp {
        // Twice what was seen, as with the caches: a request tells what its sender held at least, not at most.
        let publish = self.schedule.publish();
        let seen = self.slowest.map_or(publish, |slowest| publish.plus(slowest).plus(slowest));
        seen.max(publish.plus(PUBLISHED_BEFORE_USE))
    }

    /// When it should sign, and for whose sake that is later than the file says. `None` when the file's date is good.
    pub fn later(&self, at: Timestamp) -> Option<(Timestamp, Cause)> {
        if self.by_order() {
            return None;
        }
        let planned = self.schedule.activate();
        let caches = self.caches().min(self.caches_until());
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
        let planned = self.schedule.activate();
        let until = self.later(at).map_or(planned, |(until, _)| until).to_rfc3339();
        let (planned, caches) = (planned.to_rfc3339(), ago(JWKS_MAX_AGE));
        let waits = if self.by_order() {
            format!("signs from {planned} by order, whoever does not know it yet")
        } else if !self.ours && until != planned {
            format!(
                "should wait until {until} for caches of {caches}, but its file says {planned} and is not ours to change"
            )
        } else {
            format!("waits until {until} for caches of {caches}")
        };
        let slowest = match self.slowest {
            Some(slowest) => format!("slowest verifier seen {}", ago(slowest)),
            None => "no slower verifier seen".to_owned(),
        };
        let canary = match &self.canary {
            Canary::Waiting => "canary not tried yet".to_owned(),
            Canary::Passed => "canary passed".to_owned(),
            Canary::Failed(why) => format!("canary failed: {why}"),
        };
        format!("{waits}; {slowest}; {canary}")
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
            ours: true,
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
    fn a_date_that_only_a_person_writes_is_an_order() {
        let mut ordered = wait(Some(540), Canary::Failed("an old set".to_owned()));
        let soon = Schedule::new(at(-15), at(0), at(599), at(90_000)).unwrap();
        ordered.schedule = soon;
        assert!(ordered.by_order());
        assert_eq!((ordered.later(at(1)), ordered.signs_untried(at(598))), (None, true));
        assert_eq!(ordered.at_the_latest(), at(599));
        let sentence = ordered.sentence(at(1));
        assert!(sentence.starts_with("signs from 1970-01-01T00:09:59Z by order, whoever"), "{sentence}");
        // Somebody else's file says what it says, and is warned about.
        ordered.ours = false;
        assert_eq!((ordered.by_order(), ordered.later(at(1))), (false, Some((at(1080), Cause::SlowVerifier))));
        let sentence = ordered.sentence(at(1));
        assert!(sentence.contains("but its file says 1970-01-01T00:09:59Z and is not ours to change"), "{sentence}");
    }

    #[test]
    fn jwk_17_to_rotate_now_is_to_wait_for_nobody_longer_than_needed() {
        for (slowest, canary, now, soonest) in [
            (None, Canary::Passed, 1, 600),
            (None, Canary::Passed, 3000, 3000),
            (Some(540), Canary::Passed, 700, 1080),
            (Some(20_000), Canary::Passed, 700, 21_600),
            (None, Canary::Waiting, 3000, 3180),
            (Some(540), Canary::Failed("503".to_owned()), 700, 1080),
            (None, Canary::Failed("503".to_owned()), 30_000, 30_180),
        ] {
            assert_eq!(wait(slowest, canary.clone()).soonest(at(now)), at(soonest), "{slowest:?} {canary:?} {now}");
        }
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
