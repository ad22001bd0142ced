//! The story of one exchange, whichever door it came through.
//!
//! Verify, decide, mint, record: nothing here knows HTTP, and no door has rules of its own.

mod decision;
mod generation;
mod recorder;
mod reference;
mod request;

pub use decision::{Decision, Outcome, Transport};
pub use generation::{Generation, GenerationId};
pub use recorder::Recorder;
pub use reference::{ErrorRef, References};
pub use request::{ExchangeRequest, Grants};

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Lifetime, Timestamp};
use crate::identity::ScopeSet;
use crate::issue::{AccessToken, Issuer};
use crate::reason::{Malformed, Refusal};
use crate::telemetry::Metrics;
use crate::verify::{Parties, Verifier};

/// The core that every door talks to.
#[derive(Debug)]
pub struct Exchange {
    generation: ArcSwap<Generation>,
    issuer: Issuer,
    clock: Arc<dyn Clock>,
    references: References,
    recorder: Recorder,
    metrics: Metrics,
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
}

impl Exchange {
    /// The core over a first generation.
    pub fn new(
        generation: Generation,
        issuer: Issuer,
        clock: Arc<dyn Clock>,
        references: References,
        recorder: Recorder,
        metrics: Metrics,
    ) -> Self {
        Self { generation: ArcSwap::from_pointee(generation), issuer, clock, references, recorder, metrics }
    }

    /// The configuration that requests use from now on; running ones keep theirs.
    pub fn replace(&self, generation: Generation) {
        self.generation.store(Arc::new(generation));
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

    /// The numbers.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Opens the record of one request. It is written on every way out, also when the connection drops.
    pub fn open(&self, transport: Transport, peer: std::net::IpAddr) -> Decision {
        Decision::open(
            self.references.next(),
            transport,
            peer,
            self.now(),
            Arc::clone(&self.clock),
            self.recorder.clone(),
            self.metrics.clone(),
        )
    }

    /// One exchange, from a parsed request to a token.
    ///
    /// # Errors
    /// The first thing that does not hold. The decision has been told either way.
    pub async fn run(&self, request: ExchangeRequest, decision: &mut Decision) -> Result<Issued, Refusal> {
        let generation = self.generation();
        let at = self.clock.now();
        decision.uses(generation.id());
        let outcome = self.story(&generation, request, at, decision).await;
        match &outcome {
            Ok(issued) => decision.granted(&issued.token),
            Err(refusal) => decision.refused(refusal),
        }
        outcome
    }

    async fn story(
        &self,
        generation: &Generation,
        request: ExchangeRequest,
        at: Timestamp,
        decision: &mut Decision,
    ) -> Result<Issued, Refusal> {
        if request.subject.is_some() || request.actor.is_some() || request.proof.is_some() || request.peer.is_some() {
            return Err(Refusal::malformed(
                Malformed::GrantUnsupported,
                "Only client_credentials with a client assertion is served.",
            ));
        }
        decision.asks(&request.ask);
        let verifier = Verifier {
            trust: generation.trust(),
            issuer: generation.issuer(),
            identity_domain: generation.identity_domain(),
            at,
        };
        let client = verifier.verify(&request.client, decision.evidence()).await?;
        decision.identified(client.identity());
        let parties = Parties { client, actor: None, subject: None, binding: None };
        let grant = generation.policy().evaluate(&parties, &request.ask, decision.policy())?;
        decision.decided(&grant);
        let token = self.issuer.mint(generation.issuer(), &grant, at)?;
        let life = token.expires_at.since(token.issued_at);
        Ok(Issued { expires_in: life.seconds(), refresh_in: refresh_in(life), scopes: grant.scopes().clone(), token })
    }
}

fn refresh_in(life: Lifetime) -> i64 {
    (life.seconds() * 4 / 5).max(1)
}
