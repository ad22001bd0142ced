//! The pretend clusters over HTTPS: what a Kubernetes API server answers, and what it refuses.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::{Lifetime, ManualClock, Timestamp};
use crate::world::signature;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const AUDIENCE: &str = "https://id.example";

struct Stage {
    clock: ManualClock,
    stop: CancellationToken,
    cluster: PretendCluster,
    client: reqwest::Client,
}

impl Stage {
    async fn set(change: impl FnOnce(&mut ClusterSettings)) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000));
        let stop = CancellationToken::new();
        let mut settings = ClusterSettings::new("eu1", ISSUER);
        // Quicker to make than the default, RS256.
        settings.algorithm = Algorithm::ES256;
        change(&mut settings);
        let surroundings = Surroundings::with_clock(Arc::new(clock.clone()));
        let cluster = PretendCluster::start(settings, &surroundings, &stop).await.unwrap();
        let client = client(&cluster);
        Self { clock, stop, cluster, client }
    }

    async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.client.get(format!("{}{path}", self.cluster.url()));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(request).await
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = self.client.post(format!("{}{path}", self.cluster.url())).body(body.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(request).await
    }

    async fn request_token(&self, spec: Value) -> (StatusCode, Value) {
        let admin = self.cluster.admin_token().expose().as_str();
        self.post(&token_request_path("shop", "api"), Some(admin), json!({ "spec": spec })).await
    }

    async fn review(&self, token: &str, audiences: &[&str]) -> Value {
        let admin = self.cluster.admin_token().expose().as_str();
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token, "audiences": audiences } });
        let (status, answer) = self.post(TOKEN_REVIEW_PATH, Some(admin), body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["status"].clone()
    }

    fn claims(&self, token: &str) -> Value {
        let keys = self.cluster.core.state().keys.all();
        Value::Object(signature::open(token, &keys).unwrap())
    }
}

fn client(cluster: &PretendCluster) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cluster.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("this should have ended long ago")
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = in_time(request.send()).await.unwrap();
    let status = response.status();
    let body = in_time(response.bytes()).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_token_passes_review_until_its_pod_is_gone() {
    let stage = Stage::set(|_| {}).await;
    stage.cluster.create_pod("shop", "api-0", "api", "node-1");
    let bound = json!({ "kind": "Pod", "apiVersion": "v1", "name": "api-0" });
    // K8S-20
    let (status, answer) = stage
        .request_token(json!({ "audiences": [AUDIENCE], "expirationSeconds": 600, "boundObjectRef": bound }))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["kind"], "TokenRequest");
    assert_eq!(answer["status"]["expirationTimestamp"], "2026-09-21T14:23:20Z");
    let token = answer["status"]["token"].as_str().unwrap();
    let claims = stage.claims(token);
    let own = &claims["kubernetes.io"];
    assert_eq!(claims["sub"], "system:serviceaccount:shop:api");
    assert_eq!((claims["iss"].as_str(), &claims["aud"]), (Some(ISSUER), &json!([AUDIENCE])), "K8S-04");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!((own["pod"]["name"].as_str(), own["node"]["name"].as_str()), (Some("api-0"), Some("node-1")), "K8S-11");
    assert_eq!(answer["spec"]["boundObjectRef"]["uid"], own["pod"]["uid"]);

    // K8S-16, K8S-18
    let good = stage.review(token, &[AUDIENCE, "other"]).await;
    assert_eq!((&good["authenticated"], &good["audiences"]), (&json!(true), &json!([AUDIENCE])));
    assert_eq!(good["user"]["username"], "system:serviceaccount:shop:api");
    assert_eq!(good["user"]["uid"], own["serviceaccount"]["uid"]);
    let extra = &good["user"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], json!([own["pod"]["uid"]]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["node-1"]));
    assert_eq!(
        extra["authentication.kubernetes.io/credential-id"],
        json!([format!("JTI={}", claims["jti"].as_str().unwrap())])
    );
    assert_eq!(stage.review(token, &["other"]).await.get("authenticated"), None);
    assert_eq!(stage.review(token, &[]).await.get("authenticated"), None, "not for the API server");

    // K8S-17
    stage.cluster.terminate_pod("shop", "api-0");
    stage.clock.advance(Lifetime::from_seconds(60));
    assert_eq!(stage.review(token, &[AUDIENCE]).await["authenticated"], true);
    stage.clock.advance(Lifetime::from_seconds(1));
    assert_eq!(stage.review(token, &[AUDIENCE]).await.get("authenticated"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn review_refuses_what_is_gone_spoiled_or_late() {
    let stage = Stage::set(|_| {}).await;
    let ask = TokenAsk::new("shop", "api", AUDIENCE).lifetime(Lifetime::from_minutes(10));
    let token = stage.cluster.mint(&ask).unwrap();
    assert_eq!(stage.review(&token, &[AUDIENCE]).await["authenticated"], true);
    let other = stage.cluster.forge(&ask).unwrap();
    for bad in [
        other.clone().claim("sub", "system:serviceaccount:shop:admin"),
        other.clone().claim("iss", "https://elsewhere.example"),
        other.clone().claim_at(&["kubernetes.io", "serviceaccount"], "uid", "another"),
        other.clone().without_claim("exp"),
    ] {
        assert_eq!(stage.review(&bad.sign().unwrap().token(), &[AUDIENCE]).await.get("authenticated"), None, "{bad:?}");
    }
    stage.cluster.delete_service_account("shop", "api");
    stage.cluster.create_service_account("shop", "api");
    assert_eq!(
        stage.review(&token, &[AUDIENCE]).await.get("authenticated"),
        None,
        "K8S-10: the account is another one"
    );
    let fresh = stage.cluster.mint(&ask).unwrap();
    assert_eq!(stage.review(&fresh, &[AUDIENCE]).await["authenticated"], true);
    stage.clock.advance(Lifetime::from_minutes(10));
    assert_eq!(stage.review(&fresh, &[AUDIENCE]).await.get("authenticated"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_request_keeps_its_rules_k8s_20() {
    let stage = Stage::set(|_| {}).await;
    let path = token_request_path("shop", "api");
    let body = json!({ "spec": { "audiences": [AUDIENCE] } });
    assert_eq!(stage.post(&path, Some("wrong"), body.clone()).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.post(&path, None, body.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        stage.post(TOKEN_REVIEW_PATH, Some("wrong"), json!({ "spec": { "token": "x" } })).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(stage.request_token(json!({})).await.0, StatusCode::NOT_FOUND, "no such account");
    stage.cluster.create_service_account("shop", "api");
    stage.cluster.create_pod("shop", "web-0", "web", "node-1");
    let pod = |name: &str, uid: &str| json!({ "boundObjectRef": { "kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid } });
    for (spec, expected) in [
        (json!({ "expirationSeconds": 599 }), StatusCode::UNPROCESSABLE_ENTITY),
        (pod("nobody", ""), StatusCode::NOT_FOUND),
        (pod("web-0", ""), StatusCode::BAD_REQUEST),
        (pod("web-0", "another"), StatusCode::CONFLICT),
        (json!({ "boundObjectRef": { "kind": "Job", "name": "x" } }), StatusCode::BAD_REQUEST),
        (json!("no spec"), StatusCode::BAD_REQUEST),
        (json!({}), StatusCode::CREATED),
    ] {
        let (status, answer) = stage.request_token(spec.clone()).await;
        assert_eq!(status, expected, "{spec} {answer}");
    }
    let own = stage.cluster.mint(&TokenAsk::new("shop", "api", ISSUER)).unwrap();
    assert_eq!(stage.post(&path, Some(&own), body).await.0, StatusCode::FORBIDDEN, "a service account is no admin");
    assert_eq!(stage.cluster.requests(&path), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_3607_seconds_for_the_api_server_is_stretched_to_a_year() {
    let stage = Stage::set(|_| {}).await;
    let ask = TokenAsk::new("shop", "api", ISSUER).lifetime(Lifetime::from_seconds(3607));
    let claims = stage.claims(&stage.cluster.mint(&ask).unwrap());
    let iat = claims["iat"].as_i64().unwrap();
    // K8S-07
    assert_eq!(claims["kubernetes.io"]["warnafter"], iat + 3607);
    assert_eq!(claims["exp"], iat + 365 * 86_400);
    let claims = stage.claims(&stage.cluster.mint(&ask.audiences(&[AUDIENCE])).unwrap());
    assert_eq!((claims["kubernetes.io"].get("warnafter"), &claims["exp"]), (None, &json!(iat + 3607)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_keeps_the_old_key_until_it_is_withdrawn() {
    let stage = Stage::set(|settings| settings.algorithm = Algorithm::RS256).await;
    let ask = TokenAsk::new("shop", "api", AUDIENCE);
    let old = stage.cluster.active_key();
    let token = stage.cluster.mint(&ask).unwrap();
    // K8S-01
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        stage.cluster.rotate(algorithm).unwrap();
        let fresh = stage.cluster.mint(&ask).unwrap();
        assert_eq!(stage.review(&fresh, &[AUDIENCE]).await["authenticated"], true, "{algorithm}");
    }
    let served = async || {
        let (_, jwks) = stage.get(JWKS_PATH, None).await;
        jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(served().await.len(), 4);
    assert_eq!(stage.review(&token, &[AUDIENCE]).await["authenticated"], true);
    stage.cluster.hide(old.kid()).unwrap();
    assert!(!served().await.contains(&old.kid().to_owned()));
    assert_eq!(stage.review(&token, &[AUDIENCE]).await["authenticated"], true, "K8S-15");
    stage.cluster.withdraw(old.kid()).unwrap();
    assert_eq!(stage.review(&token, &[AUDIENCE]).await.get("authenticated"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_needs_a_token_where_it_is_configured_so() {
    let stage = Stage::set(|settings| {
        settings.discovery_needs_token = true;
        settings.odd_keys = true;
    })
    .await;
    // K8S-13
    assert_eq!(stage.get(JWKS_PATH, None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(stage.get(JWKS_PATH, Some("wrong")).await.0, StatusCode::UNAUTHORIZED);
    let token = stage.cluster.mint(&TokenAsk::new("countersign", "server", ISSUER)).unwrap();
    let (status, document) = stage.get(DISCOVERY_PATH, Some(&token)).await;
    assert_eq!((status, document["issuer"].as_str()), (StatusCode::OK, Some(ISSUER)));
    assert_eq!(document["jwks_uri"], format!("{}{JWKS_PATH}", stage.cluster.url()));
    assert_eq!(document.get("authorization_endpoint"), None, "K8S-14");
    let response =
        stage.client.get(document["jwks_uri"].as_str().unwrap()).header("authorization", format!("Bearer {token}"));
    let response = in_time(response.send()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
    let jwks: Value = serde_json::from_slice(&in_time(response.bytes()).await.unwrap()).unwrap();
    assert_eq!(jwks["keys"][1]["kty"], "AKP", "K8S-02");
    assert_eq!(jwks, stage.cluster.jwks());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_misbehaves_as_told_and_counts() {
    let stage = Stage::set(|_| {}).await;
    stage.cluster.behave(JWKS_PATH, Behaviour::Status(503));
    assert_eq!(stage.get(JWKS_PATH, None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    stage.cluster.behave(JWKS_PATH, Behaviour::Redirect(String::from("https://169.254.169.254/")));
    assert_eq!(stage.get(JWKS_PATH, None).await.0, StatusCode::FOUND);
    stage.cluster.behave(JWKS_PATH, Behaviour::Garbage);
    assert_eq!(stage.get(JWKS_PATH, None).await, (StatusCode::OK, Value::Null));
    stage.cluster.behave(JWKS_PATH, Behaviour::Body(b"{\"keys\":[]}".to_vec()));
    assert_eq!(stage.get(JWKS_PATH, None).await.1, json!({ "keys": [] }));
    stage.cluster.behave(JWKS_PATH, Behaviour::Huge);
    assert!(stage.get(JWKS_PATH, None).await.1["filler"].as_str().unwrap().len() > 10_000_000);
    let impatient =
        || stage.client.get(format!("{}{JWKS_PATH}", stage.cluster.url())).timeout(Duration::from_millis(200));
    stage.cluster.behave(JWKS_PATH, Behaviour::Hang);
    assert!(in_time(impatient().send()).await.unwrap_err().is_timeout());
    stage.cluster.behave(JWKS_PATH, Behaviour::Drip);
    let dripping = in_time(impatient().send()).await.unwrap();
    assert!(in_time(dripping.bytes()).await.unwrap_err().is_timeout());
    assert_eq!(stage.get(DISCOVERY_PATH, None).await.0, StatusCode::OK, "the others are well");
    stage.cluster.behave_everywhere(Behaviour::Slow(Lifetime::from_seconds(5)));
    let (slow, ()) = tokio::join!(stage.get(DISCOVERY_PATH, None), async {
        let asked = async {
            while stage.cluster.requests(DISCOVERY_PATH) < 2 {
                tokio::task::yield_now().await;
            }
        };
        in_time(asked).await;
        stage.clock.advance(Lifetime::from_seconds(6));
    });
    assert_eq!(slow.0, StatusCode::OK);
    stage.cluster.behave_well();
    assert_eq!(stage.get(JWKS_PATH, None).await.1, stage.cluster.jwks());
    assert_eq!((stage.cluster.requests(JWKS_PATH), stage.cluster.requests(DISCOVERY_PATH)), (8, 2));
    assert_eq!(stage.cluster.all_requests(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_starts_again_on_its_port_and_ends_with_its_token() {
    let stage = Stage::set(|_| {}).await;
    let url = stage.cluster.url().to_owned();
    assert_eq!(stage.get(JWKS_PATH, None).await.0, StatusCode::OK);
    in_time(stage.cluster.stop()).await;
    assert!(in_time(stage.client.get(&url).send()).await.is_err());
    stage.cluster.start_again().await.unwrap();
    assert_eq!(stage.get("/api", None).await.0, StatusCode::NOT_FOUND);
    stage.stop.cancel();
    in_time(stage.cluster.stop()).await;
    assert!(in_time(stage.client.get(&url).send()).await.is_err());
}
