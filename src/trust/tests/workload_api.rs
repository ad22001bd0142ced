//! Bundles from an agent.

use super::super::LookAgain;
use super::*;
use crate::world::Surroundings;
use crate::world::spiffe_agent::{Answer, PretendTrustDomain, Rpc, WorkloadApi};

const PROD: &str = "prod.example";

fn pretend(name: &str) -> PretendTrustDomain {
    PretendTrustDomain::new(name, &Surroundings::system()).unwrap()
}

async fn agent(stand: &Stand, domain: &PretendTrustDomain) -> WorkloadApi {
    WorkloadApi::start(stand.path("agent.sock"), domain, &stand.stop).await.unwrap()
}

fn streamed(stand: &Stand, name: &str, trust_domain: &str) -> SourceSettings {
    domain(name, trust_domain, SpiffeKeys::WorkloadApi(format!("unix:{}", stand.path("agent.sock").display())))
}

fn active(domain: &PretendTrustDomain) -> String {
    domain.active_key().kid().to_owned()
}

/// A source `prod` that has the key of its agent.
async fn started(stand: &Stand) -> (WorkloadApi, Arc<TrustedSource>) {
    let api = agent(stand, &pretend(PROD)).await;
    let view = stand.trust.apply(&[streamed(stand, "prod", PROD)]);
    stand.trust.first_attempts().await;
    let prod = source(&view, "prod");
    assert_eq!(key_ids(&prod, stand.now()), ids(&[&active(api.domain())]));
    (api, prod)
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_06_each_message_is_the_whole_truth() {
    let stand = Stand::new();
    let (home, partner) = (pretend(PROD), pretend("partner.example"));
    let api = agent(&stand, &home).await;
    api.federate(&partner);
    let view = stand.trust.apply(&[streamed(&stand, "prod", PROD), streamed(&stand, "partner", "partner.example")]);
    stand.trust.first_attempts().await;
    let (prod, theirs) = (source(&view, "prod"), source(&view, "partner"));
    assert_eq!(key_ids(&prod, stand.now()), ids(&[&active(&home)]), "JSV-10: not the partner's");
    assert_eq!(key_ids(&theirs, stand.now()), ids(&[&active(&partner)]));
    assert_eq!(api.calls(Rpc::FetchJwtBundles), 1, "one shared stream");
    assert_eq!(api.calls_without_header(), 0, "WAP-01");
    let old = active(&home);
    let new = home.rotate(Algorithm::ES256).unwrap();
    until("rotated", || key_ids(&prod, stand.now()) == ids(&[&old, new.kid()])).await;
    api.unfederate("partner.example");
    until("withdrawn", || key_ids(&theirs, stand.now()) == ids(&[])).await;
    assert_eq!(theirs.look_again(&kid("x"), stand.now()).await, LookAgain::CannotBeAsked);
    // A source that comes later, for the same agent, hears at once what is known.
    let more = [streamed(&stand, "prod", PROD), streamed(&stand, "third", "partner.example")];
    api.federate(&partner);
    let view = stand.trust.apply(&more);
    stand.trust.first_attempts().await;
    until("known", || key_ids(&source(&view, "third"), stand.now()) == ids(&[&active(&partner)])).await;
    assert_eq!(api.calls(Rpc::FetchJwtBundles), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_confirms_and_a_lost_one_refuses_nobody() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    let known = ids(&[&active(api.domain())]);
    for _ in 0..3 {
        let calls = api.calls(Rpc::FetchJwtBundles);
        stand.clock.advance(Lifetime::from_hours(20));
        let alive = || {
            assert_eq!(prod.keys_at(stand.now()).unwrap().confirmed_at, stand.now());
            stand.clock.advance(Lifetime::from_minutes(1));
            api.calls(Rpc::FetchJwtBundles) > calls
        };
        until("a sign of life", alive).await;
    }
    let lost = stand.now();
    api.stop().await;
    until("noticed", || stand.status("prod").last_error.is_some()).await;
    stand.clock.advance(Lifetime::from_minutes(10));
    let now = prod.keys_at(stand.now()).unwrap();
    assert_eq!(now.confirmed_at, lost, "the age counts from when it was last open");
    assert_eq!(key_ids(&prod, stand.now()), known);
    assert_eq!(key_ids(&prod, lost.plus(Lifetime::from_hours(25))), None);
    api.start_again().await.unwrap();
    stand.through_attempts("prod", "back", || stand.status("prod").last_error.is_none()).await;
    assert_eq!(key_ids(&prod, stand.now()), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_14_the_socket_may_appear_after_the_start() {
    let stand = Stand::new();
    let view = stand.trust.apply(&[streamed(&stand, "prod", PROD)]);
    stand.trust.first_attempts().await;
    let prod = source(&view, "prod");
    assert_eq!(key_ids(&prod, stand.now()), None);
    assert!(stand.status("prod").last_error.unwrap().contains("cannot be reached"));
    let api = agent(&stand, &pretend(PROD)).await;
    stand.through_attempts("prod", "there", || key_ids(&prod, stand.now()) == ids(&[&active(api.domain())])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_comes_between_attempts_knows_when_the_next_one_is() {
    let stand = Stand::new();
    let prod = streamed(&stand, "prod", PROD);
    stand.trust.apply(std::slice::from_ref(&prod));
    until("an attempt is planned", || stand.status("prod").next_attempt.is_some()).await;
    stand.trust.apply(&[prod, streamed(&stand, "partner", "partner.example")]);
    stand.trust.first_attempts().await;
    assert_eq!(stand.status("partner").next_attempt, stand.status("prod").next_attempt);
    assert!(stand.status("partner").next_attempt.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_07_and_c_15_messages_that_say_nothing_are_dropped() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    let known = ids(&[&active(api.domain())]);
    api.answer(Answer::NoBundles);
    until("reported", || stand.status("prod").last_error.is_some_and(|why| why.contains("without any bundle"))).await;
    assert_eq!(key_ids(&prod, stand.now()), known);
    stand.clock.advance(Lifetime::from_hours(25));
    assert_eq!(key_ids(&prod, stand.now()), None, "such a stream confirms nothing");
    api.answer(Answer::Truth);
    until("well again", || key_ids(&prod, stand.now()) == known).await;
    // The crate refuses a message in which any key has no kid.
    api.send_also("spiffe://partner.example", Some(br#"{"keys":[{"kty":"EC"}]}"#.to_vec()));
    until("reported", || stand.status("prod").last_error.is_some_and(|why| why.contains("was dropped"))).await;
    assert_eq!(key_ids(&prod, stand.now()), known);
    // Keys that are odd in another way cost themselves alone (JWK-08).
    api.send_also("spiffe://partner.example", None);
    api.domain().publish_extra(crate::world::keys::odd_key());
    until("well again", || stand.status("prod").skipped == 1).await;
    assert_eq!(key_ids(&prod, stand.now()), known);
    api.domain().publish_empty(true);
    until("BUN-02", || key_ids(&prod, stand.now()) == ids(&[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_permission_denied_withdraws_after_sixty_seconds() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    let known = ids(&[&active(api.domain())]);
    let denied = stand.now();
    api.answer(Answer::PermissionDenied);
    until("denied", || stand.status("prod").last_error.is_some_and(|why| why.contains("PERMISSION_DENIED"))).await;
    let end = denied.plus(Lifetime::from_seconds(60));
    assert_eq!(key_ids(&prod, end.minus(Lifetime::from_millis(1))), known);
    assert_eq!(key_ids(&prod, end), ids(&[]));
    // Being denied again does not buy more time.
    stand.through_attempts("prod", "given up", || stand.now() > end && key_ids(&prod, denied) == ids(&[])).await;
    let kept = stand.path("state/keys/prod.json");
    until("kept", || std::fs::read_to_string(&kept).is_ok_and(|text| text.starts_with("{\"keys\":[]"))).await;
    api.answer(Answer::Truth);
    stand.through_attempts("prod", "registered again", || key_ids(&prod, stand.now()) == known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_a_restart_does_not_bring_withdrawn_keys_back() {
    let mut stand = Stand::new();
    let (api, _prod) = started(&stand).await;
    let settings = [streamed(&stand, "prod", PROD)];
    until("kept", || stand.path("state/keys/prod.json").exists()).await;
    api.answer(Answer::PermissionDenied);
    until("denied", || stand.status("prod").last_error.is_some()).await;
    let kept = || std::fs::read_to_string(stand.path("state/keys/prod.json")).unwrap();
    stand.through_attempts("prod", "given up", || stand.status("prod").keys == 0).await;
    until("given up in the file too", || kept().starts_with("{\"keys\":[]")).await;
    api.stop().await;
    stand.restart().await;
    let view = stand.trust.apply(&settings);
    assert_eq!(key_ids(&source(&view, "prod"), stand.now()), ids(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_a_restart_within_the_grace_does_not_lengthen_it() {
    let mut stand = Stand::new();
    let (api, _prod) = started(&stand).await;
    let settings = [streamed(&stand, "prod", PROD)];
    let known = ids(&[&active(api.domain())]);
    let kept = |stand: &Stand| std::fs::read_to_string(stand.path("state/keys/prod.json")).unwrap_or_default();
    until("kept", || !kept(&stand).is_empty()).await;
    let end = stand.now().plus(Lifetime::from_seconds(60));
    api.answer(Answer::PermissionDenied);
    until("its end is kept", || kept(&stand).contains("\"ends\"")).await;
    let with_end = kept(&stand);
    api.stop().await;
    stand.restart().await;
    let prod = source(&stand.trust.apply(&settings), "prod");
    assert_eq!(key_ids(&prod, end.minus(Lifetime::from_millis(1))), known);
    assert_eq!(key_ids(&prod, end), ids(&[]));
    stand.restart().await;
    for spoiled in ["\"ends\":7,\"was\"", "\"ends\":\"soon\",\"was\""] {
        stand.write("state/keys/prod.json", with_end.replace("\"ends\"", spoiled));
        let prod = source(&stand.trust.apply(&settings), "prod");
        assert_eq!(key_ids(&prod, stand.now()), None, "{spoiled}");
        stand.restart().await;
    }
    stand.write("state/keys/prod.json", &with_end);
    let api = agent(&stand, &pretend(PROD)).await;
    let prod = source(&stand.trust.apply(&settings), "prod");
    stand.trust.first_attempts().await;
    assert_eq!(key_ids(&prod, end), ids(&[&active(api.domain())]), "registered again");
    until("the end is gone from the file", || !kept(&stand).contains("\"ends\"")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_delays_no_sign_of_life() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    let kept = || std::fs::read_to_string(stand.path("state/keys/prod.json")).unwrap_or_default();
    until("kept", || kept().contains("confirmed_at")).await;
    stand.clock.step_back(Lifetime::from_hours(24));
    assert!(key_ids(&prod, stand.now()).is_some(), "the stream is open");
    stand.clock.advance(Lifetime::from_minutes(1));
    until("kept again", || kept().contains(&stand.now().to_rfc3339())).await;
    assert_eq!(api.calls(Rpc::FetchJwtBundles), 1);
    stand.clock.advance(Lifetime::from_minutes(4));
    until("asked", || api.calls(Rpc::FetchJwtBundles) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_a_registration_that_comes_back_in_time_costs_nothing() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    let known = ids(&[&active(api.domain())]);
    api.answer(Answer::PermissionDenied);
    until("denied", || stand.status("prod").last_error.is_some()).await;
    api.answer(Answer::Truth);
    stand.through_attempts("prod", "back", || stand.status("prod").last_error.is_none()).await;
    assert_eq!(key_ids(&prod, stand.now().plus(Lifetime::from_minutes(5))), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_08_unavailable_is_retried_and_invalid_argument_is_not() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    api.answer(Answer::Unavailable);
    until("down", || stand.status("prod").last_error.is_some_and(|why| why.contains("unavailable"))).await;
    let calls = api.calls(Rpc::FetchJwtBundles);
    for _ in 0..3 {
        stand.to_next_attempt("prod").await;
        let attempts = stand.status("prod").outbound_attempts;
        until("tried", || stand.status("prod").outbound_attempts > attempts || api.calls(Rpc::FetchJwtBundles) > calls)
            .await;
    }
    assert!(key_ids(&prod, stand.now()).is_some());
    drop(api);

    let stand = Stand::new();
    let listener = tokio::net::UnixListener::bind(stand.path("agent.sock")).unwrap();
    let counter = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&counter);
    let refusing = axum::Router::new().fallback(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async { [("content-type", "application/grpc"), ("grpc-status", "3"), ("grpc-message", "no")] }
    });
    tokio::spawn(async move { axum::serve(listener, refusing).await });
    let asked = || counter.load(std::sync::atomic::Ordering::SeqCst);
    let settings = [streamed(&stand, "prod", PROD)];
    stand.trust.apply(&settings);
    stand.trust.first_attempts().await;
    let status = stand.status("prod");
    assert!(status.last_error.unwrap().contains("not asked again before the next reload"));
    stand.clock.advance(Lifetime::from_hours(1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    // One stream of JWT bundles and one of X.509 bundles.
    assert_eq!((asked(), stand.status("prod").next_attempt), (2, None));
    stand.trust.apply(&settings);
    until("asked again", || asked() == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_15_a_message_over_the_limit_keeps_the_last_good_keys() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    let known = ids(&[&active(api.domain())]);
    let filler = "x".repeat(5 * 1024 * 1024);
    api.send_also("spiffe://big.example", Some(format!(r#"{{"keys":[],"f":"{filler}"}}"#).into_bytes()));
    until("refused", || stand.status("prod").last_error.is_some_and(|why| why.contains("message length"))).await;
    assert_eq!(key_ids(&prod, stand.now()), known);
    assert_eq!(key_ids(&prod, stand.now().plus(Lifetime::from_hours(25))), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_ends_when_it_is_told_to() {
    let stand = Stand::new();
    let (api, prod) = started(&stand).await;
    stand.trust.apply(&[]);
    // The older view keeps its keys, which nobody confirms any more.
    assert_eq!(key_ids(&prod, stand.now()), ids(&[&active(api.domain())]));
    assert_eq!(key_ids(&prod, stand.now().plus(Lifetime::from_hours(25))), None);
    stand.trust.apply(&[streamed(&stand, "prod", PROD)]);
    stand.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), stand.trust.ended()).await.unwrap();
}
