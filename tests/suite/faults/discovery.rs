//! Discovery documents of others: what of them is used, and where they never lead.

use countersign::world::cluster::{DISCOVERY_PATH, JWKS_PATH};
use countersign::world::{Behaviour, SHARED_ISSUER};
use serde_json::json;

use super::{Nobody, next_attempt, shown, status, within};
use crate::stage::{RESOURCES_AND_RULES, Stage, server_config, spiffe_source};

async fn discovered() -> Stage {
    Stage::with(|world, issuer| {
        let url = world.cluster("eu1").unwrap().url();
        format!(
            "{}{}  - name: eu1\n    groups: [fleet]\n    kubernetes:\n      issuers: [{SHARED_ISSUER}]\n      \
             keys: {{ discovery: \"{url}\", ca: eu1-ca.crt, token: eu1-admin.token }}\n{RESOURCES_AND_RULES}",
            server_config(issuer),
            spiffe_source(world)
        )
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_13_discovery_leads_to_the_keys() {
    let stage = discovered().await;
    let eu1 = stage.cluster("eu1");
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200);
    within(10, "the first attempt is over", || status(&stage, "eu1").next_attempt.is_some()).await;
    assert_eq!((eu1.requests(DISCOVERY_PATH), eu1.requests(JWKS_PATH), eu1.all_requests()), (1, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn md_17_a_document_of_another_issuer_is_worth_nothing() {
    let stage = discovered().await;
    let eu1 = stage.cluster("eu1");
    let asked = eu1.requests(JWKS_PATH);
    let keys = format!("{}{JWKS_PATH}", eu1.url());
    for issuer in ["https://oidc.evil.example", "https://kubernetes.default.svc.cluster.local/", ""] {
        let document = json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
        eu1.behave(DISCOVERY_PATH, Behaviour::Body(document.into_bytes()));
        next_attempt(&stage, "eu1").await;
        let why = shown(&stage, "eu1").await["last_error"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains("is of issuer") && why.contains(SHARED_ISSUER), "MD-17: {why}");
        assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200, "last good keys serve");
    }
    assert_eq!(eu1.requests(JWKS_PATH), asked, "nothing of such a document is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_14_jwk_14_keys_on_another_host_are_not_asked_for() {
    let stage = discovered().await;
    let eu1 = stage.cluster("eu1");
    let other = Nobody::on("127.0.0.2").await;
    let port = other.address.port();
    let local = Nobody::on("127.0.0.1").await;
    for (jwks_uri, says) in [
        (format!("https://127.0.0.2:{port}/openid/v1/jwks"), "on another host"),
        (format!("https://localhost:{}/openid/v1/jwks", local.address.port()), "on another host"),
        (format!("https://127.0.0.1@127.0.0.2:{port}/jwks"), "not a plain https URL"),
        (format!("http://{}/openid/v1/jwks", local.address), "not a plain https URL"),
        ("file:///etc/passwd".to_owned(), "not a plain https URL"),
        ("/openid/v1/jwks".to_owned(), "is no URL"),
    ] {
        let document = json!({ "issuer": SHARED_ISSUER, "jwks_uri": jwks_uri }).to_string();
        eu1.behave(DISCOVERY_PATH, Behaviour::Body(document.into_bytes()));
        let asked = eu1.requests(JWKS_PATH);
        next_attempt(&stage, "eu1").await;
        let why = shown(&stage, "eu1").await["last_error"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains(says), "K8S-14: {jwks_uri}: {why}");
        assert_eq!(eu1.requests(JWKS_PATH), asked);
    }
    assert_eq!((other.calls(), local.calls()), (0, 0), "K8S-14: not dialled");
    eu1.behave_well();
    next_attempt(&stage, "eu1").await;
    assert_eq!(status(&stage, "eu1").last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_14_our_bearer_token_goes_to_the_configured_origin_alone() {
    let stage = discovered().await;
    let eu1 = stage.cluster("eu1");
    // The same host and another port is followed, and hears no token: the other cluster's CA is not ours, so it hears nothing at all.
    let edge = stage.cluster("edge-2");
    let before = edge.all_requests();
    let document = json!({ "issuer": SHARED_ISSUER, "jwks_uri": format!("{}{JWKS_PATH}", edge.url()) }).to_string();
    eu1.behave(DISCOVERY_PATH, Behaviour::Body(document.into_bytes()));
    next_attempt(&stage, "eu1").await;
    assert!(status(&stage, "eu1").last_error.unwrap().contains("is not signed by an authority in"));
    assert_eq!(edge.all_requests(), before);
    // With both authorities it is asked, without the token: a foreign token would be 401 there.
    let directory = stage.directory.path();
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    std::fs::write(directory.join("eu1-ca.crt"), read("eu1-ca.crt") + &read("edge-2-ca.crt")).unwrap();
    next_attempt(&stage, "eu1").await;
    assert_eq!(status(&stage, "eu1").last_error, None);
    assert_eq!(edge.requests(JWKS_PATH), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_a_bad_discovery_document_is_one_request() {
    let stage = discovered().await;
    let eu1 = stage.cluster("eu1");
    for (behaviour, says) in [
        (Behaviour::Status(404), "404 instead of 200"),
        (Behaviour::Redirect(format!("{}{DISCOVERY_PATH}", eu1.url())), "redirects are not followed"),
        (Behaviour::Huge, "more than 1048576 bytes"),
        (Behaviour::Garbage, "the discovery document at"),
        (Behaviour::Body(b"{}".to_vec()), "names no issuer"),
        (Behaviour::Body(json!({ "issuer": SHARED_ISSUER }).to_string().into_bytes()), "has no jwks_uri"),
    ] {
        eu1.behave(DISCOVERY_PATH, behaviour.clone());
        let asked = eu1.all_requests();
        next_attempt(&stage, "eu1").await;
        let why = shown(&stage, "eu1").await["last_error"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains(says), "{behaviour:?}: {why}");
        assert_eq!(eu1.all_requests(), asked + 1, "{behaviour:?}");
        assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200, "{behaviour:?}");
    }
}
