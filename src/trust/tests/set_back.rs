//! What becomes of keys when the wall clock is set back.

use super::super::KeysUnusable;
use super::bundle_endpoint::{self, Partner};
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

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_an_endpoint_is_asked_at_once_when_its_x509_authorities_are_needed() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    let source = bundle_endpoint::started(&stand, &partner.by_web()).await;
    until("it sleeps", || stand.status("partner").next_attempt.is_some()).await;
    // The clock was set back, and later it jumped: a machine that slept.
    stand.clock.step_back(DAY);
    let one_more = async |attempts: u64| {
        for _ in 0..20 {
            assert!(stand.status("partner").outbound_attempts <= attempts);
            let _stale = source.authorities_at(stand.now());
        }
        until("confirmed again", || source.authorities_at(stand.now()).is_ok()).await;
        assert_eq!(stand.status("partner").outbound_attempts, attempts);
    };
    one_more(2).await;
    until("it sleeps", || stand.status("partner").next_attempt.is_some()).await;
    let needed = stand.now().plus(Lifetime::from_hours(25));
    let KeysUnusable::Stale { .. } = source.authorities_at(needed).unwrap_err() else { panic!() };
    until("asked", || stand.status("partner").outbound_attempts == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_asked_at_once_when_its_keys_may_serve_for_a_shorter_time() {
    let stand = Stand::new();
    let partner = Partner::start(&stand).await;
    partner.domain.set_refresh_hint(86_400);
    let mut settings = partner.by_web();
    bundle_endpoint::started(&stand, &settings).await;
    let next = || stand.status("partner").next_attempt.map(|next| next.since(stand.now()));
    until("it sleeps", || next().is_some_and(|wait| wait > Lifetime::from_hours(1))).await;
    settings.max_stale = Lifetime::from_hours(48);
    stand.trust.apply(&[settings.clone()]);
    settings.max_stale = Lifetime::from_minutes(30);
    stand.trust.apply(&[settings.clone()]);
    until("planned anew", || next().is_some_and(|wait| wait < Lifetime::from_minutes(15))).await;
    // The same settings again are no reason to ask.
    stand.trust.apply(&[settings]);
    assert_eq!(stand.status("partner").outbound_attempts, 2);
}
