//! A push of a cluster's keys by a workload of that cluster (design §7).
//!
//! Nobody but the configured workload replaces keys, and no token does so twice. Nothing is issued here.

use super::claims::{Claims, used_for_push};
use super::limits::Place;
use super::record::PushRecord;
use super::revocation::Ground;
use super::{Decision, Exchange, Generation, unrecorded};
use crate::clock::{Lifetime, Timestamp};
use crate::credential::CompactJws;
use crate::identity::{SourceName, WorkloadIdentity};
use crate::jose::{ClaimFault, KeyPurpose, KeySet};
use crate::reason::{Denied, Malformed, Reason, Refusal, Unaccepted, Unavailable, Unverified};
use crate::trust::{NotTaken, Push, ServiceAccount, TrustedSource, push_endpoint};

/// When to come back to a source that is just being taken away, if it comes back at all.
const RETRY: Lifetime = Lifetime::from_seconds(5);

/// A set of keys that somebody sends.
#[derive(Debug)]
pub struct PushRequest<'a> {
    /// The source whose keys they are to be.
    pub source: SourceName,
    /// The token that vouches for the sender.
    pub token: CompactJws,
    /// The JWK Set, as it came.
    pub keys: &'a [u8],
}

impl Exchange {
    /// Whether the keys of a source of that name are pushed.
    pub fn takes_pushes(&self, source: &SourceName) -> bool {
        pushed_source(&self.generation(), source).is_some()
    }

    /// Replaces the keys of a source by those that its workload sent.
    ///
    /// # Errors
    /// The first thing that does not hold; the keys are what they were. The decision has been told either way.
    pub async fn push(&self, request: PushRequest<'_>, decision: &mut Decision) -> Result<(), Refusal> {
        let (generation, at) = (self.generation(), self.now());
        decision.uses(generation.id());
        let mut place = match self.limits.enter(generation.limits()) {
            Ok(place) => place,
            Err(refusal) => return self.conclude(Err(refusal), decision).await,
        };
        let outcome = self.pushed(&generation, &request, at, &mut place, decision).await;
        self.conclude(outcome, decision).await
    }

    async fn pushed(
        &self,
        generation: &Generation,
        request: &PushRequest<'_>,
        at: Timestamp,
        place: &mut Place<'_>,
        decision: &mut Decision,
    ) -> Result<(), Refusal> {
        let (source, by) = pushed_source(generation, &request.source).ok_or_else(|| {
            let note = format!("the keys of {} are not pushed", request.source);
            Refusal::unverified(Unverified::SourceUnknown, note)
        })?;
        let audience = push_endpoint(generation.issuer(), &request.source);
        let verifier = generation.verifier(at);
        let caller = verifier.verify_pusher(source, audience, &request.token, decision.evidence()).await?;
        let identity = caller.identity();
        decision.identified(identity);
        let ground = Ground::workload(identity, decision.evidence().key.as_ref());
        ground.stands(&self.store.revocations(), at)?;
        place.is_of(&identity.id, generation.limits().per_identity, at)?;
        is_pusher(identity, by)?;
        let outcome = self.replace_keys(generation, source, request, identity, at, decision).await;
        if let Err(refusal) = &outcome
            && refusal.reason() != Reason::Unavailable(Unavailable::KeysRefreshing)
        {
            source.push_refused(refusal.to_caller());
        }
        outcome
    }

    /// What comes once it is certain that the configured workload asks.
    async fn replace_keys(
        &self,
        generation: &Generation,
        source: &TrustedSource,
        request: &PushRequest<'_>,
        identity: &WorkloadIdentity,
        at: Timestamp,
        decision: &mut Decision,
    ) -> Result<(), Refusal> {
        let missing = || Refusal::internal("a verified token has no key");
        let verified_by = decision.evidence().key.clone().ok_or_else(missing)?;
        let issued_at = identity.credential.issued_at.ok_or_else(|| {
            let sentence = format!("Your platform token is not usable here: {}.", ClaimFault::Missing("iat"));
            Refusal::unaccepted(Unaccepted::ClaimsInvalid, sentence, "")
        })?;
        let set = KeySet::parse(request.keys, KeyPurpose::JwkSet).map_err(|fault| {
            Refusal::malformed(Malformed::MalformedRequest, format!("The body is no key set: {fault}."))
        })?;
        let record = PushRecord::of(&request.source, &set);
        let push = Push::new(set, verified_by, issued_at, identity.id.to_string()).ok_or_else(|| {
            Refusal::malformed(
                Malformed::MalformedRequest,
                "The key that verified your token is not in the key set. Push the new key while tokens are still signed by an old one, and both are in the set.",
            )
        })?;
        source.others_are_asked(&push, generation.trust().sources()).await.map_err(|retry_after| {
            let note =
                "the keys are new, and sources with the same issuer may not be asked yet whether they are theirs";
            Refusal::unavailable(Unavailable::KeysRefreshing, note, retry_after)
        })?;
        let mut claims = Claims::default();
        used_for_push(&mut claims, identity);
        claims.make(&self.store).await?;
        // What was revoked in the meantime, and acknowledged, counts (design §9.5).
        let ground = Ground::workload(identity, decision.evidence().key.as_ref());
        ground.stands(&self.store.revocations(), at)?;
        decision.pushes(record);
        if self.recorder.is_required() {
            // Keys cannot be held back as a token can: the record comes first, and another one where they are not taken.
            decision.pushed();
            decision.make_durable().await.map_err(|why| unrecorded(&why))?;
        }
        source.take(push).await.map_err(|why| refuse(&why, issued_at))?;
        decision.pushed();
        Ok(())
    }
}

fn pushed_source<'a>(generation: &'a Generation, name: &SourceName) -> Option<(&'a TrustedSource, &'a ServiceAccount)> {
    let source = generation.trust().sources().find(|source| source.settings.name == *name)?;
    source.pusher().map(|by| (source.as_ref(), by))
}

/// Exactly that service account: no group, no pattern, and no rule has a say.
fn is_pusher(identity: &WorkloadIdentity, by: &ServiceAccount) -> Result<(), Refusal> {
    let says = |name: &str, wanted: &str| identity.attributes.named(name) == Some(wanted);
    if says("namespace", &by.namespace) && says("service_account", &by.name) {
        return Ok(());
    }
    let note = format!("only {} in {} may push these keys", by.name, by.namespace);
    Err(Refusal::denied(Denied::NotGranted, "You may not replace these keys.", note))
}

fn refuse(why: &NotTaken, issued_at: Timestamp) -> Refusal {
    match why {
        NotTaken::Stale { last } => {
            let (issued_at, last) = (issued_at.to_rfc3339(), last.to_rfc3339());
            let sentence =
                "Keys were pushed since with a token that was issued after yours. Push again with a fresh one.";
            Refusal::unaccepted(
                Unaccepted::TokenTooOld,
                sentence,
                "one feeder a cluster: two get into each other's way",
            )
            .comparing(format!("issued at {issued_at}"), format!("issued at {last} or later"))
            .mended_by("a fresh token")
        }
        NotTaken::KeyGone => Refusal::unverified(
            Unverified::KeyUnknown,
            "another push has just taken away the key that verified this one",
        ),
        NotTaken::Gone => Refusal::unavailable(
            Unavailable::KeysRefreshing,
            "the source was just taken out of the configuration",
            RETRY,
        ),
    }
}
