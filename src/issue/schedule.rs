//! When a signing key is published, signs, and is forgotten: a pure function of its dates and the clock.
//!
//! Never reads a clock and never looks at other keys, so every process that has the dates comes to the same state.

use crate::clock::{Lifetime, Timestamp};

/// How long others may cache our key set: the `max-age` of `/jwks` (MD-16).
pub const JWKS_MAX_AGE: Lifetime = Lifetime::from_seconds(300);

/// How long after it was made a further key enters the key set: every process on the folder has read it by then, so that all
/// of them publish it from the same moment on.
pub(super) const SEEN_BY_ALL: Lifetime = Lifetime::from_seconds(15);

/// How long after the plan the file of a further key is there, or it is announced anew: what is left for every process to read it
/// is twice the time between two readings.
const WRITTEN_WITHIN: Lifetime = Lifetime::from_seconds(5);

/// How long a further key is published before it signs (JWK-17). Twice what a cache may hold, so that a copy taken just
/// before the key appeared is gone long before its first token.
pub const PUBLISHED_BEFORE_USE: Lifetime = Lifetime::from_seconds(600);

/// Longest life of an access token. The configuration refuses a resource with a longer `lifetime`.
pub const LONGEST_TOKEN_LIFE: Lifetime = crate::policy::LONGEST_LIFETIME;

/// How long a key stays published after it signed its last token (JWK-17): the longest token, and five minutes for
/// verifiers with slow clocks, the largest leeway that is usual among them.
pub const KEPT_AFTER_RETIRE: Lifetime = Lifetime::from_hours(25);

/// How long after its successor took over a key that we rotate retires: longer than the longest token, so that no token's life is
/// cut short by a rotation, and long enough to take the rotation back.
pub(super) const OVERLAP: Lifetime = Lifetime::from_hours(25);

/// How long a key that the processes make themselves may sign, unless a rotation ends it earlier: ten years.
const LIFE_OF_A_KEY: Lifetime = Lifetime::from_hours(87_660);

const _: () = assert!(JWKS_MAX_AGE.millis() * 2 <= PUBLISHED_BEFORE_USE.millis(), "MD-16: caches end before first use");
const _: () = assert!(LONGEST_TOKEN_LIFE.millis() < KEPT_AFTER_RETIRE.millis(), "JWK-17: keys outlast their tokens");
const _: () = assert!(LONGEST_TOKEN_LIFE.millis() < OVERLAP.millis(), "rotations cut no token short");

/// Where in its life a signing key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// Known to us alone.
    Pending,
    /// In the key set, so that verifiers learn it; signs nothing.
    Published,
    /// May sign. Of several such keys of one algorithm, the one that became active last does.
    Active,
    /// Signs nothing any more; in the key set for the tokens that it signed.
    Retired,
    /// Out of the key set. Its file may be removed.
    Gone,
    /// Taken back by the operator: signs nothing, and is in no key set.
    Revoked,
}

impl KeyState {
    /// The stable word for it, in status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Gone => "gone",
            Self::Revoked => "revoked",
        }
    }

    /// Whether verifiers must know a key in this state.
    pub const fn is_published(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retired)
    }
}

/// The dates of a signing key: four in order, and perhaps one that ends it before its time, and one that it had before it was put
/// off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    created: Timestamp,
    publish: Timestamp,
    activate: Timestamp,
    retire: Timestamp,
    revoked: Option<Timestamp>,
    planned: Option<Timestamp>,
}

impl Schedule {
    /// Four dates; `None` unless created ≤ publish ≤ activate < retire.
    pub fn new(created: Timestamp, publish: Timestamp, activate: Timestamp, retire: Timestamp) -> Option<Self> {
        let ordered = created <= publish && publish <= activate && activate < retire;
        ordered.then_some(Self { created, publish, activate, retire, revoked: None, planned: None })
    }

    /// A key of a folder that had none: nobody can hold an older key set, so it signs at once.
    pub(super) const fn at_once(at: Timestamp) -> Self {
        Self::waiting(at, Lifetime::ZERO)
    }

    /// A key that signs after `wait`, published from the start.
    pub(super) const fn waiting(at: Timestamp, wait: Lifetime) -> Self {
        // Whole seconds, as its file will say, so that the maker agrees with every reader.
        let created = Timestamp::from_seconds(at.seconds());
        Self::made(created, created, created.plus(wait))
    }

    /// A key that joins others: it signs once no cached key set can be without it.
    pub(super) const fn announced(at: Timestamp) -> Self {
        let created = Timestamp::from_seconds(at.seconds());
        let publish = created.plus(SEEN_BY_ALL);
        Self::made(created, publish, publish.plus(PUBLISHED_BEFORE_USE))
    }

    /// A key that joins others and signs at `wanted`, or later where that would be too soon.
    pub(super) fn announced_for(at: Timestamp, wanted: Timestamp) -> Self {
        let soonest = Self::announced(at);
        Self::made(soonest.created, soonest.publish, soonest.activate.max(whole_second(wanted)))
    }

    /// The same key while its file is not there yet: it is published, and signs at no time that anybody will see. Whoever writes it is
    /// perhaps suspended on the way, and what it planned is past by then.
    pub(super) const fn undated(self) -> Self {
        let activate = self.publish.plus(LIFE_OF_A_KEY);
        Self { activate, retire: activate.plus(LIFE_OF_A_KEY), ..self }
    }

    /// Whether its file was written and its dates were not: the process ended in between.
    pub(super) fn is_undated(&self) -> bool {
        self.activate.since(self.publish) >= LIFE_OF_A_KEY
    }

    /// The dates of such a key, whose file was read at `at`.
    pub(super) fn dated(self, at: Timestamp) -> Self {
        let soonest = Self::announced(at);
        Self { created: self.created.min(soonest.created), revoked: self.revoked, ..soonest }
    }

    /// The dates of a key whose file is there for sure at `at`: as planned, or later where that came too late for every process to
    /// publish it in time.
    pub(super) fn written_by(self, at: Timestamp) -> Self {
        if at <= self.created.plus(WRITTEN_WITHIN) {
            return self;
        }
        let soonest = Self::announced(at);
        Self { publish: soonest.publish, ..self }.held(soonest.activate)
    }

    const fn made(created: Timestamp, publish: Timestamp, activate: Timestamp) -> Self {
        Self { created, publish, activate, retire: activate.plus(LIFE_OF_A_KEY), revoked: None, planned: None }
    }

    /// The same key, revoked at a moment that is not before it was made.
    pub(super) fn revoked_at(self, revoked: Timestamp) -> Option<Self> {
        (revoked >= self.created).then_some(Self { revoked: Some(revoked), ..self })
    }

    /// The same key, retiring at `end` at the latest.
    pub(super) fn ending_by(self, end: Timestamp) -> Self {
        // A key signs for a second at least: the dates stay in order.
        Self { retire: self.retire.min(end).max(self.activate.plus(Lifetime::from_seconds(1))), ..self }
    }

    /// The same key, retiring at `end` at the earliest; without one it has its whole life again.
    pub(super) fn lasting(self, end: Option<Timestamp>) -> Self {
        Self { retire: self.retire.max(end.unwrap_or_else(|| self.activate.plus(LIFE_OF_A_KEY))), ..self }
    }

    /// The same key, which was to sign at a moment that is not before its publication. One that signs earlier than that has a date
    /// that somebody wrote since: that is the plan now.
    pub(super) fn planned_for(self, planned: Timestamp) -> Option<Self> {
        let planned = (self.publish <= planned).then_some(planned)?;
        Some(Self { planned: Some(planned).filter(|planned| *planned < self.activate), ..self })
    }

    /// The same key, signing later because somebody wants it so.
    pub(super) fn held(self, until: Timestamp) -> Self {
        let activate = self.activate.max(whole_second(until));
        Self { activate, planned: None, ..self }.lasting(Some(activate.plus(OVERLAP)))
    }

    /// The same key, signing later because verifiers do not have it yet. It remembers what was planned.
    pub(super) fn put_off(self, until: Timestamp) -> Self {
        Self { planned: Some(self.planned()), ..self.held(until) }
    }

    /// The same key, signing from `at` on, or once it has been published for long enough, and not later than planned.
    pub(super) fn hastened(self, at: Timestamp) -> Self {
        let soonest = self.publish.plus(PUBLISHED_BEFORE_USE).max(Timestamp::from_seconds(at.seconds()));
        Self { activate: self.activate.min(soonest), planned: None, ..self }
    }

    /// When the key was made.
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// When it enters the key set.
    pub const fn publish(&self) -> Timestamp {
        self.publish
    }

    /// When it may sign.
    pub const fn activate(&self) -> Timestamp {
        self.activate
    }

    /// When it was to sign before it was put off for the sake of verifiers.
    pub fn planned(&self) -> Timestamp {
        self.planned.unwrap_or(self.activate)
    }

    /// That moment, if it was put off.
    pub(super) const fn put_off_from(&self) -> Option<Timestamp> {
        self.planned
    }

    /// When it signs no more; no token of it is valid at this moment or later.
    pub const fn retire(&self) -> Timestamp {
        self.retire
    }

    /// When the operator took it back.
    pub const fn revoked(&self) -> Option<Timestamp> {
        self.revoked
    }

    /// When it signs no more, for either reason.
    pub fn ends(&self) -> Timestamp {
        self.revoked.map_or(self.retire, |revoked| revoked.min(self.retire))
    }

    /// When it leaves the key set.
    pub fn gone(&self) -> Timestamp {
        let gone = self.retire.plus(KEPT_AFTER_RETIRE);
        self.revoked.map_or(gone, |revoked| revoked.min(gone))
    }

    /// Its state. A moment belongs to the state that it begins.
    pub fn state(&self, at: Timestamp) -> KeyState {
        if self.revoked.is_some_and(|revoked| revoked <= at) {
            KeyState::Revoked
        } else if at < self.publish {
            KeyState::Pending
        } else if at < self.activate {
            KeyState::Published
        } else if at < self.retire {
            KeyState::Active
        } else if at < self.gone() {
            KeyState::Retired
        } else {
            KeyState::Gone
        }
    }
}

/// The first whole second that is not before `at`.
const fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.plus(Lifetime::from_millis(999)).seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn states_follow_the_dates() {
        let schedule = Schedule::new(at(1000), at(2000), at(3000), at(90_000)).unwrap();
        let gone = 90_000 + KEPT_AFTER_RETIRE.seconds();
        let table = [
            (i64::MIN / 1000, KeyState::Pending),
            (1999, KeyState::Pending),
            (2000, KeyState::Published),
            (2999, KeyState::Published),
            (3000, KeyState::Active),
            (89_999, KeyState::Active),
            (90_000, KeyState::Retired),
            (gone - 1, KeyState::Retired),
            (gone, KeyState::Gone),
            (i64::MAX / 1000, KeyState::Gone),
        ];
        for (seconds, state) in table {
            assert_eq!(schedule.state(at(seconds)), state, "{seconds}");
        }
    }

    #[test]
    fn dates_stand_in_order() {
        assert!(Schedule::new(at(1), at(1), at(1), at(2)).is_some());
        for (created, publish, activate, retire) in [(2, 1, 3, 4), (1, 3, 2, 4), (1, 2, 4, 3), (1, 1, 1, 1)] {
            assert_eq!(Schedule::new(at(created), at(publish), at(activate), at(retire)), None);
        }
    }

    #[test]
    fn schedules_of_our_own_have_whole_seconds() {
        let odd = Timestamp::from_millis(1_790_000_000_999);
        assert_eq!(Schedule::at_once(odd).state(odd), KeyState::Active);
        assert_eq!(Schedule::at_once(odd).activate(), at(1_790_000_000));
        let announced = Schedule::announced(odd);
        assert_eq!(announced.state(odd), KeyState::Pending, "other processes must read it first");
        assert_eq!((announced.publish(), announced.activate()), (at(1_790_000_015), at(1_790_000_615)));
        assert_eq!(Schedule::announced_for(odd, odd), announced);
        assert_eq!(
            Schedule::announced_for(odd, at(1_790_009_000).plus(Lifetime::from_millis(1))).activate(),
            at(1_790_009_001)
        );
    }

    #[test]
    fn revoked_keys_are_nowhere_from_that_moment() {
        let schedule = Schedule::new(at(1000), at(2000), at(3000), at(90_000)).unwrap();
        for (revoked, before) in [
            (1000, KeyState::Pending),
            (2500, KeyState::Published),
            (5000, KeyState::Active),
            (90_001, KeyState::Retired),
        ] {
            let schedule = schedule.revoked_at(at(revoked)).unwrap();
            assert_eq!(schedule.state(at(revoked - 1)), before);
            assert_eq!(schedule.state(at(revoked)), KeyState::Revoked);
            assert_eq!(schedule.state(at(i64::MAX / 1000)), KeyState::Revoked);
            assert_eq!((schedule.gone(), schedule.ends()), (at(revoked), at(revoked.min(90_000))));
        }
        assert_eq!(schedule.revoked_at(at(999)), None);
        assert!(!KeyState::Revoked.is_published());
    }

    #[test]
    fn jwk_17_a_file_that_came_late_has_later_dates() {
        let planned = Schedule::announced(at(0));
        assert!(planned.undated().is_undated() && !planned.is_undated());
        assert_eq!((planned.undated().state(at(15)), planned.undated().publish()), (KeyState::Published, at(15)));
        assert_eq!(planned.written_by(at(5)), planned, "in time");
        for late in [6, 600, 100_000] {
            let written = planned.written_by(at(late));
            let dates = (written.created(), written.publish(), written.activate());
            assert_eq!(dates, (at(0), at(late + 15), at(late + 615)));
        }
        let turn = Schedule::announced_for(at(0), at(90_000));
        assert_eq!(turn.written_by(at(700)).activate(), at(90_000), "its turn is late enough");
    }

    #[test]
    fn dates_move_in_order() {
        let schedule = Schedule::announced(at(0));
        let held = schedule.held(at(9000).plus(Lifetime::from_millis(1)));
        assert_eq!((held.activate(), held.publish()), (at(9001), at(15)));
        assert_eq!(held.held(at(8000)), held, "never earlier");
        assert_eq!(held.hastened(at(100)).activate(), at(615), "published long enough");
        let put_off = schedule.put_off(at(700)).put_off(at(800));
        assert_eq!((put_off.activate(), put_off.planned(), put_off.put_off_from()), (at(800), at(615), Some(at(615))));
        assert_eq!(put_off.held(at(900)).planned(), at(900), "a new plan");
        assert_eq!(put_off.hastened(at(0)), schedule);
        assert_eq!(put_off.planned_for(at(14)), None);
        assert_eq!(put_off.planned_for(at(801)).unwrap().put_off_from(), None, "an earlier date is a new plan");
        assert_eq!(held.hastened(at(7000)).activate(), at(7000));
        assert_eq!(held.hastened(at(9900)).activate(), at(9001), "never later");
        assert_eq!(schedule.ending_by(at(0)).retire(), at(616), "after activate");
        assert_eq!(schedule.ending_by(at(5000)).lasting(Some(at(6000))).retire(), at(6000));
        assert_eq!(schedule.ending_by(at(5000)).lasting(None), schedule);
    }
}
