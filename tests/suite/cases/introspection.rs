//! Introspection (RFC 7662): who may ask, and what is told.

use countersign::clock::Lifetime;
use serde_json::json;

use super::ground::Ground;
use super::request::Request;
use super::run::{CLIENT, CLIENT_401, REQUEST, Row, refuse, row};
use crate::stage::{API, Answer};

#[tokio::test(flavor = "multi_thread")]
async fn introspection_refuses_who_is_not_authenticated() {
    refuse(&Ground::new().await, ROWS).await;
}

fn bare(ground: &Ground) -> Request {
    let good = ground.introspection("/serves/orders", &ground.ours);
    good.without("client_assertion").without("client_assertion_type")
}

const ROWS: &[Row] = &[
    row("INT-01 INT-07 nobody authenticates", "credential_missing", CLIENT, bare),
    row("INT-07 a Bearer token authenticates nobody", "assertion_type_unsupported", CLIENT_401, |g| {
        bare(g).header("authorization", &format!("Bearer {}", g.ours))
    }),
    row("INT-01 AT-14 the token as the caller's credential", "credential_malformed", CLIENT, |g| {
        g.introspection("/serves/orders", &g.ours).set("client_assertion", &g.ours)
    }),
    row("INT-01 a caller's credential that ended", "token_expired", CLIENT, |g| {
        let old = g.stage.svid_forge().claim("exp", g.now().seconds()).sign().unwrap().token();
        g.introspection("/serves/orders", &g.ours).set("client_assertion", &old)
    }),
    row("INT-02 no token", "malformed_request", REQUEST, |g| g.introspection("/serves/orders", "x").without("token")),
    row("INT-02 not a form", "malformed_request", REQUEST, |g| {
        g.introspection("/serves/orders", &g.ours).content_type(Some("application/json"))
    }),
    row("INT-02 the token twice", "malformed_request", REQUEST, |g| {
        g.introspection("/serves/orders", &g.ours).with("token", &g.ours)
    }),
];

async fn ask(ground: &Ground, request: Request) -> Answer {
    let answer = request.send(&ground.client, ground.issuer()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("cache-control"), header("content-type")),
        ("no-store".into(), "application/json".into()),
        "INT-15"
    );
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn who_serves_it_and_its_subject_hear_all_of_a_token_int_02_int_05_int_06_int_08() {
    let ground = Ground::new().await;
    let claims = crate::stage::part(&ground.ours, 1);
    let mut whole = claims.clone();
    whole
        .as_object_mut()
        .unwrap()
        .extend([("active".to_owned(), json!(true)), ("token_type".to_owned(), json!("Bearer"))]);
    for path in ["/serves/orders", "/ns/shop/sa/api"] {
        let request = ground.introspection(path, &ground.ours).with("token_type_hint", "refresh_token");
        assert_eq!(ask(&ground, request).await.body, whole, "{path}");
    }
    // INT-11 to INT-13: JSON whatever is accepted.
    let accepting = |token: &str| {
        ground.introspection("/serves/orders", token).header("accept", "application/token-introspection+jwt")
    };
    assert_eq!(ask(&ground, accepting(&ground.ours)).await.body, whole, "INT-11 INT-12");
    assert_eq!(ask(&ground, accepting("x")).await.text, r#"{"active":false}"#, "INT-13");
    let documents = ground.stage.request("GET", "/.well-known/openid-configuration", &[]).await;
    assert!(!documents.text.contains("introspection_signing_alg"), "INT-14");
    let got = ground.stage.request("GET", "/introspect", &[]).await;
    assert_eq!(got.status, 405, "INT-09");
    // INT-08: what a token is bound to, and who acts.
    let act = json!({ "sub": "spiffe://prod.example/serves/stock", "act": { "sub": API } });
    let bound = ground.ours_saying("at+jwt", |claims| {
        claims.extend([("cnf".to_owned(), json!({ "jkt": "key" })), ("act".to_owned(), act.clone())]);
    });
    let told = ask(&ground, ground.introspection("/serves/orders", &bound)).await.body;
    assert_eq!((&told["cnf"], &told["act"]), (&json!({ "jkt": "key" }), &act));
    assert_eq!(told["token_type"], "DPoP");
    let record = ground.stage.written().pop().unwrap();
    assert_eq!((&record["outcome"], &record["active"]), (&json!("answered"), &json!(true)));
    assert_eq!(
        (&record["grant_type"], &record["id"]),
        (&json!("introspection"), &json!("spiffe://prod.example/serves/orders"))
    );
    assert_eq!((&record["subject"]["sub"], &record["subject"]["token"]), (&json!(API), &claims["jti"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_is_inactive_and_says_nothing_int_03_int_04_int_10() {
    let ground = Ground::new().await;
    let ended =
        ground.ours_saying("at+jwt", |claims| _ = claims.insert("exp".to_owned(), json!(ground.now().seconds())));
    let early =
        ground.ours_saying("at+jwt", |claims| _ = claims.insert("nbf".to_owned(), json!(ground.now().seconds() + 1)));
    let foreign =
        ground.ours_saying("at+jwt", |claims| _ = claims.insert("iss".to_owned(), json!("https://other.example")));
    let other_typ = ground.ours_saying("txntoken+jwt", |_| {});
    let (head, tail) = ground.ours.split_at(ground.ours.len() - 8);
    let forged = format!("{head}{}", tail.chars().rev().collect::<String>());
    for (path, token, what) in [
        ("/serves/stock", ground.ours.as_str(), "who serves another resource"),
        ("/readers/one", &ground.ours, "who serves nothing"),
        ("/serves/orders", &ground.ours_as_jwt, "a token for another resource"),
        ("/serves/orders", &ended, "ended"),
        ("/serves/orders", &early, "not valid yet"),
        ("/serves/orders", &foreign, "of another issuer"),
        ("/serves/orders", &other_typ, "of another type"),
        ("/serves/orders", &forged, "with another signature"),
        ("/serves/orders", &ground.stage.svid(), "a JWT-SVID"),
        ("/serves/orders", &ground.stage.pod_token("eu1"), "a pod's token"),
        ("/serves/orders", "text", "no JWT"),
    ] {
        let answer = ask(&ground, ground.introspection(path, token)).await;
        assert_eq!(answer.text, r#"{"active":false}"#, "{what}");
    }
    let active =
        || async { ask(&ground, ground.introspection("/serves/orders", &ground.ours)).await.body["active"].clone() };
    assert_eq!(active().await, json!(true));
    ground.stage.advance(Lifetime::from_minutes(5)).await;
    assert_eq!(active().await, json!(false), "at its end");
}
