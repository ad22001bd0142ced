//! Delegation that is granted: hop by hop, with everybody who acts named, and never wider or longer.

use serde_json::{Value, json};

use super::ground::Ground;
use super::request::Request;
use crate::stage::{API, Answer};

async fn send(ground: &Ground, request: Request) -> Answer {
    request.send(&ground.client, ground.issuer()).await
}

fn token(answer: &Answer) -> String {
    answer.body["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hops_name_all_who_act_and_shrink_tx_13_tx_14_tx_15_tx_16_tx_19() {
    let ground = Ground::new().await;
    let end = ground.now().seconds() + 120;
    // The first token ends early: no later one may outlive it.
    let first = ground.ours_saying("at+jwt", |claims| _ = claims.insert("exp".to_owned(), json!(end)));
    let id = |name: &str| format!("spiffe://prod.example/serves/{name}");
    let hops = [
        ("orders", "https://stock.example", json!({ "sub": id("orders") })),
        ("stock", "https://books.example", json!({ "sub": id("stock"), "act": { "sub": id("orders") } })),
        (
            "books",
            "https://stock.example",
            json!({ "sub": id("books"), "act": { "sub": id("stock"), "act": { "sub": id("orders") } } }),
        ),
    ];
    let mut shown = first;
    for (name, resource, act) in hops {
        let path = format!("/serves/{name}");
        let request = ground.exchange(&path, "access_token", &shown).set("resource", resource);
        let answer = send(&ground, request.clone()).await;
        shown = token(&answer);
        let claims = answer.claims();
        assert_eq!((&claims["sub"], &claims["act"]), (&json!(API), &act), "{name}");
        assert_eq!((&claims["aud"], &claims["client_id"]), (&json!(resource), &json!(id(name))), "{name}");
        assert_eq!((&claims["scope"], claims["exp"].as_i64()), (&json!("read"), Some(end)), "{name}");
        assert_eq!((&claims["source"], &claims["kind"]), (&json!("prod"), &json!("jwt_svid")), "{name}");
        let wider = send(&ground, request.with("scope", "read write")).await;
        assert_eq!(wider.error(), "invalid_scope", "{name}");
    }
    // One more: four actors are too many for a rule with depth 1, and for every rule here.
    let deeper = ground.exchange("/serves/stock", "access_token", &shown).set("resource", "https://books.example");
    let refused = send(&ground, deeper).await;
    assert_eq!(
        (refused.error(), ground.stage.reason(&refused).await.as_str()),
        ("invalid_request", "delegation_denied")
    );
    // The last token is for who serves its audience, and for nobody who held it on the way.
    for path in ["/serves/orders", "/serves/books", "/ns/shop/sa/api"] {
        let stolen = ground.exchange(path, "access_token", &shown);
        let refused = send(&ground, stolen).await;
        assert_eq!(ground.stage.reason(&refused).await, "delegation_denied", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_answers_as_the_standard_says_tx_06_tx_07_tx_20_tx_21_tx_22() {
    let ground = Ground::new().await;
    let request = ground
        .good_exchange()
        .with("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
        .with("actor_token", &ground.workload("/serves/orders"))
        .with("actor_token_type", "urn:ietf:params:oauth:token-type:jwt");
    for _ in 0..2 {
        let mut body = send(&ground, request.clone()).await.body;
        body["access_token"].take();
        assert_eq!(
            body,
            json!({
                "access_token": null,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 300,
                "refresh_in": 240,
                "scope": "read",
            })
        );
    }
    let record = ground.stage.written().pop().unwrap();
    assert_eq!(record["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(
        (&record["id"], &record["subject"]["sub"]),
        (&json!("spiffe://prod.example/serves/orders"), &json!(API))
    );
    assert_eq!(record["subject"]["token"], crate::stage::part(&ground.ours, 1)["jti"]);
    assert_eq!(record["rules"], json!(["orders acts on stock for workloads"]));
    let kept = ground.stage.app.exchange().recorder().find(record["ref"].as_str().unwrap()).unwrap().unwrap();
    let told = countersign::exchange::Explanation::of(&kept).to_string();
    assert!(told.contains("✓ subject") && told.contains(API), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_subject_is_acted_for_tx_08_tx_12_tx_17_tx_18() {
    let ground = Ground::new().await;
    let orders = json!({ "sub": "spiffe://prod.example/serves/orders" });
    let pod = "spiffe://id.example/k8s/eu1/ns/shop/sa/api";
    let may = |may_act: Value| ground.svid_exchange(|t| t.claim("may_act", may_act));
    let alone = json!({ "sub": "spiffe://prod.example/serves/orders" });
    let with_issuer = json!({ "sub": "spiffe://prod.example/serves/orders", "iss": ground.issuer() });
    let as_client = json!({ "client_id": "spiffe://prod.example/serves/orders" });
    for (request, sub, scope, act) in [
        (ground.good_exchange(), API, "read", &orders),
        (ground.svid_exchange(|t| t), API, "count read", &orders),
        (ground.exchange("/serves/orders", "jwt", &ground.stage.pod_token("eu1")), pod, "count read", &orders),
        (may(alone), API, "count read", &orders),
        (may(with_issuer), API, "count read", &orders),
        (may(as_client), API, "count read", &orders),
        (ground.exchange("/serves/mask", "jwt", &ground.stage.svid()), API, "read", &Value::Null),
    ] {
        let claims = send(&ground, request).await.claims();
        assert_eq!((&claims["sub"], &claims["scope"], &claims["act"]), (&json!(sub), &json!(scope), act));
    }
    // A token whose audience is the caller itself needs nobody to serve it.
    let inbox = send(&ground, ground.good().set("resource", "spiffe://prod.example/serves/inbox")).await;
    let claims = send(&ground, ground.exchange("/serves/inbox", "access_token", &token(&inbox))).await.claims();
    assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!(API), &json!("spiffe://prod.example/serves/inbox")));
    // Its own platform token, exchanged: nobody acts, and the ordinary rules count.
    let own = ground.exchange("/ns/shop/sa/api", "jwt", &ground.stage.svid()).set("resource", "https://orders.example");
    let claims = send(&ground, own).await.claims();
    assert_eq!((&claims["scope"], claims.get("act")), (&json!("read write"), None));
}
