//! The life of our keys in sentences, for people.
//!
//! Says what is, and what comes next; never what to think of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::key_ring::KeyStatus;
use super::schedule::KeyState;
use crate::clock::{Lifetime, Timestamp};
use crate::jose::Algorithm;

/// How much of a key id people see.
const SHOWN: usize = 8;
/// With how much of one they can name a key.
const LEAST: usize = 6;

/// One line for each key, algorithm by algorithm: the key that signs, those that wait in the order in which they take over, then
/// those that have signed, the last one first. Times are relative to `at`.
pub fn timeline(keys: &[KeyStatus], at: Timestamp) -> String {
    let mut text = String::new();
    for algorithm in keys.iter().map(|key| key.algorithm).collect::<BTreeSet<_>>() {
        let mut line: Vec<&KeyStatus> = keys.iter().filter(|key| key.algorithm == algorithm).collect();
        line.sort_by_key(|key| {
            let begins = key.schedule.activate().millis();
            if key.signs {
                (0, 0)
            } else if waits(key) {
                (1, begins)
            } else {
                (2, begins.saturating_neg())
            }
        });
        if !line.iter().any(|key| key.signs) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{algorithm} has no key that signs now");
        }
        for key in &line {
            let _ = writeln!(text, "{algorithm} {} {}", short(key), sentence(key, &line, algorithm, at));
        }
    }
    text
}

/// The one key whose id is `beginning` or begins with it, in at least six characters. `None` when there is none or several.
pub fn named<'a>(keys: &'a [KeyStatus], beginning: &str) -> Option<&'a KeyStatus> {
    let exact = keys.iter().find(|key| key.key_id.as_str() == beginning);
    exact.or_else(|| {
        let mut found = keys.iter().filter(|key| key.key_id.as_str().starts_with(beginning));
        let one = found.next().filter(|_| beginning.chars().count() >= LEAST)?;
        found.next().is_none().then_some(one)
    })
}

fn waits(key: &KeyStatus) -> bool {
    matches!(key.state, KeyState::Pending | KeyState::Published)
}

fn short(key: &KeyStatus) -> String {
    let id = key.key_id.as_str();
    let shown: String = id.chars().take(SHOWN).collect();
    if shown.len() < id.len() { format!("{shown}…") } else { shown }
}

fn sentence(key: &KeyStatus, line: &[&KeyStatus], algorithm: Algorithm, at: Timestamp) -> String {
    let dates = &key.schedule;
    let (since, until) = (|from: Timestamp| ago(at.since(from)), |to: Timestamp| ago(to.since(at)));
    match key.state {
        KeyState::Pending => {
            format!("enters the key set in {} and signs in {}", until(dates.publish()), until(dates.activate()))
        }
        KeyState::Published => {
            format!("is published since {} and signs in {}", since(dates.publish()), until(dates.activate()))
        }
        KeyState::Active if key.signs => {
            let next = line.iter().filter(|other| waits(other)).min_by_key(|other| other.schedule.activate());
            let then = match next {
                Some(next) => format!("; {} takes over in {}", short(next), until(next.schedule.activate())),
                None => format!("; no next {algorithm} key is made yet, its own end is in {}", until(dates.ends())),
            };
            format!("signs now, since {}{then}", since(dates.activate()))
        }
        KeyState::Active if key.out_of_use => {
            "is out of use in this process: a signature of it did not verify; it stays published".to_owned()
        }
        KeyState::Active => format!(
            "could sign again (rollback) for {}, and stays published for {} more",
            until(dates.ends()),
            until(dates.gone())
        ),
        KeyState::Retired => {
            format!("retired {} ago and stays published for {} more", since(dates.ends()), until(dates.gone()))
        }
        KeyState::Gone => format!("is gone since {}; its file may be removed", since(dates.gone())),
        KeyState::Revoked => format!("was revoked {} ago: it signs nothing and is in no key set", since(dates.gone())),
    }
}

/// `3 d`, `8 m`: one unit, rounded, small enough that rounding hides little.
pub(super) fn ago(lifetime: Lifetime) -> String {
    let seconds = lifetime.seconds_rounded_up();
    for (unit, length, smaller) in [("d", 86_400, 3600), ("h", 3600, 60), ("m", 60, 1)] {
        // `2 h` a second before and a second after two hours, never `120 m`.
        if seconds + smaller / 2 >= 2 * length {
            return format!("{} {unit}", (seconds + length / 2) / length);
        }
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::KeyId;
    use crate::issue::Schedule;

    fn key(id: &str, dates: [i64; 4], signs: bool) -> KeyStatus {
        let [created, publish, activate, retire] = dates.map(Timestamp::from_seconds);
        let schedule = Schedule::new(created, publish, activate, retire).unwrap();
        KeyStatus {
            key_id: KeyId::parse(id).unwrap(),
            algorithm: Algorithm::ES256,
            state: schedule.state(Timestamp::from_seconds(1_000_000)),
            signs,
            out_of_use: false,
            signatures: 0,
            schedule,
        }
    }

    #[test]
    fn people_read_who_signs_and_what_comes_next() {
        let now = Timestamp::from_seconds(1_000_000);
        let mut revoked = key("revoked-key", [0, 0, 100, 9_000_000], false);
        revoked.schedule = revoked.schedule.revoked_at(Timestamp::from_seconds(999_955)).unwrap();
        revoked.state = revoked.schedule.state(now);
        let mut alone = key("rsa", [0, 0, 999_000, 2_000_000], false);
        (alone.algorithm, alone.out_of_use) = (Algorithm::RS256, true);
        let keys = [
            key("old-key-1", [0, 0, 0, 950_000], false),
            revoked,
            key("future-key", [999_990, 1_000_010, 1_010_000, 9_000_000], false),
            key("next-key-1", [999_880, 999_880, 1_000_480, 9_000_000], false),
            key("p_mmY1B3xyz", [0, 0, 740_000, 1_090_480], true),
            key("past-key-1", [0, 0, 500, 1_030_000], false),
            key("gone", [0, 0, 0, 1000], false),
            alone,
        ];
        let said = timeline(&keys, now);
        let wanted = "\
            RS256 has no key that signs now\n\
            RS256 rsa is out of use in this process: a signature of it did not verify; it stays published\n\
            ES256 p_mmY1B3… signs now, since 3 d; next-key… takes over in 8 m\n\
            ES256 next-key… is published since 2 m and signs in 8 m\n\
            ES256 future-k… enters the key set in 10 s and signs in 3 h\n\
            ES256 past-key… could sign again (rollback) for 8 h, and stays published for 33 h more\n\
            ES256 revoked-… was revoked 45 s ago: it signs nothing and is in no key set\n\
            ES256 old-key-… retired 14 h ago and stays published for 11 h more\n\
            ES256 gone is gone since 11 d; its file may be removed\n";
        assert_eq!(said, wanted);
        let lone = timeline(&keys[4..5], now);
        assert_eq!(
            lone,
            "ES256 p_mmY1B3… signs now, since 3 d; no next ES256 key is made yet, its own end is in 25 h\n"
        );
        assert_eq!(timeline(&[], now), "");
    }

    #[test]
    fn keys_are_named_by_the_beginning_of_their_id() {
        let dates = [0, 0, 0, 9_000_000];
        let keys = [key("abcdefgh-1", dates, true), key("abcdefgh-2", dates, false), key("abc", dates, false)];
        let named = |text: &str| named(&keys, text).map(|key| key.key_id.as_str());
        assert_eq!(named("abcdefgh-1"), Some("abcdefgh-1"));
        assert_eq!((named("abcdefgh-"), named("abcde"), named("xyzxyz"), named("")), (None, None, None, None));
        assert_eq!(named("abc"), Some("abc"), "a whole id, however short");
    }
}
