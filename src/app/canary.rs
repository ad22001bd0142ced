//! Keys that wait are tried through our own public URL, and wait longer where that fails or where a verifier is slow.
//!
//! Decides nothing: the ring does. A public URL that is down costs a later rotation and no request.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Lifetime, Timestamp};
use crate::issue::{KeyRing, PUBLISHED_BEFORE_USE, RingKey};
use crate::telemetry::Metrics;
use crate::trust::PublicKeys;

/// How often dates are looked at.
const LOOK_EVERY: Lifetime = Lifetime::from_seconds(5);
/// How often a key that waits is tried.
const TRY_EVERY: Lifetime = Lifetime::from_seconds(30);

/// Looks after the keys that wait, until cancelled.
pub(super) async fn follow(
    public: Option<PublicKeys>,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    cancel: CancellationToken,
) {
    let Some(mut public) = public else { return };
    let (mut next_try, mut told) = (Timestamp::from_millis(i64::MIN), BTreeSet::new());
    loop {
        let untried = ring.untried(clock.now());
        // A clock that was set back costs one wait, not the difference.
        next_try = next_try.min(clock.now().plus(TRY_EVERY));
        if !untried.is_empty() && clock.now() >= next_try {
            let fetched = tokio::select! {
                () = cancel.cancelled() => return,
                fetched = public.fetch() => fetched,
            };
            next_try = clock.now().plus(TRY_EVERY);
            for key in &untried {
                let outcome = match &fetched {
                    Ok(keys) if key.is_verified_by(keys) => Ok(()),
                    Ok(_) => Err(format!("the key set at {} does not verify it yet", public.url())),
                    Err(why) => Err(why.clone()),
                };
                metrics.canary_tried(outcome.is_ok());
                let key_id = key.signing_key().key_id();
                match &outcome {
                    Ok(()) => tracing::info!(key = %key_id, "a waiting key verifies through the public URL"),
                    Err(why) => {
                        if late(key, clock.now()) && told.insert(format!("{key_id} {why}")) {
                            tracing::warn!(key = %key_id, "a waiting key does not verify through the public URL: {why}");
                        }
                    }
                }
                ring.tried(key_id, outcome);
            }
        }
        postpone(&ring, &untried, clock.now(), &metrics, &mut told).await;
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = clock.sleep_until(clock.now().plus(LOOK_EVERY)) => {}
        }
    }
}

/// Whether a cache that does as we allow must have the key by now.
fn late(key: &RingKey, at: Timestamp) -> bool {
    at >= key.schedule().publish().plus(PUBLISHED_BEFORE_USE)
}

async fn postpone(
    ring: &Arc<KeyRing>,
    untried: &[Arc<RingKey>],
    at: Timestamp,
    metrics: &Metrics,
    told: &mut BTreeSet<String>,
) {
    let writing = Arc::clone(ring);
    let postponed = match tokio::task::spawn_blocking(move || writing.wait_for_verifiers(at)).await {
        Ok(Ok(postponed)) => postponed,
        Ok(Err(fault)) => {
            if told.insert(fault.to_string()) {
                tracing::warn!(%fault, "a signing key could not be made to wait");
            }
            return;
        }
        Err(_gone) => return,
    };
    for one in &postponed {
        let (key, why) = (&one.wait.key_id, one.wait.sentence(at));
        if one.moved {
            metrics.activation_postponed(one.cause.as_str());
            tracing::warn!(%key, cause = one.cause.as_str(), "a signing key takes over later: it {why}");
        } else if told.insert(format!("{key} {}", one.cause.as_str())) {
            metrics.activation_postponed(one.cause.as_str());
            tracing::warn!(%key, cause = one.cause.as_str(), "a signing key should take over later, and its file is not ours to change: it {why}");
        }
    }
    for wait in ring.waits(at).iter().filter(|wait| wait.signs_untried(at)) {
        if told.insert(format!("{} untried", wait.key_id)) {
            metrics.activation_postponed("given_up");
            tracing::error!(key = %wait.key_id, "a signing key takes over although it was never verified through the public URL: {}", wait.sentence(at));
        }
    }
    // Nothing to remember once nothing waits.
    if untried.is_empty() && postponed.is_empty() {
        told.clear();
    }
}
