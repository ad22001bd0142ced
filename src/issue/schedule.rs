//! When a signing key is published, signs, and is forgotten: a pure function of its dates and the clock.
//!
//! Never reads a clock and never looks at other keys, so every process that has the dates comes to the same state.

use crate::clock::{Lifetime, Timestamp};

/// How long others may cache our key set: the `max-age` of `/jwks` (MD-16).
pub const JWKS_MAX_AGE: Lifetime = Lifetime::from_seconds(300);

/// How long a further key is published before it signs (JWK-17). Twice what a cache may hold, so that a copy taken just
/// before the key appeared is gone long before its first token.
pub const PUBLISHED_BEFORE_USE: Lifetime = Lifetime::from_seconds(600);

/// Longest life of an access token. The configuration refuses a resource with a longer `lifetime`.
pub const LONGEST_TOKEN_LIFE: Lifetime = crate::policy::LONGEST_LIFETIME;

/// How long a key stays published after it signed its last token (JWK-17): the longest token, and five minutes for
/// verifiers with slow clocks, the largest leeway that is usual among them.
pub const KEPT_AFTER_RETIRE: Lifetime = Lifetime::from_hours(25);

/// How long a key that the processes make themselves signs, unless a rotation ends it earlier: ten years.
const LIFE_OF_A_KEY: Lifetime = Lifetime::from_hours(87_660);

const _: () = assert!(JWKS_MAX_AGE.millis() * 2 <= PUBLISHED_BEFORE_USE.millis(), "MD-16: caches end before first use");
const _: () = assert!(LONGEST_TOKEN_LIFE.millis() < KEPT_AFTER_RETIRE.millis(), "JWK-17: keys outlast their tokens");

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
    /// Out of the key set. The operator may remove its file.
    Gone,
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
        }
    }

    /// Whether verifiers must know a key in this state.
    pub const fn is_published(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retired)
    }
}

/// The four dates of a signing key, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    created: Timestamp,
    publish: Timestamp,
    activate: Timestamp,
    retire: Timestamp,
}

impl Schedule {
    /// Four dates; `None` unless created ≤ publish ≤ activate < retire.
    pub fn new(created: Timestamp, publish: Timestamp, activate: Timestamp, retire: Timestamp) -> Option<Self> {
        let ordered = created <= publish && publish <= activate && activate < retire;
        ordered.then_some(Self { created, publish, activate, retire })
    }

    /// A key of a folder that had none: nobody can hold an older key set, so it signs at once.
    pub(super) const fn at_once(at: Timestamp) -> Self {
        Self::after(at, Lifetime::ZERO)
    }

    /// A key that joins others: it signs once no cached key set can be without it.
    pub(super) const fn announced(at: Timestamp) -> Self {
        Self::after(at, PUBLISHED_BEFORE_USE)
    }

    const fn after(at: Timestamp, wait: Lifetime) -> Self {
        // Whole seconds, as its file will say, so that the maker agrees with every reader.
        let created = Timestamp::from_seconds(at.seconds());
        let activate = created.plus(wait);
        Self { created, publish: created, activate, retire: activate.plus(LIFE_OF_A_KEY) }
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

    /// When it signs no more; no token of it is valid at this moment or later.
    pub const fn retire(&self) -> Timestamp {
        self.retire
    }

    /// When it leaves the key set.
    pub const fn gone(&self) -> Timestamp {
        self.retire.plus(KEPT_AFTER_RETIRE)
    }

    /// Its state. A moment belongs to the state that it begins.
    pub fn state(&self, at: Timestamp) -> KeyState {
        if at < self.publish {
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
        assert_eq!(Schedule::announced(odd).state(odd), KeyState::Published);
        assert_eq!(Schedule::announced(odd).activate(), at(1_790_000_600));
    }
}
