//! What a revocation means: for all that a token would rest on, and for a token of ours.
//!
//! While it stands nothing passes. After its end, what was issued before the end stays refused. Reads one picture of what is
//! revoked, and changes nothing.

use crate::clock::{Lifetime, Timestamp};
use crate::identity::{VerifiedSubject, WorkloadIdentity};
use crate::jose::Thumbprint;
use crate::reason::{Refusal, Unaccepted};
use crate::store::{Revocation, RevocationKind, Snapshot};
use crate::verify::OwnToken;

/// How long a credential or token may live at least: a revocation is kept so long after its end.
pub(super) const LONGEST_LIFE: Lifetime = Lifetime::from_hours(24);

/// And so much longer, for clocks that differ.
pub(super) const MARGIN: Lifetime = Lifetime::from_hours(1);

/// One thing that a token would rest on: what may be revoked of it, and when it was issued.
#[derive(Clone, Debug)]
pub struct Ground {
    names: Vec<(RevocationKind, String)>,
    /// Who does not say when it was issued may be from before.
    issued: Option<Timestamp>,
}

impl Ground {
    /// A verified workload: it, its source, and the key that vouched for it.
    pub fn workload(identity: &WorkloadIdentity, key: Option<&Thumbprint>) -> Self {
        let mut names = vec![
            (RevocationKind::Identity, identity.id.to_string()),
            (RevocationKind::Source, identity.source.to_string()),
        ];
        names.extend(identity.credential.key_id.as_ref().map(|id| (RevocationKind::Key, id.as_str().to_owned())));
        names.extend(key.map(|key| (RevocationKind::Key, key.as_str().to_owned())));
        Self { names, issued: identity.credential.issued_at }
    }

    /// Who may be acted for. `issued` is when the token that says so was issued, `key` the one that verified it.
    pub fn subject(subject: &VerifiedSubject, key: Option<&Thumbprint>, issued: Option<Timestamp>) -> Self {
        if let VerifiedSubject::Workload(identity) = subject {
            return Self::workload(identity, key);
        }
        let mut names =
            vec![(RevocationKind::Identity, subject.name()), (RevocationKind::Source, subject.source().to_string())];
        names.extend(key.map(|key| (RevocationKind::Key, key.as_str().to_owned())));
        Self { names, issued }
    }

    /// A token of ours: it, everybody that it names, the source that vouched, and our key that signed it.
    pub fn token(token: &OwnToken) -> Self {
        let mut names = vec![
            (RevocationKind::Token, token.id.clone()),
            (RevocationKind::Identity, token.subject.name()),
            (RevocationKind::Identity, token.client_id.clone()),
            (RevocationKind::Source, token.subject.source().to_string()),
            (RevocationKind::Key, token.key_id.as_str().to_owned()),
        ];
        names.extend(token.acted_by.iter().map(|actor| (RevocationKind::Identity, actor.to_string())));
        Self { names, issued: Some(token.issued_at) }
    }

    /// Whether nothing of it is revoked.
    ///
    /// # Errors
    /// `revoked`.
    pub fn stands(&self, snapshot: &Snapshot, at: Timestamp) -> Result<(), Refusal> {
        if snapshot.is_empty() {
            return Ok(());
        }
        let hit = self.names.iter().find_map(|(kind, name)| {
            let revocation = snapshot.find(*kind, name)?;
            let ended = ended(revocation, at);
            let is_hit =
                ended.is_none_or(|end| self.issued.is_none_or(|issued| issued < end)) && !revocation.is_over(at);
            is_hit.then(|| refusal(*kind, name, ended))
        });
        hit.map_or(Ok(()), Err)
    }
}

/// Everything that a token would rest on. Each is asked for when it is known, and all once more before the token is minted.
#[derive(Debug, Default)]
pub struct Grounds(Vec<Ground>);

impl Grounds {
    /// One more, which must stand.
    ///
    /// # Errors
    /// `revoked`.
    pub fn rest_on(&mut self, ground: Ground, snapshot: &Snapshot, at: Timestamp) -> Result<(), Refusal> {
        ground.stands(snapshot, at)?;
        self.0.push(ground);
        Ok(())
    }

    /// Whether all still stand: what was revoked in the meantime, and acknowledged, counts (design §9.5).
    ///
    /// # Errors
    /// `revoked`.
    pub fn still_stand(&self, snapshot: &Snapshot, at: Timestamp) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|ground| ground.stands(snapshot, at))
    }
}

/// When it ended; `None` while it stands.
pub(super) fn ended(revocation: &Revocation, at: Timestamp) -> Option<Timestamp> {
    revocation.ends.filter(|end| *end <= at)
}

fn refusal(kind: RevocationKind, name: &str, ended: Option<Timestamp>) -> Refusal {
    let note = format!("the {} {name} is revoked: countersign revoke --list", kind.as_str());
    match ended {
        None => {
            let sentence = "This credential or token, its identity or what vouches for it has been revoked here.";
            Refusal::unaccepted(Unaccepted::Revoked, sentence, note)
                .mended_by("countersign revoke --lift, once that is right")
        }
        Some(end) => {
            let sentence = format!(
                "This credential or token is from before {}, when a revocation ended. Get a fresh one.",
                end.to_rfc3339()
            );
            Refusal::unaccepted(Unaccepted::Revoked, sentence, note)
                .mended_by("a credential that is issued from now on")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SourceName;

    const BEGIN: i64 = 1_790_000_000;

    fn second(number: i64) -> Timestamp {
        Timestamp::from_seconds(BEGIN + number)
    }

    fn hits(ends: Option<i64>, until: Option<i64>, issued: Option<i64>, at: i64) -> bool {
        let revocation =
            Revocation { from: second(0), ends: ends.map(second), until: until.map(second), note: String::new() };
        let snapshot = Snapshot::of([(RevocationKind::Identity, "x", revocation)]);
        let ground = |kind: RevocationKind| Ground { names: vec![(kind, "x".to_owned())], issued: issued.map(second) };
        assert!(ground(RevocationKind::Source).stands(&snapshot, second(at)).is_ok());
        ground(RevocationKind::Identity).stands(&snapshot, second(at)).is_err()
    }

    #[test]
    fn rev_08_while_it_stands_all_and_afterwards_what_is_from_before() {
        for issued in [None, Some(-5), Some(5)] {
            assert!(hits(None, None, issued, 6), "{issued:?}");
            assert!(hits(Some(10), Some(100), issued, 6), "{issued:?}");
        }
        for (issued, at, hit) in [
            (Some(9), 10, true),
            (Some(10), 10, false),
            (Some(11), 12, false),
            (None, 12, true),
            (Some(9), 99, true),
            (Some(9), 100, false),
            (None, 100, false),
        ] {
            assert_eq!(hits(Some(10), Some(100), issued, at), hit, "{issued:?} {at}");
        }
        assert!(hits(None, None, Some(-5), -3), "the clock was set back");
    }

    #[test]
    fn rev_08_a_person_is_found_by_source_and_sub() {
        let stands = Revocation { from: second(0), ends: None, until: None, note: String::new() };
        let snapshot = Snapshot::of([(RevocationKind::Identity, "login|alice", stands)]);
        let person =
            |sub: &str| VerifiedSubject::Person { source: SourceName::parse("login").unwrap(), sub: sub.to_owned() };
        let stands = |sub: &str| Ground::subject(&person(sub), None, None).stands(&snapshot, second(1));
        assert!(stands("alice").is_err());
        assert!(stands("bob").is_ok());
    }

    #[test]
    fn what_is_revoked_between_the_two_looks_counts_for_everything_that_a_token_rests_on() {
        let person = |sub: &str| {
            Ground::subject(
                &VerifiedSubject::Person { source: SourceName::parse("login").unwrap(), sub: sub.to_owned() },
                None,
                None,
            )
        };
        let mut grounds = Grounds::default();
        let before = Snapshot::default();
        grounds.rest_on(person("alice"), &before, second(0)).unwrap();
        grounds.rest_on(person("bob"), &before, second(0)).unwrap();
        assert!(grounds.still_stand(&before, second(1)).is_ok());
        let stands = || Revocation { from: second(0), ends: None, until: None, note: String::new() };
        for (name, is_well) in [("login|alice", false), ("login|bob", false), ("login|carol", true)] {
            let meanwhile = Snapshot::of([(RevocationKind::Identity, name, stands())]);
            assert_eq!(grounds.still_stand(&meanwhile, second(1)).is_ok(), is_well, "{name}");
        }
    }
}
