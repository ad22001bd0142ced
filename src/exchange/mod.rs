//! The story of one exchange, whichever door it came through.
//!
//! Verify, decide, mint, record: nothing here knows HTTP, and no door has rules of its own.

mod aggregate;
mod binding;
mod claims;
mod decision;
mod explain;
mod extension;
mod gcra;
mod generation;
mod introspect;
mod limits;
mod lines;
mod operators;
mod push;
mod record;
mod recorder;
mod reference;
mod request;
pub mod revocation;
mod revoke;
mod settings;
mod subject;
mod watch;
mod writer;

pub use aggregate::{GrantKind, GrantTally, Grants as KeptGrants};
pub use decision::{Decision, Outcome, Transport};
pub use explain::Explanation;
pub use generation::{Generation, GenerationId};
pub use introspect::{IntrospectRequest, Introspected};
pub use operators::{NotChanged, RevocationChange, RevocationReport};
pub use push::PushRequest;
pub use record::{
    AskedRecord, CredentialRecord, ExtensionRecord, KeyRecord, PushRecord, Record, RevocationRecord, ShownRecord,
    SubjectRecord, TokenRecord,
};
pub use recorder::{NotRecorded, RecordOutputs, Recorder};
pub use reference::{ErrorRef, References};
pub use request::{ExchangeRequest, Grants};
pub use revoke::RevokeRequest;
pub use settings::{AuditSettings, LimitSettings, Rate};
pub use watch::Course;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Lifetime, Timestamp};
use crate::credential::{ACCESS_TOKEN_TYPE, Shown, ShownSubject};
use crate::entropy::NoEntropy;
use crate::identity::{Confirmation, ScopeSet, SpiffeId};
use crate::issue::{AccessToken, Issuer};
use crate::policy::{Ask, Grant};
use crate::reason::{Refusal, Unavailable};
use crate::store::Store;
use crate::telemetry::{Metrics, Spans};
use crate::verify::{Nonces, Parties, VerifiedIdentity};
use binding::Proven;
use claims::Claims;
use limits::{Limits, Place};
use revocation::{Ground, Grounds};
use subject::Judge;

/// The core that every door talks to.
#[derive(Debug)]
pub struct Exchange {
    generation: ArcSwap<Generation>,
    issuer: Issuer,
    clock: Arc<dyn Clock>,
    references: References,
    recorder: Recorder,
    metrics: Metrics,
    limits: Limits,
    store: Store,
    spans: Option<Spans>,
    changes: watch::Changes,
    nonces: Nonces,
}

/// What a granted exchange gives.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: AccessToken,
    /// Seconds that it lives from now.
    pub expires_in: i64,
    /// Seconds after which a client should come back: four fifths of its life.
    pub refresh_in: i64,
    /// What it may be used for.
    pub scopes: ScopeSet,
    /// Who called.
    pub caller: SpiffeId,
    /// The end of what the token rests on: with what the caller showed there is none that lives longer.
    pub not_after: Timestamp,
    /// `issued_token_type` of a token exchange (RFC 8693 §2.2.1); `None` for other grants.
    pub issued_token_type: Option<&'static str>,
    /// How it is used: `DPoP` where it is bound to the key of a proof, else `Bearer` (RFC 9449 §5).
    pub token_type: &'static str,
    /// The nonce for the next proof, where it is another one than this proof's.
    pub next_nonce: Option<String>,
}

/// A decision to grant, before anything is used up or minted.
struct Decided {
    grant: Grant,
    /// What the token would rest on.
    grounds: Grounds,
    /// What it would use up.
    claims: Claims,
    /// What was proven.
    proven: Proven,
}

impl Exchange {
    /// The core over a first generation.
    ///
    /// # Errors
    /// [`NoEntropy`]: there is no key for nonces without it.
    pub fn new(
        generation: Generation,
        issuer: Issuer,
        clock: Arc<dyn Clock>,
        references: References,
        recorder: Recorder,
        metrics: Metrics,
        store: Store,
    ) -> Result<Self, NoEntropy> {
        Ok(Self {
            nonces: Nonces::new(issuer.entropy())?,
            generation: ArcSwap::from_pointee(generation),
            issuer,
            clock,
            references,
            recorder,
            metrics,
            limits: Limits::default(),
            store,
            spans: None,
            changes: watch::Changes::default(),
        })
    }

    /// Each exchange becomes a span there too.
    #[must_use]
    pub fn with_spans(mut self, spans: Option<Spans>) -> Self {
        self.spans = spans;
        self
    }

    /// The configuration that requests use from now on; running ones keep theirs.
    pub fn replace(&self, generation: Generation) {
        self.generation.store(Arc::new(generation));
        self.something_changed();
    }

    /// Says that tokens would come out otherwise now than a moment ago: streams ask again.
    pub fn something_changed(&self) {
        self.changes.tell();
    }

    /// Completes its `changed` after each change of that kind.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        self.changes.follow()
    }

    /// The clock by which everything here is judged.
    pub const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The present configuration.
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// Who mints.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The time by which everything here is judged.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The records.
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The numbers.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens the record of one request. It is written on every way out, also when the connection drops.
    pub fn open(&self, transport: Transport, peer: IpAddr) -> Decision {
        let (clock, recorder) = (Arc::clone(&self.clock), self.recorder.clone());
        Decision::open(self.references.next(), transport, peer, clock, recorder, self.metrics.clone())
            .with_spans(self.spans.clone())
    }

    /// One exchange, from a parsed request to a token.
    ///
    /// # Errors
    /// The first thing that does not hold. The decision has been told either way.
    pub async fn run(&self, request: ExchangeRequest, decision: &mut Decision) -> Result<Issued, Refusal> {
        let generation = self.generation();
        let at = self.clock.now();
        decision.uses(generation.id());
        decision.of_grant(request.grant());
        let mut place = match self.limits.enter(generation.limits()) {
            Ok(place) => place,
            Err(refusal) => return self.conclude(Err(refusal), decision).await,
        };
        let outcome = self.story(&generation, request, at, &mut place, decision).await;
        // The place is held until the record is durable: a slow disk must not gather more requests than there are places.
        self.conclude(outcome, decision).await
    }

    /// What a door refuses before there is a request: recorded like every other refusal.
    pub async fn refuse(&self, refusal: Refusal, decision: &mut Decision) -> Refusal {
        match self.conclude::<()>(Err(refusal), decision).await {
            Err(refusal) => refusal,
            Ok(()) => Refusal::internal("a refusal was concluded as a grant"),
        }
    }

    /// What would be decided now about a credential: nothing is issued, recorded or counted.
    pub async fn judge(&self, client: Shown, ask: Ask) -> Record {
        let generation = self.generation();
        let at = self.clock.now();
        let mut decision = self.open(Transport::Operator, IpAddr::V4(Ipv4Addr::LOCALHOST));
        decision.uses(generation.id());
        let request = ExchangeRequest::of_client(client, ask);
        let outcome = self.decide(&generation, request, at, None, &mut decision).await;
        match &outcome {
            Ok(_) => {}
            Err(refusal) => decision.refused(refusal),
        }
        decision.into_record(outcome.is_ok())
    }

    /// Tells the decision how it ended; with `audit: required` nothing leaves before the record is durable.
    async fn conclude<T>(&self, outcome: Result<T, Refusal>, decision: &mut Decision) -> Result<T, Refusal> {
        if let Err(refusal) = &outcome {
            decision.refused(refusal);
        }
        if !self.recorder.is_required() || (outcome.is_ok() && decision.is_recorded()) {
            return outcome;
        }
        match decision.make_durable().await {
            Ok(()) => outcome,
            Err(why) => {
                let refusal = unrecorded(&why);
                decision.refused(&refusal);
                Err(refusal)
            }
        }
    }

    async fn story(
        &self,
        generation: &Generation,
        request: ExchangeRequest,
        at: Timestamp,
        place: &mut Place<'_>,
        decision: &mut Decision,
    ) -> Result<Issued, Refusal> {
        let exchanged = matches!(&request.subject, Some(ShownSubject::AccessToken(_) | ShownSubject::Jwt(_)));
        let Decided { grant, grounds, claims, proven } =
            self.decide(generation, request, at, Some(place), decision).await?;
        claims.make(&self.store).await?;
        grounds.still_stand(&self.store.revocations(), at)?;
        let token = self.issuer.mint(generation.issuer(), &grant, at)?;
        decision.granted(&token);
        let life = token.expires_at.since(token.issued_at);
        Ok(Issued {
            expires_in: life.seconds(),
            refresh_in: refresh_in(life),
            scopes: grant.scopes().clone(),
            caller: grant.client().id.clone(),
            not_after: grant.not_after(),
            issued_token_type: exchanged.then_some(ACCESS_TOKEN_TYPE),
            token_type: grant.confirmation().map_or(Confirmation::UNBOUND, Confirmation::token_type),
            next_nonce: proven.next_nonce(&self.nonces, at),
            token,
        })
    }

    /// Who asks, and that it may be served: verified, not revoked, not too often, and alive. Its cluster is asked last: nobody
    /// whom we refuse by what we know ourselves takes one of the questions that all callers of that cluster share.
    async fn authenticated(
        &self,
        generation: &Generation,
        shown: &Shown,
        at: Timestamp,
        place: Option<&mut Place<'_>>,
        decision: &mut Decision,
    ) -> Result<(VerifiedIdentity, Grounds), Refusal> {
        let verifier = generation.verifier(at);
        let vouched = verifier.verify(shown, decision.evidence()).await?;
        decision.identified(vouched.identity());
        let mut grounds = Grounds::default();
        let ground = Ground::workload(vouched.identity(), decision.evidence().key.as_ref());
        grounds.rest_on(ground, &self.store.revocations(), at)?;
        if let Some(place) = place {
            place.is_of(&vouched.identity().id, generation.limits().per_identity, at)?;
        }
        Ok((vouched.alive().await?, grounds))
    }

    /// Verify, count, then ask the policy, and say what the grant would use up. Who only asks what would be decided has no
    /// place and is not counted.
    async fn decide(
        &self,
        generation: &Generation,
        request: ExchangeRequest,
        at: Timestamp,
        place: Option<&mut Place<'_>>,
        decision: &mut Decision,
    ) -> Result<Decided, Refusal> {
        decision.asks(&request.ask);
        let (client, mut grounds) = self.authenticated(generation, &request.client, at, place, decision).await?;
        let proven = Proven::of(&request, generation, &self.nonces, at)?;
        let judge = Judge {
            verifier: generation.verifier(at),
            generation,
            keys: &self.issuer.ring().verification_keys(at),
            revoked: &self.store.revocations(),
            client: client.identity(),
        };
        let shown = judge.subject(&request, &mut grounds, decision).await?;
        let (subject, shown) = shown.map_or((None, None), |token| (Some(token.subject), token.workload));
        let parties = Parties { client, actor: None, subject, binding: proven.binding.clone() };
        let grant = generation.policy().evaluate(&parties, &request.ask, decision.policy())?;
        decision.decided(&grant);
        let mut claims = Claims::default();
        for credential in std::iter::once(&parties.client).chain(&shown) {
            claims.of_credential(credential, grant.confirmation());
        }
        proven.claim(&mut claims);
        Ok(Decided { grant, grounds, claims, proven })
    }
}

fn unrecorded(why: &NotRecorded) -> Refusal {
    let note = format!("the decision could not be recorded: {why}");
    Refusal::unavailable(Unavailable::AuditUnavailable, note, Lifetime::from_seconds(5))
}

fn refresh_in(life: Lifetime) -> i64 {
    (life.seconds() * 4 / 5).max(1)
}
