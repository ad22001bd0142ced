//! The assertion grant (RFC 7521, RFC 7523): off unless it is switched on, and then beside client authentication.

use countersign::world::cluster::TokenAsk;
use serde_json::json;

use super::ground::Ground;
use super::keyring::es256;
use super::request::Request;
use super::run::{ASSERTION, CLIENT, REQUEST, Row, SCOPE, UNAUTHORIZED, refuse, row};
use crate::stage::API;

const SWITCHED_ON: &str = "assertion_grant: { enabled: true }\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_assertion_grant_refuses() {
    refuse(&Ground::with(SWITCHED_ON).await, ROWS).await;
}

/// Who serves `orders` acts for the shop by the shop's JWT-SVID.
fn grant(ground: &Ground, assertion: &str) -> Request {
    ground
        .svid_text(&ground.workload("/serves/orders"))
        .set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .with("assertion", assertion)
        .set("resource", "https://stock.example")
}

fn spoiled(ground: &Ground, name: &str, value: impl Into<serde_json::Value>) -> Request {
    grant(ground, &ground.stage.svid_forge().claim(name, value).sign().unwrap().token())
}

const ROWS: &[Row] = &[
    row("CA-14 an assertion that ended", "token_expired", ASSERTION, |g| spoiled(g, "exp", g.now().seconds())),
    row("CA-14 the same as the caller's credential", "token_expired", CLIENT, |g| {
        let old = g.stage.svid_forge().claim("exp", g.now().seconds()).sign().unwrap().token();
        grant(g, &g.stage.svid()).set("client_assertion", &old)
    }),
    row("CA-14 an assertion by another key", "signature_invalid", ASSERTION, |g| {
        grant(g, &g.stage.svid_forge().key(&es256("another")).sign().unwrap().token())
    }),
    row("CA-14 CA-15 two JWTs in assertion", "credential_malformed", ASSERTION, |g| {
        grant(g, &format!("{} {}", g.stage.svid(), g.stage.svid()))
    }),
    row("CA-15 no assertion", "malformed_request", REQUEST, |g| grant(g, "x").without("assertion")),
    row("CA-16 an assertion for another endpoint of ours", "audience_mismatch", ASSERTION, |g| {
        spoiled(g, "aud", json!([format!("{}/introspect", g.issuer())]))
    }),
    row("CA-16 an assertion for issuer and endpoint", "audience_mismatch", ASSERTION, |g| {
        spoiled(g, "aud", json!([g.issuer(), format!("{}/token", g.issuer())]))
    }),
    row("CA-16 a client assertion for the token endpoint", "audience_mismatch", CLIENT, |g| {
        let endpoint = json!([format!("{}/token", g.issuer())]);
        let client = g.stage.svid_forge().claim("sub", "spiffe://prod.example/serves/orders").claim("aud", endpoint);
        grant(g, &g.stage.svid()).set("client_assertion", &client.sign().unwrap().token())
    }),
    row("CA-16 TX-12 a subject_token for the token endpoint", "audience_mismatch", REQUEST, |g| {
        g.svid_exchange(|t| t.claim("aud", json!([format!("{}/token", g.issuer())])))
    }),
    row("CA-17 a bad client assertion beside a good grant", "signature_invalid", CLIENT, |g| {
        let bad = g.stage.svid_forge().key(&es256("another")).sign().unwrap().token();
        grant(g, &g.stage.svid()).set("client_assertion", &bad)
    }),
    row("CA-17 no client credential beside a good grant", "credential_missing", CLIENT, |g| {
        grant(g, &g.stage.svid()).without("client_assertion").without("client_assertion_type")
    }),
    row("CA-18 a scope beyond the rule's", "scope_denied", SCOPE, |g| grant(g, &g.stage.svid()).with("scope", "write")),
    row("CA-14 a token of ours as assertion", "credential_malformed", ASSERTION, |g| grant(g, &g.ours)),
    row("CA-18 no rule for oneself", "not_granted", UNAUTHORIZED, |g| grant(g, &g.workload("/serves/orders"))),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_assertion_grant_gives_no_more_than_the_assertion_ca_15_ca_16_ca_18() {
    let ground = Ground::with(SWITCHED_ON).await;
    let documents = ground.stage.request("GET", "/.well-known/oauth-authorization-server", &[]).await;
    let named = documents.body["grant_types_supported"].as_array().unwrap().clone();
    assert!(named.contains(&json!("urn:ietf:params:oauth:grant-type:jwt-bearer")), "{named:?}");
    for audience in [ground.issuer().to_owned(), format!("{}/token", ground.issuer())] {
        let end = ground.now().seconds() + 60;
        let assertion = ground.stage.svid_forge().claim("aud", json!([audience])).claim("exp", end);
        let answer = grant(&ground, &assertion.sign().unwrap().token()).send(&ground.client, ground.issuer()).await;
        assert_eq!(answer.status, 200, "{audience}: {}", answer.text);
        let claims = answer.claims();
        assert_eq!(
            (&claims["sub"], &claims["act"]["sub"]),
            (&json!(API), &json!("spiffe://prod.example/serves/orders"))
        );
        assert_eq!((&claims["scope"], claims["exp"].as_i64()), (&json!("count read"), Some(end)));
        assert!(answer.body.get("refresh_token").is_none() && answer.body.get("issued_token_type").is_none());
    }
    // Who asserts itself acts for nobody: the ordinary rules, and no actor.
    let own = ground
        .svid_text(&ground.stage.svid())
        .set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .with("assertion", &ground.stage.svid());
    let claims = own.send(&ground.client, ground.issuer()).await.claims();
    assert_eq!((&claims["sub"], &claims["scope"], claims.get("act")), (&json!(API), &json!("read write"), None));
    // A pod's token is as good.
    let pod = ground.stage.cluster("eu1").mint(&TokenAsk::new("shop", "api", ground.issuer())).unwrap();
    let claims = grant(&ground, &pod).send(&ground.client, ground.issuer()).await.claims();
    assert_eq!(claims["sub"], "spiffe://id.example/k8s/eu1/ns/shop/sa/api");
    assert_eq!((&claims["kind"], &claims["cluster"]), (&json!("kubernetes"), &json!("eu1")));
}
