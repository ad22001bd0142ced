//! What becomes of keys when the wall clock is set back.

use super::super::KeysUnusable;
use super::fetching::Upstream;
use super::*;
use crate::world::cluster::JWKS_PATH;

const DAY: Lifetime = Lifetime::from_hours(24);

#[tokio::test]
async fn jwk_15_keys_confirmed_in_the_future_are_stale() {
    let stand = Stand::new();
    let path = stand.write("eu1.json", jwks(&[&jwk("a")]));
    let eu1 = source(&stand.trust.apply(&[cluster_file("eu1", &path)]), "eu1");
    let confirmed = stand.now();
    let corrected = confirmed.minus(Lifetime::from_minutes(5));
    assert_eq!(key_ids(&eu1, corrected), ids(&["a"]), "a clock may be corrected a little");
    assert_eq!(eu1.status(corrected).usable_until, Some(confirmed.plus(DAY)));
    let set_back = corrected.minus(Lifetime::from_millis(1));
    let KeysUnusable::Stale { confirmed_at, why } = eu1.keys_at(set_back).unwrap_err() else { panic!() };
    assert_eq!(confirmed_at, confirmed);
    assert!(why.contains("the clock was set back"), "{why}");
    assert_eq!(eu1.status(set_back).usable_until, Some(set_back), "no longer");
}

#[tokio::test]
async fn a_clock_that_is_set_back_delays_no_withdrawal() {
    let stand = Stand::new();
    let path = stand.write("eu1.json", jwks(&[&jwk("a"), &jwk("b")]));
    let eu1 = source(&stand.trust.apply(&[cluster_file("eu1", &path)]), "eu1");
    until("it sleeps", || stand.status("eu1").next_attempt.is_some()).await;
    let kept = || std::fs::read_to_string(stand.path("state/keys/eu1.json")).unwrap_or_default();
    until("it is kept", || kept().contains("confirmed_at")).await;
    stand.clock.step_back(DAY);
    assert_eq!(key_ids(&eu1, stand.now()), None);
    stand.write("eu1.json", jwks(&[&jwk("b")]));
    stand.clock.advance(Lifetime::from_seconds(6));
    until("it was read", || key_ids(&eu1, stand.now()) == ids(&["b"])).await;
    assert_eq!(eu1.keys_at(stand.now()).unwrap().confirmed_at, stand.now());
    until("a restart can use the file", || kept().contains(&stand.now().to_rfc3339())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_a_source_that_can_be_asked_is_asked_at_once_when_its_keys_are_needed() {
    let stand = Stand::new();
    let upstream = Upstream::start(&stand, |_| {}).await;
    let view = stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(upstream.endpoint(JWKS_PATH)))]);
    stand.trust.first_attempts().await;
    until("it sleeps", || stand.status("eu1").next_attempt.is_some()).await;
    let eu1 = source(&view, "eu1");
    stand.clock.step_back(DAY);
    for _ in 0..20 {
        assert!(stand.status("eu1").outbound_attempts <= 2);
        let _stale = eu1.keys_at(stand.now());
    }
    until("confirmed again", || key_ids(&eu1, stand.now()) == ids(&[&upstream.active()])).await;
    assert_eq!(stand.status("eu1").outbound_attempts, 2);
}
