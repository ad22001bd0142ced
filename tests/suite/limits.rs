//! Limits over real HTTP (TOK-29, design §7): who is too many hears so at once, and nobody else suffers.

use countersign::app::Reloaded;
use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::stage::{Answer, JWT_SPIFFE, Stage, eventually, standard_config};

/// The standard stage with that line about limits.
async fn limited(limits: &str) -> Stage {
    Stage::with(|world, issuer| format!("{}limits: {limits}\n", standard_config(world, issuer))).await
}

/// A refusal with its status, reason and `Retry-After`.
async fn refused(stage: &Stage, answer: &Answer, status: u16, reason: &str) -> String {
    assert_eq!((answer.status, answer.error()), (status, "temporarily_unavailable"), "{}", answer.text);
    assert_eq!(stage.reason(answer).await, reason);
    answer.headers["retry-after"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_29_an_identity_that_comes_too_often_is_told_when_to_come_back() {
    let stage = limited("{ per_identity: 2/s }").await;
    let (svid, pod) = (stage.svid(), stage.pod_token("eu1"));
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    // A refusal by policy counts as well: asking is not free.
    let vault = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", svid.as_str()), ("audience", "vault")];
    assert_eq!(stage.token(&vault).await.error(), "unauthorized_client");
    for answer in [stage.exchange_svid(&svid).await, stage.token(&vault).await] {
        assert_eq!(refused(&stage, &answer, 429, "rate_limited").await, "1");
        let record = stage.record(answer.body["error_ref"].as_str().unwrap()).await;
        assert_eq!((&record["source"], record.get("token")), (&"prod".into(), None), "it was verified: {record}");
        assert!(record["note"].as_str().unwrap().contains("2/s (limits.per_identity)"), "{record}");
    }
    assert_eq!(stage.exchange_pod(&pod).await.status, 200, "another identity has a cell of its own");
    assert_ne!(stage.exchange_svid("a.b.c").await.status, 429, "what is not verified is nobody's");
    stage.advance(Lifetime::from_millis(500)).await;
    assert_eq!(stage.exchange_svid(&svid).await.status, 200);
    assert_eq!(stage.exchange_svid(&svid).await.status, 429);
    assert_eq!(stage.app.exchange().metrics().count("deny", "rate_limited"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_below_one_in_a_second_says_how_long_it_takes() {
    let stage = limited("{ per_identity: 4/m }").await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    stage.advance(Lifetime::from_millis(2_500)).await;
    assert_eq!(refused(&stage, &stage.exchange_svid(&stage.svid()).await, 429, "rate_limited").await, "13");
    stage.advance(Lifetime::from_seconds(13)).await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_with_a_reload() {
    let stage = limited("{ per_identity: 1/m }").await;
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 429);
    let reloaded = stage.reconfigure(&standard_config(&stage.world, &stage.issuer)).await;
    assert!(matches!(&reloaded, Reloaded::Taken { at_next_start, .. } if at_next_start.is_empty()), "{reloaded:?}");
    for _ in 0..20 {
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tok_29_a_full_process_says_so_at_once_and_recovers() {
    let stage = limited("{ in_flight: 4 }").await;
    // Requests with an unknown key id wait for their source, which hangs: they hold the places. A first attempt that still ran would
    // count as the one in 30 s.
    eventually("every source has its keys", || stage.app.trust().status().iter().all(|source| source.keys > 0)).await;
    stage.cluster("eu1").behave_everywhere(Behaviour::Hang);
    stage.advance(Lifetime::from_seconds(31)).await;
    let unknown = stage.pod_forge("eu1").header("kid", "a-new-key").sign().unwrap().token();
    let mut held: FuturesUnordered<_> = (0..5).map(|_| stage.exchange_pod(&unknown)).collect();
    let fifth = held.next().await.unwrap();
    for full in [fifth, stage.exchange_svid(&stage.svid()).await] {
        assert_eq!(refused(&stage, &full, 503, "overloaded").await, "1");
        let record = stage.record(full.body["error_ref"].as_str().unwrap()).await;
        assert!(record.get("source").is_none(), "before any work: {record}");
    }
    // The second that they may wait.
    stage.advance(Lifetime::from_seconds(2)).await;
    let held: Vec<Answer> = held.collect().await;
    assert!(held.iter().all(|answer| answer.status == 503), "{held:?}");
    for answer in &held {
        assert_ne!(stage.reason(answer).await, "overloaded", "they had places");
    }
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "they left");
    eventually("it is counted", || stage.app.exchange().metrics().count("deny", "overloaded") >= 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_half_of_the_places_are_taken_everybody_is_still_served() {
    let stage = limited("{ in_flight: 8 }").await;
    stage.cluster("eu1").behave_everywhere(Behaviour::Hang);
    stage.advance(Lifetime::from_seconds(31)).await;
    let unknown = stage.pod_forge("eu1").header("kid", "a-new-key").sign().unwrap().token();
    let waiting = futures_util::future::join_all((0..7).map(|_| stage.exchange_pod(&unknown)));
    let meanwhile = async {
        for _ in 0..20 {
            assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "an eighth is one at a time");
        }
        stage.advance(Lifetime::from_seconds(2)).await;
    };
    let (held, ()) = tokio::join!(waiting, meanwhile);
    assert!(held.iter().all(|answer| answer.status == 503));
}
