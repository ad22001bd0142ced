//! When a source is asked for its keys over https: one loop a source, one attempt at a time.
//!
//! Nobody but this loop asks; requests can only ask it to look again. A failure never takes the last good keys away (JWK-15).

use std::sync::Arc;

use super::backoff::{Backoff, about};
use super::engine::Shared;
use super::freshness;
use super::key_endpoint::KeyEndpoint;
use super::source::{Confirmed, SourceKeys, locked};
use crate::clock::Lifetime;

const SHORTEST_BACKOFF: Lifetime = Lifetime::from_seconds(1);
const LONGEST_BACKOFF: Lifetime = Lifetime::from_seconds(60);

/// Asks again and again until the source is gone.
pub(super) async fn run(keys: Arc<SourceKeys>, shared: Arc<Shared>) {
    let (Some(mut endpoint), Some(gate)) = (KeyEndpoint::of(&keys.origin), &keys.gate) else { return };
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
            outcome = endpoint.fetch() => outcome,
        };
        drop(place);
        if let Some(theirs) = endpoint.date() {
            locked(&keys.tally).skew_seconds = Some(theirs.seconds() - shared.clock.now().seconds());
        }
        let wait = match outcome {
            Ok(set) => {
                // No later than the answer was made: counted from the question.
                shared.ledger.publish(&keys, set, Confirmed::At(began));
                keys.succeeded();
                gate.end(None);
                backoff.reset();
                about(freshness::until_next(endpoint.fresh_for()), &*shared.entropy)
            }
            Err(why) => {
                keys.failed(why.clone());
                gate.end(Some(why));
                backoff.after_failure(&*shared.entropy)
            }
        };
        // From now, not from when the file is written: a slow disk does not delay the next attempt.
        let next = shared.clock.now().plus(wait);
        keys.plan(Some(next));
        shared.keep(&keys).await;
        tokio::select! {
            () = keys.cancel.cancelled() => return,
            () = shared.clock.sleep_until(next) => {}
            () = gate.wanted() => {}
        }
    }
}
