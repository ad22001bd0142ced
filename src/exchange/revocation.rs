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

/// The kind of revocation that takes a token of ours out of use, if there is one: of the token itself, of anybody that it
/// names, of the source that vouched, of our key that signed it.
pub fn of_token(snapshot: &Snapshot, token: &OwnToken, at: Timestamp) -> Option<RevocationKind> {
    let subject = token.subject.name();
    let one = [
        (RevocationKind::Token, Some(token.id.as_str())),
        (RevocationKind::Identity, Some(subject.as_str())),
        (RevocationKind::Identity, Some(token.client_id.as_str())),
        (RevocationKind::Source, Some(token.subject.source().as_str())),
        (RevocationKind::Key, Some(token.key_id.as_str())),
    ];
    let actors = token.acted_by.iter().map(|actor| (RevocationKind::Identity, Some(actor.as_str())));
    find(snapshot, one.into_iter().chain(actors), Some(token.issued_at), at).map(|hit| hit.kind)
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
            let sentence = "This credential, its identity or what vouches for it has been revoked here by an operator.";
            Refusal::unaccepted(Unaccepted::Revoked, sentence, note)
                .mended_by("countersign revoke --lift, once that is right")
        }
        Some(end) => {
            let sentence = format!(
                "Your credential is from before {}, when a revocation ended. Get a fresh one.",
                end.to_rfc3339()
            );
            Refusal::unaccepted(Unaccepted::Revoked, sentence, note)
                .mended_by("a credential that is issued from now on")
        }
    })
}
