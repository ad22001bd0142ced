//! For whom the caller acts: the verified token of a subject, and that it may still be used.
//!
//! A subject's token never authenticates the caller. Whether it was meant to reach the caller, and what the caller may have on behalf of
//! the subject, is the policy's to say.

use super::decision::Decision;
use super::revocation::{Ground, Grounds};
use super::{ExchangeRequest, Generation, Grants};
use crate::credential::{CompactJws, ShownSubject};
use crate::identity::WorkloadIdentity;
use crate::jose::KeySet;
use crate::reason::{About, Denied, Malformed, Refusal};
use crate::store::Snapshot;
use crate::verify::{Evidence, OwnToken, Subject, SubjectToken, Verifier};

/// What the subject of a request is verified against.
pub(super) struct Judge<'a> {
    pub(super) verifier: Verifier<'a>,
    pub(super) generation: &'a Generation,
    /// Our own published keys.
    pub(super) keys: &'a KeySet,
    /// What is revoked.
    pub(super) revoked: &'a Snapshot,
    /// Who authenticated.
    pub(super) client: &'a WorkloadIdentity,
}

impl Judge<'_> {
    /// The verified token of the request's subject, if it has one.
    ///
    /// # Errors
    /// What is wrong with it; `delegation_denied` when the actor token names somebody else than the caller.
    pub(super) async fn subject(
        &self,
        request: &ExchangeRequest,
        grounds: &mut Grounds,
        decision: &mut Decision,
    ) -> Result<Option<SubjectToken>, Refusal> {
        let Some(shown) = &request.subject else {
            return match request.actor {
                None => Ok(None),
                Some(_) => Err(malformed("An actor_token acts for a subject_token, and there is none.")),
            };
        };
        let about = match shown {
            ShownSubject::Assertion(_) => About::Assertion,
            ShownSubject::AccessToken(_) | ShownSubject::Jwt(_) => About::Subject,
        };
        if about == About::Assertion && !self.generation.grants().contains(&Grants::Assertion) {
            return Err(Refusal::malformed(Malformed::GrantUnsupported, "The assertion grant is not served here."));
        }
        let mut evidence = Evidence::default();
        let outcome = self.verified(shown, request, grounds, &mut evidence).await;
        let told = outcome.as_ref().ok();
        decision.acts_for(told.map(|token| (&token.subject, token.id.as_str())), &evidence);
        outcome.map(Some).map_err(|refusal| refusal.about(about))
    }

    async fn verified(
        &self,
        shown: &ShownSubject,
        request: &ExchangeRequest,
        grounds: &mut Grounds,
        evidence: &mut Evidence,
    ) -> Result<SubjectToken, Refusal> {
        let token = match shown {
            ShownSubject::AccessToken(jws) => self.of_own_token(jws, grounds, evidence).await?,
            ShownSubject::Jwt(jws) => self.of_platform(self.verifier, jws, grounds, evidence).await?,
            ShownSubject::Assertion(jws) => {
                let endpoint = self.generation.issuer().endpoint("/token");
                let verifier = Verifier { token_endpoint: Some(&endpoint), ..self.verifier };
                self.of_platform(verifier, jws, grounds, evidence).await?
            }
        };
        self.check_actor(request, grounds).await?;
        Ok(token)
    }

    async fn of_own_token(
        &self,
        jws: &CompactJws,
        grounds: &mut Grounds,
        evidence: &mut Evidence,
    ) -> Result<SubjectToken, Refusal> {
        let token = OwnToken::verify(jws, self.keys, self.verifier.issuer, self.verifier.at, evidence)?;
        grounds.rest_on(Ground::token(&token), self.revoked, self.verifier.at)?;
        self.verifier.still_alive(&token.rests_on).await?;
        let subject = Subject {
            who: token.subject,
            acted_by: token.acted_by,
            scopes: Some(token.scopes),
            ends: token.expires_at,
            addressed_to: Some(token.audience.to_string()),
            may_act: token.may_act,
            confirmation: token.confirmation,
            rests_on: token.rests_on,
        };
        Ok(SubjectToken { subject, id: token.id, issued_at: Some(token.issued_at), workload: None })
    }

    async fn of_platform(
        &self,
        verifier: Verifier<'_>,
        jws: &CompactJws,
        grounds: &mut Grounds,
        evidence: &mut Evidence,
    ) -> Result<SubjectToken, Refusal> {
        let vouched = verifier.verify_subject_jwt(jws, evidence).await?;
        let ground = Ground::subject(vouched.who(), evidence.key.as_ref(), vouched.issued_at());
        grounds.rest_on(ground, self.revoked, self.verifier.at)?;
        vouched.alive().await
    }

    /// An actor token says who acts: nobody but the client (TX-12).
    async fn check_actor(&self, request: &ExchangeRequest, grounds: &mut Grounds) -> Result<(), Refusal> {
        let jws = match &request.actor {
            None => return Ok(()),
            Some(ShownSubject::Jwt(jws)) => jws,
            Some(ShownSubject::AccessToken(_) | ShownSubject::Assertion(_)) => {
                return Err(malformed("An actor_token is a platform token: actor_token_type is …:token-type:jwt."));
            }
        };
        let actor = self.of_platform(self.verifier, jws, grounds, &mut Evidence::default()).await?;
        if actor.subject.is(self.client) {
            return Ok(());
        }
        let sentence = "The actor_token names somebody else than who authenticated. Leave it out.";
        Err(Refusal::denied(Denied::DelegationDenied, sentence, "")
            .comparing(actor.subject.who.name(), self.client.id.to_string()))
    }
}

fn malformed(sentence: &str) -> Refusal {
    Refusal::malformed(Malformed::MalformedRequest, sentence)
}
