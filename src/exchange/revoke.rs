//! Revocation of a token by its owner (RFC 7009).
//!
//! An unknown token is no error, and nobody revokes what is another's. Revokes single tokens alone: identities, sources and
//! keys are for operators.

use super::limits::Place;
use super::operators::Note;
use super::record::RevocationRecord;
use super::revocation::{self, Ground};
use super::{Decision, Exchange, Generation};
use crate::clock::{Lifetime, Timestamp};
use crate::credential::{CompactJws, Shown};
use crate::identity::SpiffeId;
use crate::reason::{Denied, Reason, Refusal, Unavailable};
use crate::store::{Revocation, RevocationKind};
use crate::verify::{Evidence, OwnToken};

/// When to come back after the store failed.
const RETRY: Lifetime = Lifetime::from_seconds(5);

/// A request to revoke one token.
#[derive(Debug)]
pub struct RevokeRequest {
    /// The credential that authenticates the caller.
    pub client: Shown,
    /// The token; `None` when what was sent is none of ours by its shape alone.
    pub token: Option<CompactJws>,
}

impl Exchange {
    /// Revokes a token of the caller's own, durably. A token that is none of ours, or that has ended, is as good as revoked
    /// (RFC 7009 §2.2).
    ///
    /// # Errors
    /// The caller is not authenticated; the token is another's; the store did not keep it. The decision has been told.
    pub async fn revoke(&self, request: RevokeRequest, decision: &mut Decision) -> Result<(), Refusal> {
        let (generation, at) = (self.generation(), self.now());
        decision.uses(generation.id());
        let mut place = match self.limits.enter(generation.limits()) {
            Ok(place) => place,
            Err(refusal) => return self.conclude(Err(refusal), decision).await,
        };
        let outcome = self.revocation(&generation, request, at, &mut place, decision).await;
        self.conclude(outcome, decision).await
    }

    /// Whether a token of ours is revoked at `at`, whatever else may be wrong with it: what introspection must ask too.
    pub fn is_revoked(&self, token: &OwnToken, at: Timestamp) -> bool {
        Ground::token(token).stands(&self.store.revocations(), at).is_err()
    }

    async fn revocation(
        &self,
        generation: &Generation,
        request: RevokeRequest,
        at: Timestamp,
        place: &mut Place<'_>,
        decision: &mut Decision,
    ) -> Result<(), Refusal> {
        let (client, _grounds) = self.authenticated(generation, &request.client, at, Some(place), decision).await?;
        let caller = &client.identity().id;
        let Some(jws) = request.token else {
            decision.revoked(None, "what was sent is no token of ours");
            return Ok(());
        };
        let keys = self.issuer.ring().verification_keys(at);
        let token = match OwnToken::verify(&jws, &keys, generation.issuer(), at, &mut Evidence::default()) {
            Ok(token) => token,
            Err(refusal) if is_about_the_token(&refusal) => {
                let note = format!("nothing to revoke: {} {}", refusal.reason().code(), refusal.to_operator());
                decision.revoked(None, &note);
                return Ok(());
            }
            Err(refusal) => return Err(refusal),
        };
        if !is_owned_by(&token, caller) {
            let note = format!("token {} is {}'s, for client {}", token.id, token.subject.name(), token.client_id);
            return Err(Refusal::denied(Denied::NotGranted, "This token is not yours to revoke.", note));
        }
        let until = token.expires_at.plus(revocation::MARGIN);
        let note = Note { by: caller.to_string(), reason: String::new() };
        let note = serde_json::to_string(&note).unwrap_or_default();
        let revoked = Revocation { from: at, ends: None, until: Some(until), note };
        let once = move |before: Option<&Revocation>| before.is_none().then_some(revoked);
        self.store
            .revise(RevocationKind::Token, &token.id, once)
            .await
            .map_err(|fault| Refusal::unavailable(Unavailable::StoreUnavailable, fault.to_string(), RETRY))?;
        let record = RevocationRecord {
            action: "revoke".into(),
            kind: RevocationKind::Token.as_str().into(),
            name: token.id,
            by: caller.to_string(),
            ..RevocationRecord::default()
        };
        decision.revoked(Some(record), "");
        Ok(())
    }
}

/// What is wrong with a token is no error here; a fault of ours is.
fn is_about_the_token(refusal: &Refusal) -> bool {
    matches!(refusal.reason(), Reason::Misshapen(_) | Reason::Unverified(_) | Reason::Unaccepted(_))
}

/// Whose a token is: the subject's, and that of the workload which got it to act for somebody.
fn is_owned_by(token: &OwnToken, caller: &SpiffeId) -> bool {
    let is_subject = token.subject.workload().is_some_and(|workload| workload.id == *caller);
    is_subject || token.acted_by.first() == Some(caller) || token.client_id == caller.as_str()
}
