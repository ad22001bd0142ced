//! A cluster's keys over their life: published, rotated, hidden, withdrawn; and the token with which we ask for them.

use countersign::clock::Lifetime;
use countersign::world::cluster::{ClusterSettings, JWKS_PATH, PretendCluster, TokenAsk};
use countersign::world::keys::{Algorithm, NamedKey};
use countersign::world::{Behaviour, SHARED_ISSUER};
use tokio_util::sync::CancellationToken;

use super::{INTERVAL, next_attempt, refused, retry_after, shown, status, within};
use crate::stage::{RESOURCES_AND_RULES, Stage, server_config, spiffe_source};

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_followed_and_the_old_key_serves_until_it_is_withdrawn() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    let (old, old_key) = (stage.pod_token("eu1"), eu1.active_key());
    eu1.rotate(Algorithm::ES256).unwrap();
    let new = stage.pod_token("eu1");
    // Inside the interval a genuinely new key is not called forged (JWK-13).
    let early = stage.exchange_pod(&new).await;
    refused(&stage, &early, 503, "keys_refreshing").await;
    assert!((1..=30).contains(&retry_after(&early)), "{:?}", early.headers);
    stage.advance(Lifetime::from_seconds(retry_after(&early).try_into().unwrap())).await;
    let asked = eu1.requests(JWKS_PATH);
    let answer = stage.exchange_pod(&new).await;
    assert_eq!(answer.status, 200, "after Retry-After it works: {}", answer.text);
    assert_eq!(eu1.requests(JWKS_PATH), asked + 1, "one fetch");
    assert_eq!(stage.exchange_pod(&old).await.status, 200, "the old key is published still");
    eu1.withdraw(old_key.kid()).unwrap();
    next_attempt(&stage, "eu1").await;
    refused(&stage, &stage.exchange_pod(&old).await, 503, "keys_refreshing").await;
    stage.advance(INTERVAL).await;
    refused(&stage, &stage.exchange_pod(&old).await, 400, "key_unknown").await;
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_key_set_of_a_cluster_is_a_revocation() {
    let stage = Stage::standard().await;
    let token = stage.pod_token("eu1");
    assert_eq!(stage.exchange_pod(&token).await.status, 200);
    stage.cluster("eu1").publish_empty(true);
    next_attempt(&stage, "eu1").await;
    assert_eq!(status(&stage, "eu1").keys, 0);
    stage.advance(INTERVAL).await;
    nobody_has_its_key(&stage, &token).await;
    assert_eq!(stage.exchange_pod(&stage.pod_token("edge-2")).await.status, 200, "the other cluster is untouched");
    stage.cluster("eu1").publish_empty(false);
    next_attempt(&stage, "eu1").await;
    assert_eq!(stage.exchange_pod(&token).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_15_a_key_that_is_left_out_of_the_published_set_verifies_nothing() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    let hidden = eu1.publish_new(Algorithm::ES256).unwrap();
    eu1.hide(hidden.kid()).unwrap();
    next_attempt(&stage, "eu1").await;
    stage.advance(INTERVAL).await;
    let token = stage.pod_forge("eu1").key(&hidden).header("kid", hidden.kid()).header("alg", "ES256");
    nobody_has_its_key(&stage, &token.sign().unwrap().token()).await;
}

/// Asks as a client does: the other cluster of the issuer may have been looked at a moment ago, then it is asked again later.
async fn nobody_has_its_key(stage: &Stage, token: &str) {
    for _ in 0..5 {
        let answer = stage.exchange_pod(token).await;
        if stage.reason(&answer).await != "keys_refreshing" {
            return refused(stage, &answer, 400, "key_unknown").await;
        }
        assert_eq!(answer.status, 503);
        stage.advance(INTERVAL).await;
    }
    panic!("the sources were never asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_12_two_keys_under_one_name_in_one_set_are_both_tried() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    let (first, second) = (eu1.publish_new(Algorithm::ES256).unwrap(), eu1.publish_new(Algorithm::ES256).unwrap());
    for key in [&first, &second] {
        eu1.withdraw(key.kid()).unwrap();
        eu1.adopt(NamedKey::new("twice", std::sync::Arc::clone(key.key())));
    }
    next_attempt(&stage, "eu1").await;
    for key in [&first, &second] {
        let token = stage.pod_forge("eu1").key(key).header("kid", "twice").header("alg", "ES256");
        let answer = stage.exchange_pod(&token.sign().unwrap().token()).await;
        assert_eq!(answer.status, 200, "JWK-12: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_16_both_content_types_of_a_key_set_are_read() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    // The API server sends application/jwk-set+json; this is the same document as application/json.
    eu1.rotate(Algorithm::ES256).unwrap();
    eu1.behave(JWKS_PATH, Behaviour::Body(eu1.jwks().to_string().into_bytes()));
    next_attempt(&stage, "eu1").await;
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200, "JWK-16");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_21_our_own_token_is_read_again_at_every_fetch() {
    let stage = Stage::standard().await;
    let eu1 = stage.cluster("eu1");
    let file = stage.directory.path().join("eu1-admin.token");
    let own = || {
        let ask = TokenAsk::new("countersign", "countersign", SHARED_ISSUER).lifetime(Lifetime::from_minutes(20));
        let token = eu1.mint(&ask).unwrap();
        crate::evidence::secret(&token);
        token
    };
    std::fs::write(&file, own()).unwrap();
    next_attempt(&stage, "eu1").await;
    assert_eq!(status(&stage, "eu1").last_error, None);
    // It expires where nobody renews it.
    stage.advance(Lifetime::from_minutes(21)).await;
    within(10, "the expired token is refused", || status(&stage, "eu1").last_error.is_some()).await;
    let why = shown(&stage, "eu1").await["last_error"].as_str().unwrap().to_owned();
    assert!(why.contains("401: our own token was not accepted"), "{why}");
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200, "last good keys serve");
    // As kubelet does it: another content of the same file.
    std::fs::write(&file, own()).unwrap();
    next_attempt(&stage, "eu1").await;
    assert_eq!(status(&stage, "eu1").last_error, None, "K8S-21");
    // A file that is missing or holds no token is a clear sentence, and no request without it.
    let asked = eu1.all_requests();
    std::fs::write(&file, "two\nlines").unwrap();
    next_attempt(&stage, "eu1").await;
    assert!(status(&stage, "eu1").last_error.unwrap().contains("holds no bearer token"));
    std::fs::remove_file(&file).unwrap();
    next_attempt(&stage, "eu1").await;
    assert!(status(&stage, "eu1").last_error.unwrap().contains("eu1-admin.token cannot be read"));
    assert_eq!(eu1.all_requests(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_13_anonymous_discovery_that_is_off_is_said_clearly() {
    let stage = Stage::standard().await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let settings = ClusterSettings {
        discovery_needs_token: true,
        algorithm: Algorithm::ES256,
        ..ClusterSettings::new("closed", SHARED_ISSUER)
    };
    let closed = PretendCluster::start(settings, stage.world.trust_domain().surroundings(), &stop).await.unwrap();
    std::fs::write(stage.directory.path().join("closed.crt"), closed.ca_pem()).unwrap();
    let config = |token: &str| {
        format!(
            "{}{}  - name: closed\n    groups: [fleet]\n    kubernetes:\n      issuers: [{SHARED_ISSUER}]\n      \
             keys: {{ api_server: {{ url: \"{}\", ca: closed.crt{token} }} }}\n{RESOURCES_AND_RULES}",
            server_config(&stage.issuer),
            spiffe_source(&stage.world),
            closed.url()
        )
    };
    stage.reconfigure(&config("")).await;
    within(10, "the source was tried", || status(&stage, "closed").last_error.is_some()).await;
    let why = shown(&stage, "closed").await["last_error"].as_str().unwrap().to_owned();
    for part in ["anonymous discovery is off", "`token`", "system:service-account-issuer-discovery"] {
        assert!(why.contains(part), "K8S-13: {why}");
    }
    let pod = closed.mint(&TokenAsk::new("shop", "api", &stage.issuer)).unwrap();
    refused(&stage, &stage.exchange_pod(&pod).await, 503, "keys_unreachable").await;
    // With our own token it works.
    let own = closed.mint(&TokenAsk::new("countersign", "countersign", SHARED_ISSUER)).unwrap();
    crate::evidence::secret(&own);
    std::fs::write(stage.directory.path().join("closed.token"), own).unwrap();
    stage.reconfigure(&config(", token: closed.token")).await;
    within(10, "the source has keys", || status(&stage, "closed").keys > 0).await;
    assert_eq!(stage.exchange_pod(&pod).await.status, 200, "K8S-13");
}
