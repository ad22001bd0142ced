//! `POST /token`, through the router that the listener serves.

use axum::body::Body;
use axum::http::{Request, header};
use countersign::lifecycle::{Drain, Readiness};
use countersign::wire::GrpcSettings;
use countersign::wire::grpc::Door;
use countersign::wire::http::public_router;
use countersign::wire::listener::ConnectionInfo;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::{Target, fuzz};
use crate::stage::{JWT_BEARER, JWT_SPIFFE, ORDERS, Stage, encode, standard_config};

/// A form is answered as OAuth says, it is never a fault of ours, and a token is given only for a credential that was signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_granted_only_for_what_was_signed() {
    let stage = Stage::with(|world, issuer| {
        let config = standard_config(world, issuer);
        config.replace(
            "state: { directory: ./state }",
            "state: { directory: ./state, decisions: 1MiB }\naudit: { stdout: false }",
        )
    })
    .await;
    let genuine =
        [(JWT_SPIFFE, stage.svid()), (JWT_BEARER, stage.pod_token("eu1")), (JWT_BEARER, stage.pod_token("edge-2"))];
    let form = |kind: &str, token: &str, more: &[(&str, &str)]| {
        let mut all = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", kind),
            ("client_assertion", token),
            ("resource", ORDERS),
        ];
        all.extend(more);
        encode(&all).into_bytes()
    };
    let mut samples: Vec<Vec<u8>> =
        genuine.iter().map(|(kind, token)| form(kind, token, &[("scope", "read write")])).collect();
    samples.push(form(
        JWT_SPIFFE,
        &genuine[0].1,
        &[("client_id", crate::stage::API), ("audience", "orders"), ("x", "ä %&=")],
    ));
    let target = Target {
        name: "token_form",
        samples,
        words: &[
            "&",
            "=",
            "+",
            "%",
            "%26",
            "%3D",
            "%00",
            "%C3%A4",
            "%ff",
            "grant_type=",
            "client_credentials",
            "client_assertion=",
            "client_assertion_type=",
            "resource=",
            "audience=",
            "scope=",
            "scope=write&",
            "client_id=",
            "client_secret=x&",
            "assertion=",
            "subject_token=",
            "actor_token=",
            "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
            "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer",
            "https%3A%2F%2Forders.example",
            "orders",
            "%2e",
            "\r\n",
        ],
        longest: 70 * 1024,
    };
    let (settings, readiness, drain) = (GrpcSettings { reflection: false }, Readiness::new(), Drain::new());
    let door = Door { settings, readiness, drain };
    let router = public_router(stage.app.exchange(), door);
    let runtime = tokio::runtime::Handle::current();
    let tokens: Vec<String> = genuine.iter().map(|(_, token)| token.clone()).collect();
    let work = move || {
        // What is traced of a hundred thousand requests is of no use to anybody.
        tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), || {
            fuzz(target, |input| runtime.block_on(answered(&router, input, &tokens)));
        });
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

async fn answered(router: &axum::Router, form: &[u8], genuine: &[String]) -> String {
    let connection = ConnectionInfo { peer: ([127, 0, 0, 1], 1).into(), tls: false, certificates: None };
    let request = Request::post("/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .extension(connection)
        .body(Body::from(form.to_vec()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, store) = (response.status().as_u16(), response.headers().get(header::CACHE_CONTROL).cloned());
    let retry = response.headers().get(header::RETRY_AFTER).cloned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(store.unwrap(), "no-store");
    // Another reader of the same form.
    let shown: Vec<String> = url::form_urlencoded::parse(form)
        .filter(|(name, _)| name == "client_assertion")
        .map(|(_, value)| value.into_owned())
        .collect();
    let is_genuine = matches!(shown.as_slice(), [only] if genuine.contains(only));
    if status == 200 {
        assert!(body["access_token"].is_string() && body.get("error").is_none());
        assert!(is_genuine, "granted to {}", shown.len());
        return format!("200 {}", body["scope"]);
    }
    let error = body["error"].as_str().unwrap();
    // A key id that nobody knows may be new: who shows one is told to come again, not that it is forged (design §9.4).
    let is_refreshing = status == 503 && error == "temporarily_unavailable" && retry.is_some() && !is_genuine;
    assert!(matches!(status, 400 | 401 | 413) || is_refreshing, "{status} {error}");
    assert!(body.get("access_token").is_none() && body["error_ref"].as_str().unwrap().len() == 12);
    let said = body["error_description"].as_str().unwrap();
    assert!(said.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "TOK-13: {said:?}");
    let words: String = said.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(12).collect();
    format!("{status} {error} {words}")
}
