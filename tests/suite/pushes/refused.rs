//! Every push that is refused: recorded, and the keys are what they were. Each is a good push spoiled in one respect.

use countersign::clock::Lifetime;
use countersign::exchange::RevocationChange;
use countersign::store::RevocationKind;
use countersign::trust::SourceStatus;
use countersign::world::cluster::TokenAsk;
use countersign::world::keys::Algorithm;
use serde_json::Value;

use super::Ground;
use crate::stage::{API, Answer, JWT_SPIFFE};

/// A row: name, bearer token, body, status, reason.
type Row = (&'static str, String, String, u16, &'static str);

async fn refused(ground: &Ground, rows: Vec<Row>) {
    for (name, token, body, status, reason) in rows {
        let before = ground.status();
        let answer = ground.push(&token, &body).await;
        is_refused(ground, name, &before, &answer, (status, reason)).await;
    }
}

async fn is_refused(
    ground: &Ground,
    name: &str,
    before: &SourceStatus,
    answer: &Answer,
    (status, reason): (u16, &str),
) {
    assert_eq!(ground.stage.reason(answer).await, reason, "{name}: {}", answer.text);
    assert_eq!(answer.status, status, "{name}: {}", answer.text);
    let record = ground.stage.record(answer.body["error_ref"].as_str().unwrap()).await;
    assert_eq!((&record["grant_type"], &record["outcome"]), (&"push".into(), &"deny".into()), "{name}");
    assert_eq!(record["push"]["source"], "edge-2", "{name}");
    assert_eq!(record["push"]["keys"], Value::Null, "{name}: what was not taken is not in the record");
    let now = ground.status();
    assert_eq!((now.keys, &now.last_push), (before.keys, &before.last_push), "{name}: the keys changed");
    assert_eq!(now.refreshes_ok, before.refreshes_ok, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_09_nobody_but_the_feeder_replaces_the_keys() {
    let ground = Ground::new().await;
    let (edge, eu1) = (ground.edge(), ground.stage.cluster("eu1"));
    let audience = ground.audience();
    let of = |namespace: &str, account: &str| edge.mint(&TokenAsk::new(namespace, account, &audience)).unwrap();
    let ours = ground.stage.exchange_pod(&ground.stage.pod_token("edge-2")).await;
    let ours = ours.body["access_token"].as_str().unwrap().to_owned();
    let svid = ground.stage.svid();
    let search =
        [("client_assertion_type", JWT_SPIFFE), ("client_assertion", &svid), ("resource", "https://search.example")];
    let plain = ground.stage.token(&search).await.body["access_token"].as_str().unwrap().to_owned();
    let for_audience = |audience: &str| edge.mint(&TokenAsk::new("countersign", "feeder", audience)).unwrap();
    let two = edge.mint(&ground.ask().audiences(&[&audience, &ground.stage.issuer])).unwrap();
    let svid = ground.stage.world.trust_domain().mint(API, &[&audience], Lifetime::from_minutes(5)).unwrap();
    let forged = edge.forge(&ground.ask()).unwrap().key(&eu1.active_key()).sign().unwrap().token();
    let jwks = || ground.jwks();
    refused(
        &ground,
        vec![
            ("a pod of the same cluster", of("shop", "api"), jwks(), 400, "not_granted"),
            ("the same account in another namespace", of("shop", "feeder"), jwks(), 400, "not_granted"),
            ("another account of the namespace", of("countersign", "default"), jwks(), 400, "not_granted"),
            ("a name that begins alike", of("countersign", "feeder-2"), jwks(), 400, "not_granted"),
            ("the feeder of another cluster", eu1.mint(&ground.ask()).unwrap(), jwks(), 401, "key_unknown"),
            ("signed by another cluster's key", forged, jwks(), 401, "signature_invalid"),
            ("a token for exchange", for_audience(&ground.stage.issuer), jwks(), 401, "audience_mismatch"),
            (
                "a token for another source",
                for_audience(&format!("{}/sources/eu1/keys", ground.stage.issuer)),
                jwks(),
                401,
                "audience_mismatch",
            ),
            ("a slash at the end", for_audience(&format!("{audience}/")), jwks(), 401, "audience_near_miss"),
            ("two audiences", two, jwks(), 401, "audience_mismatch"),
            ("AT-14 our own access token", ours, jwks(), 401, "credential_malformed"),
            ("AT-14 our own access token with the typ of others", plain, jwks(), 401, "source_unknown"),
            ("a JWT-SVID", svid, jwks(), 401, "source_unknown"),
            ("no token", "feeder".to_owned(), jwks(), 401, "credential_malformed"),
        ],
    )
    .await;
    assert_eq!(ground.status().last_error, None, "what others send is not shown as the feeder's");
    // The neighbour that is taken; TOK-26: the scheme's name has no case.
    let bearer = format!("bEARER {}", ground.feeder());
    let answer = ground.put(&[("authorization", &bearer), ("content-type", "application/json")], &jwks()).await;
    assert_eq!(answer.status, 204, "TOK-26: {}", answer.text);
    // A token that pushes is no credential for an exchange.
    let answer = ground.stage.exchange_pod(&ground.feeder()).await;
    assert_eq!(ground.stage.reason(&answer).await, "audience_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_must_keep_the_key_that_verified_and_the_size() {
    let ground = Ground::new().await;
    let edge = ground.edge();
    let foreign = ground.stage.cluster("eu1").jwks().to_string();
    let old = edge.active_key();
    let early = ground.feeder();
    edge.rotate(Algorithm::ES256).unwrap();
    edge.withdraw(old.kid()).unwrap();
    let without = ground.jwks();
    edge.adopt(old.clone());
    let both = ground.jwks();
    // The same key under its own name, as another key of that name.
    let mut renamed: Value = serde_json::from_str(&without).unwrap();
    renamed["keys"][0]["kid"] = old.kid().into();
    let padded = |size: usize| format!("{both}{}", " ".repeat(size - both.len()));
    refused(
        &ground,
        vec![
            ("a set without the verifying key", early.clone(), without.clone(), 400, "malformed_request"),
            ("its name on another key", early.clone(), renamed.to_string(), 400, "malformed_request"),
            ("another cluster's set", early.clone(), foreign, 400, "malformed_request"),
            ("an empty set", early.clone(), r#"{"keys":[]}"#.to_owned(), 400, "malformed_request"),
            ("no set", early.clone(), "{}".to_owned(), 400, "malformed_request"),
            ("no JSON", early.clone(), "keys".to_owned(), 400, "malformed_request"),
            ("one byte too many", early.clone(), padded(64 * 1024 + 1), 413, "request_too_large"),
        ],
    )
    .await;
    // Refusals burn nothing, and 64 KiB is not too much.
    let answer = ground.push(&early, &padded(64 * 1024)).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(ground.status().last_error, None, "a push that is taken ends the complaint");
    assert_eq!(ground.status().keys, 2);
    let answer = ground.push(&ground.feeder(), &foreign_set(&ground)).await;
    assert_eq!(answer.status, 400);
    let shown = ground.status().last_error.unwrap();
    assert!(shown.contains("a push was refused: The key that verified your token is not in the key set"), "{shown}");
}

fn foreign_set(ground: &Ground) -> String {
    ground.stage.cluster("eu1").jwks().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_counts_once_in_order_and_while_its_token_does() {
    let ground = Ground::new().await;
    let (stale, replayed) = (ground.feeder(), ground.feeder());
    ground.stage.advance(Lifetime::from_seconds(1)).await;
    let later = ground.feeder();
    ground.pushed(&replayed).await;
    let jwks = || ground.jwks();
    refused(&ground, vec![("a replayed push", replayed.clone(), jwks(), 401, "already_used")]).await;
    ground.pushed(&later).await;
    refused(
        &ground,
        vec![
            ("a stale set", stale, jwks(), 401, "token_too_old"),
            ("a replayed push after another", replayed, jwks(), 401, "already_used"),
        ],
    )
    .await;
    let ended = ground.edge().mint(&ground.ask().lifetime(Lifetime::from_minutes(10))).unwrap();
    ground.stage.advance(Lifetime::from_minutes(11)).await;
    refused(&ground, vec![("a token that has ended", ended, jwks(), 401, "token_expired")]).await;
    let change = |lift: bool| RevocationChange {
        lift,
        kind: RevocationKind::Identity,
        name: "spiffe://id.example/k8s/edge-2/ns/countersign/sa/feeder".to_owned(),
        lasting: None,
        reason: "stolen".to_owned(),
        by: "operator".to_owned(),
    };
    ground.stage.app.exchange().change_revocation(change(false)).await.unwrap();
    refused(&ground, vec![("a revoked feeder", ground.feeder(), jwks(), 401, "revoked")]).await;
    ground.stage.app.exchange().change_revocation(change(true)).await.unwrap();
    ground.stage.advance(Lifetime::from_seconds(1)).await;
    ground.pushed(&ground.feeder()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shape_of_a_push_is_said_clearly() {
    let ground = Ground::new().await;
    let (jwks, bearer) = (ground.jwks(), format!("Bearer {}", ground.feeder()));
    let set = ("content-type", "application/jwk-set+json");
    for (name, headers, status, reason) in [
        ("no credential", vec![set], 400, "credential_missing"),
        ("another scheme", vec![set, ("authorization", "Basic YTpi")], 401, "assertion_type_unsupported"),
        (
            "two credentials",
            vec![set, ("authorization", &bearer), ("authorization", &bearer)],
            400,
            "credential_ambiguous",
        ),
        (
            "a form",
            vec![("content-type", "application/x-www-form-urlencoded"), ("authorization", &bearer)],
            400,
            "malformed_request",
        ),
        ("no content type", vec![("authorization", &bearer)], 400, "malformed_request"),
    ] {
        let answer = ground.put(&headers, &jwks).await;
        assert_eq!((answer.status, ground.stage.reason(&answer).await.as_str()), (status, reason), "{name}");
        let challenge = answer.headers.get("www-authenticate").map(|value| value.to_str().unwrap());
        assert_eq!(challenge.is_some(), status == 401, "{name}");
    }
    // Sources whose keys are not pushed have no such path, whether they are there or not.
    for source in ["eu1", "prod", "nobody", "Edge-2", "edge-2%0a"] {
        let answer =
            ground.stage.request("PUT", &format!("/sources/{source}/keys"), &[("authorization", &bearer)]).await;
        assert_eq!((answer.status, answer.body["error_ref"].is_null()), (404, true), "{source}");
    }
    let answer = ground.stage.request("POST", "/sources/edge-2/keys", &[("authorization", &bearer)]).await;
    assert_eq!((answer.status, answer.headers["allow"].to_str().unwrap()), (405, "PUT"));
    let answer = ground.put(&[set, ("authorization", &bearer)], &jwks).await;
    assert_eq!(answer.status, 204, "the same token, in the right shape: {}", answer.text);
}

/// The cells of the fault matrix (`src/trust/tests/matrix.rs`) that end here.
#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_jwk_15_what_is_wrong_with_a_push_changes_no_key_and_asks_nobody() {
    let ground = Ground::new().await;
    let edge = ground.edge();
    let forge = || edge.forge(&ground.ask()).unwrap();
    let of_issuer = |issuer: &str| forge().claim("iss", issuer).sign().unwrap().token();
    let (large, garbled, good) = (ground.feeder(), ground.feeder(), ground.feeder());
    let (foreign, near) = (of_issuer("https://other.example"), of_issuer(&format!("{}/", edge.issuer())));
    let pod = ground.stage.pod_token("edge-2");
    // All of them by the key that is known; what they bring would be news.
    edge.rotate(Algorithm::ES256).unwrap();
    let news = ground.jwks();
    let asked = || (edge.all_requests(), ground.status().outbound_attempts);
    let before = asked();
    let known = ground.status();
    let answer = ground.push_of_ten_megabytes(&large, &news).await;
    is_refused(&ground, "10 MB", &known, &answer, (413, "request_too_large")).await;
    refused(
        &ground,
        vec![
            ("garbage", garbled, "\u{fffd}<html>not JSON".to_owned(), 400, "malformed_request"),
            ("the issuer of nobody here", foreign, news.clone(), 401, "source_unknown"),
            ("nearly the issuer", near, news.clone(), 401, "source_unknown"),
        ],
    )
    .await;
    assert_eq!(asked(), before, "a push makes us ask nobody");
    assert_eq!(ground.stage.exchange_pod(&pod).await.status, 200, "the keys before serve");
    let answer = ground.push(&good, &news).await;
    assert_eq!(answer.status, 204, "the same, without fault: {}", answer.text);
    assert_eq!((ground.status().keys, ground.status().last_error), (2, None));
    assert_eq!(asked(), before);
}
