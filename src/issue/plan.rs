//! Which dates keys must have: when the next key is made, when it takes over, what a change of plan means for the others.
//!
//! A pure function of the dates in the files and the clock. Never plans a key that signs before it was published long enough.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::schedule::{KeyState, OVERLAP, PUBLISHED_BEFORE_USE, SEEN_BY_ALL, Schedule};
use super::settings::{LONGEST_ROTATION, SHORTEST_ROTATION};
use crate::clock::{Lifetime, Timestamp};
use crate::identity::KeyId;
use crate::jose::Algorithm;

/// How early the next key is made at most. A day helps verifiers that keep key sets for longer than we allow.
const LONGEST_LEAD: Lifetime = Lifetime::from_hours(24);
/// From so many keys on, files of keys that are gone are removed: half of what the folder may have. At the usual rotation that is never.
const CROWDED: usize = 500;
/// How long the file of a key that is gone is kept at least.
const KEPT_WHEN_GONE: Lifetime = Lifetime::from_hours(7 * 24);

const _: () = assert!(
    PUBLISHED_BEFORE_USE.millis() + SEEN_BY_ALL.millis() < SHORTEST_ROTATION.millis() / 4,
    "JWK-17: the next key is in time"
);

/// A key as plans see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dated {
    /// `None` for a key that is to be made.
    pub(super) key_id: Option<KeyId>,
    pub(super) algorithm: Algorithm,
    pub(super) schedule: Schedule,
}

/// What must be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Keys to make.
    pub(super) make: Vec<(Algorithm, Schedule)>,
    /// Keys that get other dates.
    pub(super) dates: Vec<(KeyId, Schedule)>,
    /// Keys whose files have no use any more.
    pub(super) forget: Vec<KeyId>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a change of plan is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// Nobody waits to take over.
    #[error("no {0} key waits to take over; there is nothing to hold")]
    NothingToHold(Algorithm),
    /// A key is never made to sign earlier by holding it.
    #[error("the waiting {0} key signs at {1:?} at the earliest already; name a later moment")]
    NotLater(Algorithm, Timestamp),
    /// A hold of years is a slip of the pen.
    #[error("a key is held for {LONGEST_ROTATION} at most")]
    HeldTooLong,
    /// There is no key that could sign again.
    #[error("no earlier {0} key may still sign; make the next one sign soon with `rotate` instead")]
    NothingToGoBackTo(Algorithm),
    /// No such key.
    #[error("no signing key has that id")]
    Unknown,
}

/// What rotation asks for at `at`: nothing, most of the time.
pub(super) fn due(keys: &[Dated], needed: &BTreeSet<Algorithm>, rotate: Lifetime, at: Timestamp) -> Changes {
    let mut plan = Plan::of(keys, at);
    let serving = keys.iter().filter(|key| serves(key, at)).map(|key| key.algorithm);
    for algorithm in serving.chain(needed.iter().copied()).collect::<BTreeSet<_>>() {
        match plan.next_turn(algorithm, rotate) {
            None => plan.make(algorithm, Schedule::announced(at)),
            Some(turn) if at >= turn.minus(lead(rotate)) => plan.make(algorithm, Schedule::announced_for(at, turn)),
            Some(_) => {}
        }
        plan.cut(algorithm);
    }
    plan.forget();
    plan.changes(keys)
}

/// When the next key of that algorithm is made, unless one waits already.
pub(super) fn next_made(keys: &[Dated], algorithm: Algorithm, rotate: Lifetime, at: Timestamp) -> Option<Timestamp> {
    let plan = Plan::of(keys, at);
    let waits = plan.serving(algorithm).any(|key| key.schedule.activate() > at);
    let turn = plan.next_turn(algorithm, rotate)?;
    (!waits).then(|| turn.minus(lead(rotate)).max(at))
}

/// A further key that signs as soon as it may.
pub(super) fn new_key(keys: &[Dated], algorithm: Algorithm, at: Timestamp) -> Changes {
    let mut plan = Plan::of(keys, at);
    plan.make(algorithm, Schedule::announced(at));
    plan.cut(algorithm);
    plan.changes(keys)
}

/// The next key signs as soon as it may: the one that waits, or a new one. `soonest` says for whom a published one waits.
pub(super) fn rotate(
    keys: &[Dated],
    algorithm: Algorithm,
    soonest: impl Fn(&Dated) -> Option<Timestamp>,
    at: Timestamp,
) -> Changes {
    let mut plan = Plan::of(keys, at);
    plan.hasten(algorithm, soonest);
    plan.cut(algorithm);
    plan.changes(keys)
}

/// No key takes over before `until`.
pub(super) fn hold(
    keys: &[Dated],
    algorithm: Algorithm,
    until: Timestamp,
    at: Timestamp,
) -> Result<Changes, PlanFault> {
    if until.since(at) > LONGEST_ROTATION {
        return Err(PlanFault::HeldTooLong);
    }
    let mut plan = Plan::of(keys, at);
    let waiting = plan.serving(algorithm).map(|key| key.schedule.activate()).find(|activate| *activate > at);
    let first = waiting.ok_or(PlanFault::NothingToHold(algorithm))?;
    if until <= first {
        return Err(PlanFault::NotLater(algorithm, first));
    }
    for key in plan.keys.iter_mut().filter(|key| key.algorithm == algorithm && serves(key, at)) {
        if key.schedule.activate() > at {
            key.schedule = key.schedule.held(until);
        }
    }
    plan.prolong(algorithm);
    plan.cut(algorithm);
    Ok(plan.changes(keys))
}

/// Published keys sign at `until` where that is later than planned; whoever signs now does so until then. Algorithms without a key
/// that signs wait for nobody; keys that are `out_of_use` sign nothing.
pub(super) fn wait(
    keys: &[Dated],
    out_of_use: &BTreeSet<KeyId>,
    until: impl Fn(&Dated) -> Option<Timestamp>,
    at: Timestamp,
) -> Changes {
    let mut plan = Plan::of(keys, at);
    let out = |key: &Dated| key.key_id.as_ref().is_some_and(|id| out_of_use.contains(id));
    let signing = |key: &Dated| key.schedule.state(at) == KeyState::Active && !out(key);
    let served: BTreeSet<Algorithm> = keys.iter().filter(|key| signing(key)).map(|key| key.algorithm).collect();
    for key in plan.keys.iter_mut().filter(|key| served.contains(&key.algorithm)) {
        if let Some(until) = until(key).filter(|_| key.schedule.state(at) == KeyState::Published) {
            key.schedule = key.schedule.put_off(until);
        }
    }
    plan.sort();
    for algorithm in served {
        plan.prolong(algorithm);
        plan.cut(algorithm);
    }
    plan.changes(keys)
}

/// The key that signs stops, and the one before it signs again.
pub(super) fn rollback(keys: &[Dated], algorithm: Algorithm, at: Timestamp) -> Result<Changes, PlanFault> {
    let mut plan = Plan::of(keys, at);
    let active = plan.serving(algorithm).filter(|key| key.schedule.state(at) == KeyState::Active).count();
    if active < 2 {
        return Err(PlanFault::NothingToGoBackTo(algorithm));
    }
    let is_active = |key: &&mut Dated| key.algorithm == algorithm && key.schedule.state(at) == KeyState::Active;
    if let Some(newest) = plan.keys.iter_mut().rfind(is_active) {
        newest.schedule = newest.schedule.ending_by(Timestamp::from_seconds(at.seconds()));
        plan.at = at.max(newest.schedule.retire());
    }
    plan.prolong(algorithm);
    plan.cut(algorithm);
    Ok(plan.changes(keys))
}

/// The key is nowhere any more. If it was to sign and nobody else does, the next one signs as soon as it may.
pub(super) fn revoke(keys: &[Dated], key_id: &KeyId, at: Timestamp) -> Result<Changes, PlanFault> {
    let mut plan = Plan::of(keys, at);
    let key = plan.keys.iter_mut().find(|key| key.key_id.as_ref() == Some(key_id)).ok_or(PlanFault::Unknown)?;
    if key.schedule.revoked().is_some() {
        return Ok(Changes::default());
    }
    let (algorithm, served) = (key.algorithm, serves(key, at));
    let revoked = Timestamp::from_seconds(at.seconds()).max(key.schedule.created());
    key.schedule = key.schedule.revoked_at(revoked).unwrap_or(key.schedule);
    plan.at = at.max(revoked);
    if served {
        if !plan.serving(algorithm).any(|key| key.schedule.state(plan.at) == KeyState::Active) {
            // Nobody signs: nobody is waited for.
            plan.hasten(algorithm, |_| None);
        }
        plan.prolong(algorithm);
        plan.cut(algorithm);
    }
    Ok(plan.changes(keys))
}

/// How long before its turn the next key is made.
fn lead(rotate: Lifetime) -> Lifetime {
    u32::try_from(rotate.seconds() / 4).map_or(LONGEST_LEAD, Lifetime::from_seconds).min(LONGEST_LEAD)
}

/// Whether it signs or will.
fn serves(key: &Dated, at: Timestamp) -> bool {
    matches!(key.schedule.state(at), KeyState::Pending | KeyState::Published | KeyState::Active)
}

/// All keys in the order in which they take over: of several active ones the last signs, as in `KeyRing::active`.
struct Plan {
    keys: Vec<Dated>,
    at: Timestamp,
}

impl Plan {
    fn of(keys: &[Dated], at: Timestamp) -> Self {
        let mut plan = Self { keys: keys.to_vec(), at };
        // Whoever made it ended before it had its dates; its file is there now.
        for key in plan.keys.iter_mut().filter(|key| key.schedule.is_undated()) {
            key.schedule = key.schedule.dated(at);
        }
        plan.sort();
        plan
    }

    fn sort(&mut self) {
        self.keys.sort_by_cached_key(|key| (key.schedule.activate(), Reverse(key.key_id.clone())));
    }

    fn serving(&self, algorithm: Algorithm) -> impl DoubleEndedIterator<Item = &Dated> {
        self.keys.iter().filter(move |key| key.algorithm == algorithm && serves(key, self.at))
    }

    fn make(&mut self, algorithm: Algorithm, schedule: Schedule) {
        self.keys.push(Dated { key_id: None, algorithm, schedule });
        self.sort();
    }

    /// When the last key in line has signed for long enough. Its turn counts from its activation, or from the moment at which the
    /// operator went back to it. `None` without any key.
    fn next_turn(&self, algorithm: Algorithm, rotate: Lifetime) -> Option<Timestamp> {
        let last = self.serving(algorithm).next_back()?.schedule;
        let gone_back = self.keys.iter().filter(|key| {
            key.algorithm == algorithm
                && key.schedule.revoked().is_none()
                && key.schedule.activate() >= last.activate()
                && key.schedule.retire() <= self.at
        });
        let since = gone_back.map(|key| key.schedule.retire()).fold(last.activate(), Timestamp::max);
        // A second later at least: of two that take over at once the id would decide.
        let soonest = last.activate().plus(Lifetime::from_seconds(1));
        Some(since.plus(rotate).min(last.retire().minus(OVERLAP)).max(soonest))
    }

    /// The first key that waits signs as soon as it may; without one, one is made.
    fn hasten(&mut self, algorithm: Algorithm, soonest: impl Fn(&Dated) -> Option<Timestamp>) {
        let at = self.at;
        let waits = |key: &&mut Dated| key.algorithm == algorithm && serves(key, at) && key.schedule.activate() > at;
        match self.keys.iter_mut().find(waits) {
            Some(next) => next.schedule = next.schedule.hastened(soonest(next).unwrap_or(at)),
            None => return self.make(algorithm, Schedule::announced(at)),
        }
        self.sort();
    }

    /// Whoever has a successor retires after it has taken over.
    fn cut(&mut self, algorithm: Algorithm) {
        let at = self.at;
        let mut successor: Option<Timestamp> = None;
        for key in self.keys.iter_mut().rev().filter(|key| key.algorithm == algorithm && serves(key, at)) {
            if let Some(takes_over) = successor {
                key.schedule = key.schedule.ending_by(takes_over.plus(OVERLAP));
            }
            successor = Some(key.schedule.activate());
        }
    }

    /// The key that signs now does so until its successor takes over, and so do those that wait; the last has its whole life.
    fn prolong(&mut self, algorithm: Algorithm) {
        let at = self.at;
        let mut successor: Option<Timestamp> = None;
        for key in self.keys.iter_mut().rev().filter(|key| key.algorithm == algorithm && serves(key, at)) {
            key.schedule = key.schedule.lasting(successor.map(|takes_over| takes_over.plus(OVERLAP)));
            if key.schedule.activate() <= at {
                return;
            }
            successor = Some(key.schedule.activate());
        }
    }

    /// In a crowded folder, takes away the keys that are gone for long, and that an active one has followed: a clock that is wrong for
    /// a while takes none away. Revoked ones stay: a copy of the folder that is put back must not bring them back.
    fn forget(&mut self) {
        if self.keys.len() < CROWDED {
            return;
        }
        let at = self.at;
        let followed: Vec<(Algorithm, Timestamp)> = self
            .keys
            .iter()
            .filter(|key| key.schedule.state(at) == KeyState::Active)
            .map(|key| (key.algorithm, key.schedule.activate()))
            .collect();
        self.keys.retain(|key| {
            key.schedule.revoked().is_some()
                || key.schedule.gone().plus(KEPT_WHEN_GONE) > at
                || !followed
                    .iter()
                    .any(|(algorithm, since)| *algorithm == key.algorithm && *since > key.schedule.activate())
        });
    }

    /// The difference to `before`. Keys that last longer come first: a process that dies on the way leaves a signer.
    fn changes(self, before: &[Dated]) -> Changes {
        let after: BTreeMap<&KeyId, Schedule> =
            self.keys.iter().filter_map(|key| Some((key.key_id.as_ref()?, key.schedule))).collect();
        let mut changes = Changes::default();
        let mut dates: Vec<(bool, KeyId, Schedule)> = Vec::new();
        for old in before {
            let Some(key_id) = &old.key_id else { continue };
            match after.get(key_id) {
                None => changes.forget.push(key_id.clone()),
                Some(new) if *new != old.schedule => {
                    let lasts_longer = new.ends() > old.schedule.ends() && new.activate() == old.schedule.activate();
                    dates.push((!lasts_longer, key_id.clone(), *new));
                }
                Some(_) => {}
            }
        }
        dates.sort_by_key(|(after, ..)| *after);
        changes.dates = dates.into_iter().map(|(_, key_id, schedule)| (key_id, schedule)).collect();
        let made = self.keys.iter().filter(|key| key.key_id.is_none());
        changes.make = made.map(|key| (key.algorithm, key.schedule)).collect();
        changes
    }
}

#[cfg(test)]
mod tests;
