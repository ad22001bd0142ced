//! What a revocation means: for a credential that is shown, and for a token of ours.
//!
//! While it stands nothing passes. After its end, what was issued before the end stays refused. Reads one picture of what is
//! revoked, and changes nothing.

use crate::clock::{Lifetime, Timestamp};
use crate::identity::{SourceName, VerifiedSubject, WorkloadIdentity};
use crate::jose::Thumbprint;
use crate::reason::{Refusal, Unaccepted};
use crate::store::{Revocation, RevocationKind, Snapshot};

/// How long a credential or token may live at least: a revocation is kept so long after its end.
pub(super) const LONGEST_LIFE: Lifetime = Lifetime::from_hours(24);

/// And so much longer, for clocks that differ.
pub(super) const MARGIN: Lifetime = Lifetime::from_hours(1);

/// Why something is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// The kind of revocation.
    pub kind: RevocationKind,
    /// What it names.
    pub name: &'a str,
    /// When it ended, if it has: what was issued before stays refused.
    pub ended: Option<Timestamp>,
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

/// Whether somebody may be acted for. `issued` is when the token that says so was issued.
///
/// # Errors
/// `revoked`.
pub fn check_subject(
    snapshot: &Snapshot,
    subject: &VerifiedSubject,
    issued: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), Refusal> {
    match subject {
        VerifiedSubject::Workload(identity) => check(snapshot, identity, None, at),
        VerifiedSubject::Person { source, sub } => {
            let name = person(source, sub);
            let names =
                [(RevocationKind::Identity, Some(name.as_str())), (RevocationKind::Source, Some(source.as_str()))];
            refuse(find(snapshot, names, issued, at))
        }
    }
}

/// How a person is named in our tokens, and so in a revocation.
pub fn person(source: &SourceName, sub: &str) -> String {
    format!("{source}|{sub}")
}

/// What a token of ours says, as far as a revocation can name it.
#[derive(Clone, Debug, Default)]
pub struct TokenFacts<'a> {
    /// `jti`.
    pub id: &'a str,
    /// `sub`, `client_id`, and every `sub` in `act`.
    pub identities: Vec<&'a str>,
    /// The claim `source`.
    pub source: Option<&'a str>,
    /// The `kid` of our key that signed it.
    pub key_id: Option<&'a str>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
}

/// The revocation that takes a token of ours out of use, if there is one.
pub fn of_token<'a>(snapshot: &Snapshot, token: &TokenFacts<'a>, at: Timestamp) -> Option<Hit<'a>> {
    let one = [
        (RevocationKind::Token, Some(token.id)),
        (RevocationKind::Source, token.source),
        (RevocationKind::Key, token.key_id),
    ];
    let identities = token.identities.iter().map(|name| (RevocationKind::Identity, Some(*name)));
    find(snapshot, one.into_iter().chain(identities), token.issued_at, at)
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
