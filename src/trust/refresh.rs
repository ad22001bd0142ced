//! When a source is asked for its keys over https: one loop a source, one attempt at a time.
//!
//! Nobody but this loop asks; requests can only ask it to look again. A failure never takes the last good keys away (JWK-15).

use std::sync::Arc;

use super::backoff::{Backoff, about};
use super::bundle_endpoint::BundleEndpoint;
use super::engine::Shared;
use super::freshness;
use super::key_endpoint::KeyEndpoint;
use super::origin::Origin;
use super::source::{Confirmed, SourceKeys, locked};
use crate::clock::{Lifetime, Timestamp};

const SHORTEST_BACKOFF: Lifetime = Lifetime::from_seconds(1);
const LONGEST_BACKOFF: Lifetime = Lifetime::from_seconds(60);

/// Asks again and again until the source is gone.
pub(super) async fn run(keys: Arc<SourceKeys>, shared: Arc<Shared>) {
    let (Some(mut endpoint), Some(gate)) = (Upstream::of(&keys.origin), &keys.gate) else { return };
    let mut backoff = Backoff::new(SHORTEST_BACKOFF, LONGEST_BACKOFF);
    loop {
        let place = tokio::select! {
            () = keys.cancel.cancelled() => return,
            place = shared.fetches.acquire() => place,
        };
        let began = shared.clock.now();
        gate.begin(began);
        keys.began(began, true);
        let outcome = tokio::select! {
            () = keys.cancel.cancelled() => return,
            outcome = endpoint.ask(&keys, &shared, began) => outcome,
        };
        drop(place);
        if let Some(theirs) = endpoint.take_date() {
            locked(&keys.tally).skew_seconds = Some(theirs.seconds() - shared.clock.now().seconds());
        }
        let well = outcome.is_ok();
        match outcome {
            Ok(()) => {
                keys.succeeded();
                gate.end(None);
                backoff.reset();
            }
            Err(why) => {
                if keys.origin.is_trust_domain() {
                    keys.authorities.note(keys.name.as_str(), Some(why.clone()));
                }
                keys.failed(why.clone());
                gate.end(Some(why));
            }
        }
        let wait = match &endpoint {
            Upstream::Keys(endpoint) if well => about(freshness::until_next(endpoint.fresh_for()), &*shared.entropy),
            Upstream::Keys(_) => backoff.after_failure(&*shared.entropy),
            Upstream::Bundle(endpoint) => about(endpoint.interval(&keys, well, shared.clock.now()), &*shared.entropy),
        };
        let next = shared.clock.now().plus(wait);
        keys.plan(Some(next));
        shared.keep_soon(&keys);
        tokio::select! {
            () = keys.cancel.cancelled() => return,
            () = shared.clock.sleep_until(next) => {}
            () = gate.wanted() => {}
        }
    }
}

/// Who is asked.
enum Upstream {
    Keys(KeyEndpoint),
    Bundle(BundleEndpoint),
}

impl Upstream {
    fn of(origin: &Origin) -> Option<Self> {
        KeyEndpoint::of(origin).map(Self::Keys).or_else(|| BundleEndpoint::of(origin).map(Self::Bundle))
    }

    /// One attempt. What comes counts as confirmed when it was asked for: the answer was made no earlier.
    async fn ask(&mut self, keys: &Arc<SourceKeys>, shared: &Shared, began: Timestamp) -> Result<(), String> {
        match self {
            Self::Keys(endpoint) => {
                let set = endpoint.fetch().await?;
                shared.ledger.publish(keys, set, Confirmed::At(began));
                Ok(())
            }
            Self::Bundle(endpoint) => {
                let bundle = endpoint.fetch(keys, began).await?;
                endpoint.take(bundle, keys, shared, began)
            }
        }
    }

    const fn take_date(&mut self) -> Option<Timestamp> {
        match self {
            Self::Keys(endpoint) => endpoint.take_date(),
            Self::Bundle(endpoint) => endpoint.take_date(),
        }
    }
}

impl SourceKeys {
    /// Somebody needs what has grown stale: a source that can be asked is asked, at most once in 30 s.
    pub(super) fn want(&self, at: Timestamp) {
        if let Some(gate) = &self.gate {
            gate.want(at);
        }
    }

    /// The time that the newest generation gives it. With less of it a source is asked at once: its next attempt was planned for more.
    pub(super) fn may_serve_for(&self, max_stale: Lifetime) {
        let before = std::mem::replace(&mut *locked(&self.max_stale), max_stale);
        if let (true, Some(gate)) = (max_stale < before, &self.gate) {
            gate.demand();
        }
    }
}
