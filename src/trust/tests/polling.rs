//! When a source that is well is asked again.

use super::fetching::Upstream;
use super::*;
use crate::world::Behaviour;
use crate::world::cluster::JWKS_PATH;

/// The minutes until the next attempt of a source that answers with this header, without jitter.
async fn next_poll(stand: &Stand, upstream: &Upstream, header: Option<&'static str>) -> i64 {
    let headers = header.map(|value| ("cache-control", value));
    upstream
        .cluster
        .behave(JWKS_PATH, Behaviour::With(headers.into_iter().collect(), upstream.cluster.jwks().to_string().into()));
    let asked = stand.status("eu1").refreshes_ok;
    stand.to_next_attempt("eu1").await;
    until("asked", || stand.status("eu1").refreshes_ok > asked && stand.status("eu1").next_attempt.is_some()).await;
    let wait = stand.status("eu1").next_attempt.unwrap().since(stand.now());
    (wait.millis() + 30_000) / 60_000
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_headers_decide_the_next_poll_within_bounds() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(upstream.endpoint(JWKS_PATH)))]);
    stand.trust.first_attempts().await;
    for (header, minutes) in [
        (None, 4..=6),
        (Some("max-age=180"), 2..=4),
        (Some("public, max-age=604800"), 4..=6),
        (Some("max-age=1"), 1..=1),
        (Some("no-store"), 1..=1),
        (Some("max-age=soon"), 1..=1),
    ] {
        let found = next_poll(&stand, &upstream, header).await;
        assert!(minutes.contains(&found), "{header:?}: {found} min");
    }
    assert_eq!(upstream.cluster.requests(JWKS_PATH), 7, "one request a poll");
}

// One thread: the source must not wake between the wish and the attempt.
#[tokio::test]
async fn jwk_13_a_wish_that_a_regular_attempt_fulfils_is_no_second_attempt() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    let view = stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(upstream.endpoint(JWKS_PATH)))]);
    stand.trust.first_attempts().await;
    let eu1 = source(&view, "eu1");
    let gate = eu1.keys.gate.as_ref().unwrap();
    until("asleep", || stand.status("eu1").next_attempt.is_some()).await;
    let later = stand.now().plus(Lifetime::from_minutes(1));
    // As if the timer had fired at the moment of the wish.
    gate.want(later);
    gate.begin(later);
    gate.end(None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(upstream.cluster.requests(JWKS_PATH), 1);
    gate.want(later.plus(Lifetime::from_seconds(30)));
    until("asked", || upstream.cluster.requests(JWKS_PATH) == 2).await;
}
