//! What a request uses up: credentials that may be shown once, ties of credentials to keys, proofs of possession.
//!
//! Collected while the request is judged, claimed in one durable step after policy and before minting: a denial burns
//! nothing, and either all of it is had or none (design §9.7).

use aws_lc_rs::digest;

use crate::clock::{Lifetime, Timestamp};
use crate::identity::{Confirmation, CredentialKind, WorkloadIdentity};
use crate::reason::{Refusal, Unaccepted, Unavailable};
use crate::store::{Claim, ClaimKey, Claimed, Store};
use crate::trust::Reuse;
use crate::verify::VerifiedIdentity;

/// How much longer than its credential a claim is kept: the largest leeway that a source may have, for a clock that is set back.
const MARGIN: Lifetime = Lifetime::from_minutes(5);

/// When to come back after the store failed.
const RETRY: Lifetime = Lifetime::from_seconds(5);

/// The claims of one request, each with what is said when it was had before.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<(Claim, Refusal)>);

impl Claims {
    /// Something that is had once until `until`. `parts` name it among everything that is claimed: the first says what it is.
    pub(super) fn once(&mut self, parts: &[&str], until: Timestamp, taken: Refusal) {
        self.0.push((Claim { key: hash(parts), tied_to: None, until }, taken));
    }

    /// Something that stays with the first `value` that it is brought with, until `until`.
    pub(super) fn tie(&mut self, parts: &[&str], value: &[&str], until: Timestamp, taken: Refusal) {
        self.0.push((Claim { key: hash(parts), tied_to: Some(hash(value)), until }, taken));
    }

    /// What the source of a credential wants of each use. `confirmation` is the key that the token will be bound to.
    ///
    /// A certificate is never used up: its key is proven anew on every connection.
    pub(super) fn of_credential(&mut self, caller: &VerifiedIdentity, confirmation: Option<&Confirmation>) {
        let identity = caller.identity();
        if identity.kind == CredentialKind::X509Svid {
            return;
        }
        // The id is the `jti`, or the hash of what was signed: an ECDSA signature has a second valid form.
        let (source, id) = (identity.source.as_str(), identity.credential.id.as_str());
        let until = identity.credential.expires_at.plus(MARGIN);
        match (caller.reuse(), confirmation) {
            (Reuse::Allowed, _) => {}
            (Reuse::Once, _) => self.once(&["credential", source, id], until, used(source)),
            (Reuse::Bound, Some(key)) => {
                self.tie(&["bound", source, id], &[key.member(), key.value()], until, tied(source));
            }
            // Policy has refused what is not bound.
            (Reuse::Bound, None) => self.once(&["bound", source, id], until, tied(source)),
        }
    }

    /// Claims everything, durably. Asks nobody when there is nothing to claim.
    ///
    /// # Errors
    /// What the claim that was had before says; `store_unavailable` when the store cannot tell.
    pub(super) async fn make(self, store: &Store) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (claims, mut refusals): (Vec<Claim>, Vec<Refusal>) = self.0.into_iter().unzip();
        match store.claim(claims).await {
            Ok(Claimed::First) => Ok(()),
            Ok(Claimed::Again(place)) if place < refusals.len() => Err(refusals.swap_remove(place)),
            Ok(Claimed::Again(_)) => Err(Refusal::internal("the store names a claim that was not made")),
            Err(fault) => Err(Refusal::unavailable(Unavailable::StoreUnavailable, fault.to_string(), RETRY)),
        }
    }
}

/// A token pushes keys once, whatever its source says of its other credentials.
pub(super) fn used_for_push(claims: &mut Claims, identity: &WorkloadIdentity) {
    let (source, id) = (identity.source.as_str(), identity.credential.id.as_str());
    let sentence = "This token has pushed keys before, and each does so once. Push again with a fresh one.";
    let note = "who does not know whether a push arrived pushes again with the next token";
    let taken = Refusal::unaccepted(Unaccepted::AlreadyUsed, sentence, note).mended_by("a fresh token");
    claims.once(&["push", source, id], identity.credential.expires_at.plus(MARGIN), taken);
}

fn used(source: &str) -> Refusal {
    let sentence =
        "This credential has been used, and its source lets each be used once. Get a fresh one for each request.";
    let note = format!("{source} has reuse: once; a cached credential looks the same as a stolen one");
    Refusal::unaccepted(Unaccepted::AlreadyUsed, sentence, note).mended_by("a fresh credential")
}

fn tied(source: &str) -> Refusal {
    let sentence = "This credential was first used with another key, and stays with it. Prove that key, or get a fresh credential.";
    let note = format!("{source} has reuse: bound; a certificate that was renewed is another key");
    Refusal::unaccepted(Unaccepted::AlreadyUsed, sentence, note)
        .mended_by("the key of the first use, or a fresh credential")
}

/// Each part with its length before it: no two lists of parts are the same bytes.
fn hash(parts: &[&str]) -> ClaimKey {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut key = [0; 32];
    key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_run_into_each_other() {
        let keys = [hash(&["a", "bc"]), hash(&["ab", "c"]), hash(&["abc"]), hash(&["abc", ""]), hash(&["", "abc"])];
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{place}");
        }
    }
}
