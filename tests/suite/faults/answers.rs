//! Every way in which an API server can fail to give keys: what becomes of callers, and how often it is asked.

use std::time::Duration;

use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use countersign::world::cluster::JWKS_PATH;

use super::{INTERVAL, Nobody, begin_attempt, next_attempt, refused, retry_after, shown, status, within};
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_jwk_15_a_bad_answer_keeps_the_last_good_keys_and_is_asked_once() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    let elsewhere = Nobody::on("127.0.0.1").await;
    let redirect = format!("https://{}/keys", elsewhere.address);
    let metadata = String::from("http://169.254.169.254/latest/meta-data/");
    let bodies = |text: &str| Behaviour::Body(text.as_bytes().to_vec());
    for (behaviour, says) in [
        (Behaviour::Status(500), "500 instead of 200"),
        (Behaviour::Status(204), "204 instead of 200"),
        (Behaviour::Status(403), "403: our token's account may not read this"),
        (Behaviour::Redirect(redirect), "redirects are not followed"),
        (Behaviour::Redirect(metadata), "redirects are not followed"),
        (Behaviour::Huge, "more than 1048576 bytes"),
        (Behaviour::Garbage, "is no key set"),
        (bodies(""), "is no key set"),
        (bodies("{}"), "is no key set"),
        (bodies("[]"), "is no key set"),
        (bodies("{\"keys\":{}}"), "is no key set"),
        (bodies("{\"keys\":[]} {}"), "is no key set"),
        (bodies("{\"keys\":[],\"keys\":[]}"), "is no key set"),
    ] {
        let asked = eu1.requests(JWKS_PATH);
        eu1.behave(JWKS_PATH, behaviour.clone());
        next_attempt(&stage, "eu1").await;
        let why = shown(&stage, "eu1").await["last_error"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains(says), "{behaviour:?}: {why}");
        assert_eq!(eu1.requests(JWKS_PATH), asked + 1, "{behaviour:?}");
        let answer = stage.exchange_pod(&stage.pod_token("eu1")).await;
        assert_eq!(answer.status, 200, "{behaviour:?}: {}", answer.text);
        eu1.behave_well();
        next_attempt(&stage, "eu1").await;
        assert_eq!(status(&stage, "eu1").last_error, None, "{behaviour:?}");
    }
    assert_eq!(elsewhere.calls(), 0, "JWK-14: no redirect is followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_an_answer_that_never_comes_or_drips_ends_after_ten_seconds() {
    let stage = Stage::standard().await;
    let (eu1, edge) = (stage.cluster("eu1"), stage.cluster("edge-2"));
    eu1.behave(JWKS_PATH, Behaviour::Hang);
    edge.behave(JWKS_PATH, Behaviour::Drip);
    let asked = (eu1.requests(JWKS_PATH), edge.requests(JWKS_PATH));
    let (one, two) = (begin_attempt(&stage, "eu1").await, begin_attempt(&stage, "edge-2").await);
    within(10, "both are asked", || eu1.requests(JWKS_PATH) > asked.0 && edge.requests(JWKS_PATH) > asked.1).await;
    // Meanwhile nobody with a known key waits.
    for cluster in ["eu1", "edge-2"] {
        let exchange = stage.pod_token(cluster);
        let answer = tokio::time::timeout(Duration::from_secs(3), stage.exchange_pod(&exchange)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    one.ended(&stage, 14).await;
    two.ended(&stage, 14).await;
    for cluster in ["eu1", "edge-2"] {
        let why = shown(&stage, cluster).await["last_error"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains("no whole answer within 10 s"), "{cluster}: {why}");
        assert_eq!(stage.exchange_pod(&stage.pod_token(cluster)).await.status, 200, "last good keys serve");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_source_makes_a_caller_wait_for_one_second_and_no_longer() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    stage.advance(INTERVAL).await;
    eu1.rotate(countersign::world::keys::Algorithm::ES256).unwrap();
    let asked = eu1.requests(JWKS_PATH);
    eu1.behave(JWKS_PATH, Behaviour::Slow(Lifetime::from_seconds(4)));
    let new = stage.pod_token("eu1");
    let waiting = stage.exchange_pod(&new);
    tokio::pin!(waiting);
    tokio::select! {
        answer = &mut waiting => panic!("it did not wait: {}", answer.text),
        () = within(10, "the source is asked", || eu1.requests(JWKS_PATH) > asked) => {}
    }
    let answer = tokio::select! {
        answer = &mut waiting => answer,
        () = async {
            // The waiter's second is counted from when it began to wait, which is no later than now.
            stage.advance(Lifetime::from_seconds(1)).await;
            std::future::pending().await
        } => unreachable!(),
    };
    refused(&stage, &answer, 503, "keys_refreshing").await;
    assert!(retry_after(&answer) >= 1);
    stage.advance(Lifetime::from_seconds(3)).await;
    within(10, "the slow answer has come", || status(&stage, "eu1").keys == 2).await;
    assert_eq!(stage.exchange_pod(&new).await.status, 200, "and then the key is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn sca_29_before_its_first_good_answer_a_cluster_is_unavailable_not_its_callers_wrong() {
    let mut stage = Stage::standard().await;
    for behaviour in [Behaviour::Status(500), Behaviour::Garbage, Behaviour::Huge] {
        stage.app.stop().await;
        std::fs::remove_dir_all(stage.directory.path().join("state")).unwrap();
        stage.cluster("eu1").behave(JWKS_PATH, behaviour.clone());
        stage.restart().await;
        stage.app.ready().await;
        within(10, "the other cluster is known", || status(&stage, "edge-2").keys > 0).await;
        let answer = stage.exchange_pod(&stage.pod_token("eu1")).await;
        refused(&stage, &answer, 503, "keys_unreachable").await;
        assert!(retry_after(&answer) > 0, "{behaviour:?}");
        let edge = stage.exchange_pod(&stage.pod_token("edge-2")).await;
        assert_eq!(edge.status, 200, "{behaviour:?}: one cluster's fault is not the other's: {}", edge.text);
        stage.cluster("eu1").behave_well();
        next_attempt(&stage, "eu1").await;
        assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200, "healed by itself");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_vouches_for_is_said_clearly() {
    let stage = Stage::standard().await;
    let other = std::fs::read(stage.directory.path().join("edge-2-ca.crt")).unwrap();
    let file = stage.directory.path().join("eu1-ca.crt");
    let own = std::fs::read(&file).unwrap();
    std::fs::write(&file, other).unwrap();
    let asked = stage.cluster("eu1").all_requests();
    next_attempt(&stage, "eu1").await;
    let why = status(&stage, "eu1").last_error.unwrap();
    assert!(why.contains("is not signed by an authority in") && why.contains("eu1-ca.crt"), "{why}");
    assert_eq!(stage.cluster("eu1").all_requests(), asked, "our token went nowhere");
    std::fs::write(&file, own).unwrap();
    next_attempt(&stage, "eu1").await;
    assert_eq!(status(&stage, "eu1").last_error, None, "the file is read again");
}
