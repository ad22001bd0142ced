//! Key ids that nobody knows.

use super::super::LookAgain;
use super::fetching::Upstream;
use super::*;
use crate::world::Behaviour;
use crate::world::cluster::JWKS_PATH;

const INTERVAL: Lifetime = Lifetime::from_seconds(30);

async fn started(stand: &Stand) -> (Upstream, Arc<TrustedSource>) {
    let upstream = Upstream::start(stand, |_| {}).await;
    let view = stand.trust.apply(&[cluster("eu1", IssuerKeys::Url(upstream.endpoint(JWKS_PATH)))]);
    stand.trust.first_attempts().await;
    let next = || stand.status("eu1").next_attempt.is_some();
    until("asleep", next).await;
    (upstream, source(&view, "eu1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_every_outcome() {
    let stand = Stand::new();
    let (upstream, eu1) = started(&stand).await;
    let at = stand.now();
    assert_eq!(eu1.look_again(&kid(&upstream.active()), at).await, LookAgain::Found, "it is known already");
    // The first attempt was now: the interval counts from it.
    assert_eq!(eu1.look_again(&kid("x"), at).await, LookAgain::Refreshing { retry_after: INTERVAL });
    let late = at.plus(Lifetime::from_millis(29_500));
    let least = LookAgain::Refreshing { retry_after: Lifetime::from_seconds(1) };
    assert_eq!(eu1.look_again(&kid("x"), late).await, least, "never under a second");
    stand.clock.advance(INTERVAL);
    assert_eq!(eu1.look_again(&kid("x"), stand.now()).await, LookAgain::NotThere);
    let new = upstream.cluster.rotate(Algorithm::ES256).unwrap();
    stand.clock.advance(INTERVAL);
    assert_eq!(eu1.look_again(&kid(new.kid()), stand.now()).await, LookAgain::Found);
    upstream.cluster.behave(JWKS_PATH, Behaviour::Status(500));
    stand.clock.advance(INTERVAL);
    let failed = eu1.look_again(&kid("x"), stand.now()).await;
    assert!(matches!(&failed, LookAgain::Failed { why } if why.contains("500")), "{failed:?}");
    assert!(key_ids(&eu1, stand.now()).unwrap().contains(new.kid()), "the last good keys stay");
    assert_eq!(upstream.cluster.requests(JWKS_PATH), 4);
    let status = stand.status("eu1");
    assert_eq!((status.refreshes_ok, status.refreshes_failed, status.outbound_attempts), (3, 1, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_a_thousand_unknown_key_ids_are_one_request_an_interval() {
    let stand = Stand::new();
    let (upstream, eu1) = started(&stand).await;
    for round in 1..=3 {
        stand.clock.advance(INTERVAL);
        let at = stand.now();
        let asks = (0..1000).map(|index| {
            let eu1 = Arc::clone(&eu1);
            tokio::spawn(async move { eu1.look_again(&kid(&format!("junk-{index}")), at).await })
        });
        let mut not_there = 0;
        for ask in asks.collect::<Vec<_>>() {
            match ask.await.unwrap() {
                LookAgain::NotThere => not_there += 1,
                LookAgain::Refreshing { retry_after } => assert!(retry_after >= Lifetime::from_seconds(1)),
                other => panic!("{other:?}"),
            }
        }
        assert!((1..=64).contains(&not_there), "{not_there}");
        assert_eq!(upstream.cluster.requests(JWKS_PATH), 1 + round);
        // A failure is an attempt too: it opens no door for a second one.
        if round == 2 {
            upstream.cluster.behave(JWKS_PATH, Behaviour::Good);
        }
        until("asleep", || stand.status("eu1").next_attempt.is_some()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_nobody_waits_longer_than_a_second_and_no_more_than_64_wait() {
    let stand = Stand::new();
    let (upstream, eu1) = started(&stand).await;
    upstream.cluster.behave(JWKS_PATH, Behaviour::Hang);
    stand.clock.advance(INTERVAL);
    let at = stand.now();
    let ask = |text: String| {
        let eu1 = Arc::clone(&eu1);
        tokio::spawn(async move { eu1.look_again(&kid(&text), at).await })
    };
    let waiting: Vec<_> = (0..64).map(|index| ask(format!("junk-{index}"))).collect();
    let gate = eu1.keys.gate.as_ref().unwrap();
    until("all wait", || gate.waiting() == 64).await;
    assert_eq!(ask("one-more".to_owned()).await.unwrap(), LookAgain::Refreshing { retry_after: INTERVAL });
    assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
    until("asked", || upstream.cluster.requests(JWKS_PATH) == 2).await;
    stand.clock.advance(Lifetime::from_seconds(1));
    for waiter in waiting {
        assert!(matches!(waiter.await.unwrap(), LookAgain::Refreshing { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_the_request_calls_no_key_forged() {
    let stand = Stand::new();
    let (upstream, eu1) = started(&stand).await;
    upstream.cluster.behave(JWKS_PATH, Behaviour::Hang);
    stand.clock.advance(INTERVAL);
    let gate = eu1.keys.gate.as_ref().unwrap();
    let (of, at) = (Arc::clone(&eu1), stand.now());
    let first = tokio::spawn(async move { of.look_again(&kid("x"), at).await });
    until("asked", || upstream.cluster.requests(JWKS_PATH) == 2).await;
    stand.clock.advance(Lifetime::from_millis(500));
    let (of, at) = (Arc::clone(&eu1), stand.now());
    let later = tokio::spawn(async move { of.look_again(&kid("x"), at).await });
    until("both wait", || gate.waiting() == 2).await;
    gate.end(None);
    assert_eq!(first.await.unwrap(), LookAgain::NotThere);
    assert!(matches!(later.await.unwrap(), LookAgain::Refreshing { .. }));
}

#[tokio::test]
async fn files_cannot_be_asked() {
    let stand = Stand::new();
    let view = stand.trust.apply(&[cluster_file("eu1", &stand.write("eu1.json", jwks(&[&jwk("a")])))]);
    assert_eq!(source(&view, "eu1").look_again(&kid("x"), stand.now()).await, LookAgain::CannotBeAsked);
}
