//! Whether a token counts, for whom it is meant (RFC 7662).
//!
//! Says nothing to anybody else: unknown, ended, revoked, foreign and not-for-this-caller are one answer (INT-03), and why is for the record alone.

use super::limits::Place;
use super::{Decision, Exchange, Generation};
use crate::clock::Timestamp;
use crate::credential::{CompactJws, Shown};
use crate::identity::WorkloadIdentity;
use crate::reason::{Reason, Refusal, Unaccepted};
use crate::verify::{Evidence, OwnToken};

/// A question about a token.
#[derive(Debug)]
pub struct IntrospectRequest {
    /// The credential that authenticates who asks.
    pub client: Shown,
    /// The token; `None` when its text is no signed JWT, and so no token of ours.
    pub token: Option<CompactJws>,
}

/// What the caller may know of a token.
#[derive(Debug)]
pub enum Introspected {
    /// It counts, and is meant for this caller.
    Active(Box<OwnToken>),
    /// Everything else.
    Inactive,
}

impl Exchange {
    /// Answers a question about a token.
    ///
    /// # Errors
    /// What is wrong with the caller's own credential, and `liveness_unavailable`: whether the token counts cannot be said now. Nothing
    /// else about the token is an error.
    pub async fn introspect(
        &self,
        request: IntrospectRequest,
        decision: &mut Decision,
    ) -> Result<Introspected, Refusal> {
        let generation = self.generation();
        let at = self.clock.now();
        decision.uses(generation.id());
        decision.introspects();
        let outcome = match self.limits.enter(generation.limits()) {
            // The place is held until the record is durable, as at an exchange.
            Ok(mut place) => {
                let outcome = self.look_at(&generation, request, at, &mut place, decision).await;
                return self.conclude(outcome, decision).await;
            }
            Err(refusal) => Err(refusal),
        };
        self.conclude(outcome, decision).await
    }

    async fn look_at(
        &self,
        generation: &Generation,
        request: IntrospectRequest,
        at: Timestamp,
        place: &mut Place<'_>,
        decision: &mut Decision,
    ) -> Result<Introspected, Refusal> {
        let (client, _grounds) = self.authenticated(generation, &request.client, at, Some(place), decision).await?;
        let mut evidence = Evidence::default();
        let mut told = self.counts(generation, request.token.as_ref(), client.identity(), at, &mut evidence);
        if let Ok(token) = &told {
            told = still_alive(generation, token, at).await?.map_or(told, Err);
        }
        decision.told(&told, &evidence);
        Ok(told.map_or(Introspected::Inactive, |token| Introspected::Active(Box::new(token))))
    }

    /// The token, if it counts and is meant for this caller: as its subject, or as who serves its audience (INT-04). Else why not, for the
    /// operator.
    fn counts(
        &self,
        generation: &Generation,
        token: Option<&CompactJws>,
        caller: &WorkloadIdentity,
        at: Timestamp,
        evidence: &mut Evidence,
    ) -> Result<OwnToken, String> {
        let jws = token.ok_or("it is no signed JWT")?;
        let keys = self.issuer().ring().verification_keys(at);
        let token = OwnToken::verify(jws, &keys, generation.issuer(), at, evidence)
            .map_err(|refusal| format!("{}: {} {}", refusal.reason(), refusal.to_caller(), refusal.to_operator()))?;
        if self.is_revoked(&token, at) {
            return Err(format!("token {} is revoked: countersign revoke --list", token.id));
        }
        let is_own = token.subject.workload().is_some_and(|subject| subject.id == caller.id);
        if is_own || generation.policy().serves(caller, token.audience.as_str()) {
            return Ok(token);
        }
        Err(format!("token {} is for {}, which the caller does not serve", token.id, token.audience))
    }
}

/// Why the token no longer counts, if what it rests on is gone: asked last, of what counts otherwise and is meant for the caller (K8S-17).
async fn still_alive(generation: &Generation, token: &OwnToken, at: Timestamp) -> Result<Option<String>, Refusal> {
    match generation.verifier(at).still_alive(&token.rests_on).await {
        Ok(()) => Ok(None),
        Err(refusal) if refusal.reason() == Reason::Unaccepted(Unaccepted::NotAlive) => {
            Ok(Some(format!("token {} rests on what is gone: {}", token.id, refusal.to_operator())))
        }
        Err(refusal) => Err(refusal),
    }
}
