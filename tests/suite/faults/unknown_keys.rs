//! Key ids, issuers and key locations that strangers choose: how many requests of ours they can cause.

use std::collections::BTreeMap;

use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use countersign::world::cluster::JWKS_PATH;
use countersign::world::keys::Algorithm;
use countersign::world::spiffe_agent::Rpc;

use super::{INTERVAL, Nobody, flood, refused, retry_after, status, within};
use crate::stage::{Answer, JWT_BEARER, JWT_SPIFFE, Stage};

/// A pod token under a key id that nobody has; its signature is none.
fn unknown_kid(stage: &Stage, number: usize) -> String {
    let forge = stage.pod_forge("eu1").header("kid", format!("nobody-{number}"));
    forge.unsigned().with_signature(&[7; 256]).token()
}

fn by_status(answers: &[Answer]) -> BTreeMap<(u16, String), usize> {
    let mut counted = BTreeMap::new();
    for answer in answers {
        *counted.entry((answer.status, answer.error().to_owned())).or_default() += 1;
    }
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_a_thousand_unknown_key_ids_are_one_request_a_source_and_interval() {
    let stage = Stage::standard().await;
    let fetches = || stage.world.clusters().each_ref().map(|cluster| cluster.requests(JWKS_PATH));
    let before = fetches();
    // Counted from the last attempt of any kind: the start's was just now.
    let inside = flood(&stage, JWT_BEARER, (0..200).map(|n| unknown_kid(&stage, n)).collect()).await;
    let refreshing = (503, "temporarily_unavailable".to_owned());
    assert_eq!(by_status(&inside), BTreeMap::from([(refreshing.clone(), 200)]));
    assert!(inside.iter().all(|answer| (1..=30).contains(&retry_after(answer))));
    assert_eq!(fetches(), before, "inside the interval nobody is asked");
    for round in 1..=3 {
        stage.advance(INTERVAL).await;
        let answers = flood(&stage, JWT_BEARER, (0..1000).map(|n| unknown_kid(&stage, n)).collect()).await;
        assert_eq!(fetches(), before.map(|count| count + round), "JWK-13: one request a source and interval");
        let counted = by_status(&answers);
        let forged = counted.get(&(400, "invalid_client".to_owned())).copied().unwrap_or_default();
        let come_again = counted.get(&refreshing).copied().unwrap_or_default();
        assert_eq!(forged + come_again, 1000, "{counted:?}");
        assert!(forged > 0, "who waited for the answer is told: {counted:?}");
        // Who has a good key never noticed.
        assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200);
        assert_eq!(stage.exchange_pod(&stage.pod_token("edge-2")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_a_refresh_that_fails_counts_too_and_is_not_the_callers_fault() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    eu1.behave(JWKS_PATH, Behaviour::Status(500));
    let before = eu1.requests(JWKS_PATH);
    stage.advance(INTERVAL).await;
    let answer = stage.exchange_pod(&unknown_kid(&stage, 0)).await;
    refused(&stage, &answer, 503, "keys_unreachable").await;
    assert!(retry_after(&answer) > 0);
    assert_eq!(eu1.requests(JWKS_PATH), before + 1);
    let answers = flood(&stage, JWT_BEARER, (0..200).map(|n| unknown_kid(&stage, n)).collect()).await;
    assert!(answers.iter().all(|answer| answer.status == 503), "{:?}", by_status(&answers));
    assert_eq!(eu1.requests(JWKS_PATH), before + 1, "JWK-13: counted from the last attempt, not from the last success");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_many_callers_with_one_new_key_cause_one_request_and_are_all_granted() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    stage.advance(INTERVAL).await;
    eu1.rotate(Algorithm::ES256).unwrap();
    let before = eu1.requests(JWKS_PATH);
    let answers = flood(&stage, JWT_BEARER, (0..50).map(|_| stage.pod_token("eu1")).collect()).await;
    assert_eq!(by_status(&answers), BTreeMap::from([((200, String::new()), 50)]));
    assert_eq!(eu1.requests(JWKS_PATH), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sca_26_an_unknown_issuer_causes_no_request_at_all() {
    let stage = Stage::standard().await;
    let nobody = Nobody::on("127.0.0.1").await;
    stage.advance(INTERVAL).await;
    let count = || {
        let calls = stage.world.agent().calls(Rpc::FetchJwtBundles);
        (calls, stage.world.clusters().each_ref().map(|cluster| cluster.all_requests()))
    };
    let before = count();
    let evil = format!("https://{}", nobody.address);
    let pods =
        |n: usize| stage.pod_forge("eu1").claim("iss", format!("{evil}/{n}")).unsigned().with_signature(&[7; 64]);
    let answers = flood(&stage, JWT_BEARER, (0..500).map(|n| pods(n).token()).collect()).await;
    assert_eq!(by_status(&answers), BTreeMap::from([((400, "invalid_client".to_owned()), 500)]));
    refused(&stage, &answers[0], 400, "source_unknown").await;
    // A trust domain that nobody configured, and an `iss` in an SVID that leads somewhere.
    let lifetime = Lifetime::from_minutes(5);
    let svids = |n: usize| {
        let sub = format!("spiffe://evil-{n}.example/ns/shop/sa/api");
        stage.world.trust_domain().forge(&sub, &[&stage.issuer], lifetime).claim("iss", evil.clone()).sign().unwrap()
    };
    let answers = flood(&stage, JWT_SPIFFE, (0..500).map(|n| svids(n).token()).collect()).await;
    assert_eq!(by_status(&answers), BTreeMap::from([((400, "invalid_client".to_owned()), 500)]));
    refused(&stage, &answers[0], 400, "source_unknown").await;
    assert_eq!(nobody.calls(), 0, "SCA-26");
    assert_eq!(count(), before, "SCA-26: nobody else is asked either");
}

#[tokio::test(flavor = "multi_thread")]
async fn jose_06_key_locations_in_a_header_are_never_visited() {
    let stage = Stage::standard().await;
    let nobody = Nobody::on("127.0.0.1").await;
    let (https, http) = (format!("https://{}/keys", nobody.address), format!("http://{}/keys", nobody.address));
    stage.advance(INTERVAL).await;
    for member in ["jku", "x5u"] {
        for url in [&https, &http] {
            // By a good key, and by one that only that place could have.
            let good = stage.pod_forge("eu1").header(member, url.as_str()).sign().unwrap().token();
            refused(&stage, &stage.exchange_pod(&good).await, 400, "algorithm_refused").await;
            let svid = stage.svid_forge().header(member, url.as_str()).header("kid", "theirs").sign().unwrap().token();
            refused(&stage, &stage.exchange_svid(&svid).await, 400, "algorithm_refused").await;
        }
    }
    assert_eq!(nobody.calls(), 0, "JOSE-06");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_a_stream_is_not_asked_for_unknown_key_ids() {
    let stage = Stage::standard().await;
    stage.advance(INTERVAL).await;
    let calls = stage.world.agent().calls(Rpc::FetchJwtBundles);
    let forged = |n: usize| stage.svid_forge().header("kid", format!("nobody-{n}")).unsigned().with_signature(&[7; 64]);
    let answers = flood(&stage, JWT_SPIFFE, (0..300).map(|n| forged(n).token()).collect()).await;
    assert_eq!(by_status(&answers), BTreeMap::from([((400, "invalid_client".to_owned()), 300)]));
    refused(&stage, &answers[0], 400, "key_unknown").await;
    assert_eq!(stage.world.agent().calls(Rpc::FetchJwtBundles), calls);
    within(10, "the source is well", || status(&stage, "prod").last_error.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_13_a_minute_of_junk_over_every_source_costs_two_requests_each_and_no_good_caller() {
    let stage = Stage::standard().await;
    let fetches = || stage.world.clusters().each_ref().map(|cluster| cluster.requests(JWKS_PATH));
    let before = fetches();
    let calls = stage.world.agent().calls(Rpc::FetchJwtBundles);
    for second in 0..60 {
        let pods = (0..40).map(|n| unknown_kid(&stage, second * 40 + n)).collect();
        let svids = (0..20).map(|n| stage.svid_forge().header("kid", format!("nobody-{second}-{n}")));
        let svids = svids.map(|forge| forge.unsigned().with_signature(&[7; 64]).token()).collect();
        let answers =
            tokio::join!(flood(&stage, JWT_BEARER, pods), flood(&stage, JWT_SPIFFE, svids), good_callers(&stage));
        assert!(answers.0.iter().chain(&answers.1).all(|answer| matches!(answer.status, 400 | 503)));
        assert_eq!(answers.2, [200; 3], "second {second}: every good caller is granted");
        stage.advance(Lifetime::from_seconds(1)).await;
    }
    for (before, after) in before.into_iter().zip(fetches()) {
        assert!((before + 1..=before + 2).contains(&after), "JWK-13: {before} requests, then {after}");
    }
    assert_eq!(stage.world.agent().calls(Rpc::FetchJwtBundles), calls);
}

async fn good_callers(stage: &Stage) -> [u16; 3] {
    let (svid, one, two) = (stage.svid(), stage.pod_token("eu1"), stage.pod_token("edge-2"));
    let answers = tokio::join!(stage.exchange_svid(&svid), stage.exchange_pod(&one), stage.exchange_pod(&two));
    [answers.0.status, answers.1.status, answers.2.status]
}
