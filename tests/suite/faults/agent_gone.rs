//! An agent that is gone, comes late, says no, or says never: who is refused, when, and what is said about it.

use countersign::clock::Lifetime;
use countersign::world::spiffe_agent::{Answer, Rpc};

use super::{next_attempt, refused, retry_after, shown, status, within};
use crate::stage::{API, Stage, standard_config};

/// The standard configuration with one hour of `max_stale` for the trust domain.
async fn stale_after_an_hour() -> Stage {
    Stage::with(|world, issuer| {
        standard_config(world, issuer).replacen("  - name: eu1", "    max_stale: 1h\n  - name: eu1", 1)
    })
    .await
}

async fn granted(stage: &Stage) {
    let answer = stage.exchange_svid(&stage.svid()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.claims()["sub"], API);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_an_agent_that_is_gone_refuses_nobody_until_max_stale() {
    let stage = stale_after_an_hour().await;
    stage.world.agent().stop().await;
    within(10, "the end of the stream is noticed", || status(&stage, "prod").last_error.is_some()).await;
    for _ in 0..10 {
        stage.advance(Lifetime::from_minutes(1)).await;
        granted(&stage).await;
    }
    let source = shown(&stage, "prod").await;
    assert_eq!(source["key_age_seconds"], 600, "the age is counted from the end of the stream");
    assert!(source["last_error"].as_str().unwrap().contains("cannot be reached"), "{source}");
    stage.advance(Lifetime::from_minutes(50)).await;
    granted(&stage).await;
    stage.advance(Lifetime::from_seconds(1)).await;
    let answer = stage.exchange_svid(&stage.svid()).await;
    refused(&stage, &answer, 503, "keys_stale").await;
    assert_eq!(answer.error(), "temporarily_unavailable");
    assert!((1..=60).contains(&retry_after(&answer)));
    let pod = stage.exchange_pod(&stage.pod_token("eu1")).await;
    assert_eq!(pod.status, 200, "another source's callers are not concerned: {}", pod.text);
    // It heals by itself.
    stage.world.agent().start_again().await.unwrap();
    next_attempt(&stage, "prod").await;
    within(10, "all is well again", || status(&stage, "prod").last_error.is_none()).await;
    granted(&stage).await;
    assert_eq!(stage.world.agent().calls_without_header(), 0, "WAP-01");
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_14_sca_29_the_agent_may_come_after_the_start() {
    let mut stage = Stage::standard().await;
    stage.app.stop().await;
    stage.world.agent().stop().await;
    std::fs::remove_dir_all(stage.directory.path().join("state")).unwrap();
    stage.restart().await;
    within(10, "the first attempts have ended", || {
        stage.app.trust().status().iter().all(|source| source.refreshes_ok + source.refreshes_failed > 0)
    })
    .await;
    let answer = stage.exchange_svid(&stage.svid()).await;
    refused(&stage, &answer, 503, "keys_unreachable").await;
    assert!(retry_after(&answer) > 0, "WAP-14, SCA-29");
    stage.app.ready().await;
    let ready = stage.admin("/readyz").await;
    assert_eq!(ready.status, 200, "a source that is down is shown, not waited for");
    let source = shown(&stage, "prod").await;
    assert_eq!((&source["keys"], &source["key_age_seconds"]), (&0.into(), &serde_json::Value::Null));
    assert!(source["last_error"].as_str().unwrap().contains("cannot be reached"), "{source}");
    stage.world.agent().start_again().await.unwrap();
    next_attempt(&stage, "prod").await;
    within(10, "the source has keys", || status(&stage, "prod").keys > 0).await;
    granted(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_never_answers_holds_readiness_back_for_five_seconds() {
    let mut stage = Stage::standard().await;
    stage.app.stop().await;
    std::fs::remove_dir_all(stage.directory.path().join("state")).unwrap();
    stage.cluster("eu1").behave_everywhere(countersign::world::Behaviour::Hang);
    stage.restart().await;
    within(10, "the others have answered", || status(&stage, "prod").keys > 0 && status(&stage, "edge-2").keys > 0)
        .await;
    let early = stage.admin("/readyz").await;
    assert_eq!(early.status, 503, "{}", early.text);
    assert_eq!(early.body["waiting_for"], serde_json::json!(["first attempt of each source"]));
    granted(&stage).await;
    stage.advance(Lifetime::from_seconds(5)).await;
    stage.app.ready().await;
    assert_eq!(stage.admin("/readyz").await.status, 200, "ready after 5 s (design §4)");
    refused(&stage, &stage.exchange_pod(&stage.pod_token("eu1")).await, 503, "keys_unreachable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_permission_denied_withdraws_after_sixty_seconds() {
    let stage = Stage::standard().await;
    stage.world.agent().answer(Answer::PermissionDenied);
    within(10, "the refusal is noticed", || status(&stage, "prod").last_error.is_some()).await;
    let why = shown(&stage, "prod").await["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("PERMISSION_DENIED") && why.contains("register this process"), "{why}");
    granted(&stage).await;
    stage.advance(Lifetime::from_seconds(59)).await;
    granted(&stage).await;
    stage.advance(Lifetime::from_seconds(1)).await;
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 400, "key_unknown").await;
    // Being refused again gives no further minute.
    next_attempt(&stage, "prod").await;
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 400, "key_unknown").await;
    stage.world.agent().answer(Answer::Truth);
    next_attempt(&stage, "prod").await;
    within(10, "all is well again", || status(&stage, "prod").last_error.is_none()).await;
    granted(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_an_agent_that_forgets_for_a_moment_costs_nobody_anything() {
    let stage = Stage::standard().await;
    stage.world.agent().answer(Answer::PermissionDenied);
    within(10, "the refusal is noticed", || status(&stage, "prod").last_error.is_some()).await;
    stage.advance(Lifetime::from_seconds(30)).await;
    stage.world.agent().answer(Answer::Truth);
    within(10, "the stream is open again", || {
        stage.clock.advance(Lifetime::from_millis(1));
        status(&stage, "prod").last_error.is_none()
    })
    .await;
    for _ in 0..5 {
        stage.advance(Lifetime::from_minutes(1)).await;
        granted(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_08_invalid_argument_is_not_asked_again_before_a_reload() {
    let stage = Stage::standard().await;
    stage.world.agent().answer(Answer::InvalidArgument);
    within(10, "the answer is noticed", || status(&stage, "prod").last_error.is_some()).await;
    let calls = stage.world.agent().calls(Rpc::FetchJwtBundles);
    for _ in 0..20 {
        stage.advance(Lifetime::from_minutes(3)).await;
        granted(&stage).await;
    }
    assert_eq!(stage.world.agent().calls(Rpc::FetchJwtBundles), calls, "WAP-08: not retried");
    let source = shown(&stage, "prod").await;
    assert_eq!(source["next_attempt"], serde_json::Value::Null);
    assert!(source["last_error"].as_str().unwrap().contains("not asked again before the next reload"), "{source}");
    stage.world.agent().answer(Answer::Truth);
    let config = standard_config(&stage.world, &stage.issuer);
    stage.reconfigure(&config.replace("owner: team-commerce", "owner: team-shop")).await;
    within(10, "a reload asks again", || status(&stage, "prod").last_error.is_none()).await;
    granted(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_05_wap_08_unavailable_is_asked_again_with_growing_waits() {
    let stage = Stage::standard().await;
    stage.world.agent().answer(Answer::Unavailable);
    within(10, "the answer is noticed", || status(&stage, "prod").next_attempt.is_some()).await;
    let mut calls = stage.world.agent().calls(Rpc::FetchJwtBundles);
    for attempt in 0..10 {
        let wait = status(&stage, "prod").next_attempt.unwrap();
        next_attempt(&stage, "prod").await;
        let now = stage.world.agent().calls(Rpc::FetchJwtBundles);
        assert_eq!(now, calls + 1, "attempt {attempt}: one call a wait");
        calls = now;
        within(10, "another attempt is planned", || {
            status(&stage, "prod").next_attempt.is_some_and(|next| next > wait)
        })
        .await;
    }
    granted(&stage).await;
    let last = status(&stage, "prod");
    let wait = last.next_attempt.unwrap().since(last.last_attempt.unwrap());
    assert!(wait >= Lifetime::from_seconds(5) && wait <= Lifetime::from_seconds(10), "WAP-17: {wait:?}");
}
