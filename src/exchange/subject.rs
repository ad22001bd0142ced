//! For whom the caller acts, and whether the subject's token was meant to reach it (RFC 8693 §4.4).
//!
//! A subject's token never authenticates the caller, and alone it is worth nothing: it is addressed to us, to the caller, or to a resource
//! that the caller serves (TX-12). What the caller may have on behalf of the subject is the policy's to say.

use super::decision::Decision;
use super::{ExchangeRequest, Generation, Grants};
use crate::credential::{CompactJws, ShownSubject};
use crate::identity::{Confirmation, ScopeSet, SpiffeId, VerifiedSubject, WorkloadIdentity};
use crate::jose::{KeySet, Object, Value};
use crate::reason::{About, Denied, Malformed, Refusal};
use crate::verify::{Binding, Evidence, OwnToken, Subject, Verifier};

/// What the subject of a request is verified against.
pub(super) struct Judge<'a> {
    pub(super) verifier: Verifier<'a>,
    pub(super) generation: &'a Generation,
    /// Our own published keys.
    pub(super) keys: &'a KeySet,
    /// Who authenticated.
    pub(super) client: &'a WorkloadIdentity,
    /// The key that it proved to hold.
    pub(super) binding: Option<&'a Binding>,
}

/// A subject as its token says, before anything was asked about the caller.
struct Named {
    subject: Subject,
    token_id: String,
    may_act: Option<Object>,
}

impl Judge<'_> {
    /// The verified subject of the request, if it has one.
    ///
    /// # Errors
    /// What is wrong with its token, `delegation_denied` when it was not meant for the caller, `binding_required` when it is bound to a
    /// key that the caller did not prove to hold.
    pub(super) async fn subject(
        &self,
        request: &ExchangeRequest,
        decision: &mut Decision,
    ) -> Result<Option<Subject>, Refusal> {
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
        if about == About::Assertion && !self.generation.grants().any(|grant| grant == Grants::Assertion) {
            let sentence = "The assertion grant is not served here.";
            return Err(Refusal::malformed(Malformed::GrantUnsupported, sentence));
        }
        let mut evidence = Evidence::default();
        let outcome = self.admitted(shown, request, &mut evidence).await;
        let told = outcome.as_ref().ok();
        decision.acts_for(told.map(|named| (&named.subject, named.token_id.as_str())), &evidence);
        outcome.map(|named| Some(named.subject)).map_err(|refusal| refusal.about(about))
    }

    async fn admitted(
        &self,
        shown: &ShownSubject,
        request: &ExchangeRequest,
        evidence: &mut Evidence,
    ) -> Result<Named, Refusal> {
        let named = match shown {
            ShownSubject::AccessToken(jws) => self.of_own_token(jws, evidence)?,
            ShownSubject::Jwt(jws) => self.of_platform(self.verifier, jws, evidence).await?,
            ShownSubject::Assertion(jws) => {
                let endpoint = self.generation.issuer().endpoint("/token");
                let verifier = Verifier { token_endpoint: Some(&endpoint), ..self.verifier };
                self.of_platform(verifier, jws, evidence).await?
            }
        };
        // Whatever is asked of every subject, whichever token named it, is asked here.
        self.check_actor(request).await?;
        if !self.is_client(&named.subject.who) {
            self.check_may_act(named.may_act.as_ref(), request)?;
        }
        Ok(named)
    }

    /// A token of ours: addressed to the caller itself, or to a resource that it serves, and by the holder of its key (TX-24).
    fn of_own_token(&self, jws: &CompactJws, evidence: &mut Evidence) -> Result<Named, Refusal> {
        let token = OwnToken::verify(jws, self.keys, self.verifier.issuer, self.verifier.at, evidence)?;
        let own = token.audience.as_str() == self.client.id.as_str();
        if !own && !self.generation.policy().serves(self.client, &token.audience) {
            let sentence =
                "The subject's token was made for somebody else: it is exchanged by who serves its audience.";
            let note = format!("no served_by of the resource {} covers the caller", token.audience);
            return Err(Refusal::denied(Denied::DelegationDenied, sentence, note)
                .comparing(token.audience.to_string(), self.client.id.to_string())
                .mended_by(format!("let the resource {} say that the caller serves it", token.audience)));
        }
        let proven = self.binding.map(|binding| &binding.confirmation);
        if let Some(bound) = &token.confirmation
            && proven != Some(bound)
        {
            let sentence = "The subject's token is bound to a key, and this request did not prove to hold it.";
            return Err(Refusal::denied(Denied::BindingRequired, sentence, "")
                .comparing(proven.map_or("no key", Confirmation::value), bound.value()));
        }
        let subject = Subject {
            who: token.subject,
            acted_by: token.acted_by,
            scopes: Some(token.scopes),
            ends: token.expires_at,
        };
        Ok(Named { subject, token_id: token.id, may_act: token.may_act })
    }

    async fn of_platform(
        &self,
        verifier: Verifier<'_>,
        jws: &CompactJws,
        evidence: &mut Evidence,
    ) -> Result<Named, Refusal> {
        let found = verifier.verify_subject_jwt(jws, evidence).await?;
        let (acted_by, scopes): (Vec<SpiffeId>, Option<ScopeSet>) = (Vec::new(), None);
        let subject = Subject { who: found.who, acted_by, scopes, ends: found.ends };
        Ok(Named { subject, token_id: found.token_id, may_act: found.may_act })
    }

    /// An actor token says who acts: nobody but the client (TX-12).
    async fn check_actor(&self, request: &ExchangeRequest) -> Result<(), Refusal> {
        let jws = match &request.actor {
            None => return Ok(()),
            Some(ShownSubject::Jwt(jws)) => jws,
            Some(ShownSubject::AccessToken(_) | ShownSubject::Assertion(_)) => {
                return Err(malformed("An actor_token is a platform token: actor_token_type is …:token-type:jwt."));
            }
        };
        let actor = self.verifier.verify_subject_jwt(jws, &mut Evidence::default()).await?;
        if self.is_client(&actor.who) {
            return Ok(());
        }
        let sentence = "The actor_token names somebody else than who authenticated. Leave it out.";
        Err(Refusal::denied(Denied::DelegationDenied, sentence, "")
            .comparing(actor.who.name(), self.client.id.to_string()))
    }

    fn is_client(&self, who: &VerifiedSubject) -> bool {
        who.workload().is_some_and(|workload| workload.id == self.client.id && workload.source == self.client.source)
    }

    /// `may_act` names who may act: a `sub` or a `client_id`, perhaps with our `iss`, and it is the caller (TX-17).
    fn check_may_act(&self, may_act: Option<&Object>, request: &ExchangeRequest) -> Result<(), Refusal> {
        let Some(may_act) = may_act else { return Ok(()) };
        let id = self.client.id.as_str();
        let is_named = may_act.has("sub") || may_act.has("client_id");
        let fits = |name: &str| match (name, may_act.get(name)) {
            ("sub", Some(Value::String(sub))) => sub == id,
            ("iss", Some(Value::String(iss))) => iss == self.verifier.issuer.as_str(),
            // The policy has yet to say that a sent client_id is the caller's; nothing is granted before it has.
            ("client_id", Some(Value::String(client_id))) => {
                client_id == id || Some(client_id) == request.ask.client_id.as_ref()
            }
            _ => false,
        };
        if is_named && may_act.names().all(fits) {
            return Ok(());
        }
        let sentence = "The subject's token says who may act for its subject (may_act), and that is not this caller.";
        Err(Refusal::denied(Denied::DelegationDenied, sentence, "")
            .mended_by("a subject's token that names the caller"))
    }
}

fn malformed(sentence: &str) -> Refusal {
    Refusal::malformed(Malformed::MalformedRequest, sentence)
}
