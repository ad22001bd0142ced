//! What a revocation means: for a credential that is shown, and for a token of ours.
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

/// Why something is revoked.
#[derive(Clone, Copy, Debug)]
struct Hit<'a> {
    kind: RevocationKind,
    name: &'a str,
    /// When it ended, if it has: what was issued before stays refused.
    ended: Option<Timestamp>,
}

/// Whether a verified workload may be served: neither it, nor its source, nor the key that vouched for it is revoked.
///
/// # Errors
/// `revoked`.
pub fn check(
    snapshot: &Snapshot,
    identity: &WorkloadIdentity,
    key: Option<&Thumbprint>,
    at: Timestamp,
) -> Result<(), Refusal> {
    let names = [
        (RevocationKind::Identity, Some(identity.id.as_str())),
        (RevocationKind::Source, Some(identity.source.as_str())),
        (RevocationKind::Key, identity.credential.key_id.as_ref().map(|id| id.as_str())),
        (RevocationKind::Key, key.map(Thumbprint::as_str)),
    ];
    refuse(find(snapshot, names, identity.credential.issued_at, at))
}

/// Whether somebody may be acted for. `issued` is when the token that says so was issued, `key` the one that verified it.
///
/// # Errors
/// `revoked`.
pub fn check_subject(
    snapshot: &Snapshot,
    subject: &VerifiedSubject,
    key: Option<&Thumbprint>,
    issued: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), Refusal> {
    if let VerifiedSubject::Workload(identity) = subject {
        return check(snapshot, identity, key, at);
    }
    let (name, source) = (subject.name(), subject.source());
    let names = [
        (RevocationKind::Identity, Some(name.as_str())),
        (RevocationKind::Source, Some(source.as_str())),
        (RevocationKind::Key, key.map(Thumbprint::as_str)),
    ];
    refuse(find(snapshot, names, issued, at))
}

/// Whether a token of ours counts: neither it, nor anybody that it names, nor the source that vouched, nor our key that signed
/// it is revoked.
///
/// # Errors
/// `revoked`.
pub fn check_token(snapshot: &Snapshot, token: &OwnToken, at: Timestamp) -> Result<(), Refusal> {
    let subject = token.subject.name();
    let one = [
        (RevocationKind::Token, Some(token.id.as_str())),
        (RevocationKind::Identity, Some(subject.as_str())),
        (RevocationKind::Identity, Some(token.client_id.as_str())),
        (RevocationKind::Source, Some(token.subject.source().as_str())),
        (RevocationKind::Key, Some(token.key_id.as_str())),
    ];
    let actors = token.acted_by.iter().map(|actor| (RevocationKind::Identity, Some(actor.as_str())));
    refuse(find(snapshot, one.into_iter().chain(actors), Some(token.issued_at), at))
}

fn find<'a>(
    snapshot: &Snapshot,
    names: impl IntoIterator<Item = (RevocationKind, Option<&'a str>)>,
    issued: Option<Timestamp>,
    at: Timestamp,
) -> Option<Hit<'a>> {
    if snapshot.is_empty() {
        return None;
    }
    names.into_iter().find_map(|(kind, name)| {
        let name = name?;
        let revocation = snapshot.find(kind, name)?;
        let ended = ended(revocation, at);
        // Who does not say when it was issued may be from before.
        let is_hit = ended.is_none_or(|end| issued.is_none_or(|issued| issued < end)) && !revocation.is_over(at);
        is_hit.then_some(Hit { kind, name, ended })
    })
}

/// When it ended; `None` while it stands.
pub(super) fn ended(revocation: &Revocation, at: Timestamp) -> Option<Timestamp> {
    revocation.ends.filter(|end| *end <= at)
}

fn refuse(hit: Option<Hit<'_>>) -> Result<(), Refusal> {
    let Some(Hit { kind, name, ended }) = hit else { return Ok(()) };
    let note = format!("the {} {name} is revoked: countersign revoke --list", kind.as_str());
    Err(match ended {
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
    })
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
        let names = || [(RevocationKind::Identity, Some("x"))];
        assert!(find(&snapshot, [(RevocationKind::Source, Some("x"))], None, second(at)).is_none());
        find(&snapshot, names(), issued.map(second), second(at)).is_some()
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
        assert!(check_subject(&snapshot, &person("alice"), None, None, second(1)).is_err());
        assert!(check_subject(&snapshot, &person("bob"), None, None, second(1)).is_ok());
    }
}
