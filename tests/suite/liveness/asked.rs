//! What a cluster is asked, when, and about whom it is not asked at all.

use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use countersign::world::cluster::{TokenAsk, pod_path};
use serde_json::json;

use super::{API_ID, REMEMBERED, answers, granted, refused, reviews, stage, unavailable};
use crate::revocation::revoke;
use crate::stage::{Answer, JWT_BEARER, JWT_SPIFFE, Stage, cluster_source, encode, eventually, standard_config};

const VAULT: &str = "https://vault.example";

/// The stage, where the assertion grant is served too.
async fn with_assertions() -> Stage {
    let stage = stage().await;
    let config = std::fs::read_to_string(stage.directory.path().join("countersign.yaml")).unwrap();
    stage.reconfigure(&format!("{config}assertion_grant: {{ enabled: true }}\n")).await;
    stage
}

/// The assertion grant, as who serves `orders`.
async fn asserted(stage: &Stage, assertion: &str) -> Answer {
    let serves = "spiffe://prod.example/serves/orders";
    let own = stage.world.trust_domain().mint(serves, &[&stage.issuer], Lifetime::from_minutes(5)).unwrap();
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("client_assertion_type", JWT_SPIFFE),
        ("client_assertion", own.as_str()),
        ("assertion", assertion),
        ("resource", VAULT),
    ];
    stage.form(&form, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_16_k8s_16_an_assertion_for_the_token_endpoint_is_asked_about_as_what_it_is() {
    let stage = with_assertions().await;
    let endpoint = format!("{}/token", stage.issuer);
    let token = stage.cluster("eu1").mint(&TokenAsk::new("shop", "api", &endpoint)).unwrap();
    let answer = asserted(&stage, &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((&answer.claims()["sub"], answer.claims()["rests_on"].is_array()), (&json!(API_ID), true));
    assert_eq!(asserted(&stage, &stage.pod_token("eu1")).await.status, 200, "and one for the issuer");
    assert_eq!(reviews(&stage), 2);
    // As a credential it is for nobody here, and nobody is asked.
    assert_eq!(refused(&stage, &token).await.1, "audience_mismatch");
    assert_eq!(reviews(&stage), 2);
    stage.cluster("eu1").delete_pod("shop", "api-0");
    stage.advance(REMEMBERED).await;
    let gone = asserted(&stage, &token).await;
    assert_eq!((gone.status, gone.error(), stage.reason(&gone).await.as_str()), (400, "invalid_grant", "not_alive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_19_an_api_server_that_could_not_check_a_token_blames_nobody() {
    let stage = stage().await;
    let token = stage.pod_token("eu1");
    let says = |error: &str| {
        let status = json!({ "user": {}, "error": format!("[invalid bearer token, {error}]") });
        answers(&stage, &json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status }));
    };
    for trouble in [
        "etcdserver: request timed out",
        "Post \"https://webhook\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
    ] {
        says(trouble);
        let answer = stage.exchange_pod(&token).await;
        unavailable(&stage, &answer, trouble.get(..5).unwrap()).await;
        let shown = stage.admin("/readyz").await.text;
        assert!(
            shown.contains("could not check a token") && !shown.contains(&trouble[..5]),
            "it may name anybody: {shown}"
        );
        stage.advance(Lifetime::from_seconds(1)).await;
    }
    says("service account token has expired");
    assert_eq!(refused(&stage, &token).await.1, "not_alive");
    stage.advance(REMEMBERED).await;
    stage.cluster("eu1").behave_well();
    granted(&stage, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_19_rev_08_of_what_is_revoked_the_cluster_is_not_asked() {
    let stage = with_assertions().await;
    assert_eq!(asserted(&stage, &stage.pod_token("eu1")).await.status, 200);
    revoke(&stage, "identity", API_ID).await;
    for _ in 0..3 {
        // Each is another token, and would be another question.
        assert_eq!(refused(&stage, &stage.pod_token("eu1")).await.1, "revoked");
        let subject = asserted(&stage, &stage.pod_token("eu1")).await;
        assert_eq!(stage.reason(&subject).await, "revoked", "{}", subject.text);
    }
    assert_eq!(reviews(&stage), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_19_of_who_comes_too_often_the_cluster_is_not_asked() {
    let stage = stage().await;
    let config = std::fs::read_to_string(stage.directory.path().join("countersign.yaml")).unwrap();
    stage.reconfigure(&format!("{config}limits: {{ per_identity: 2/s }}\n")).await;
    let mut served = 0;
    for _ in 0..10 {
        let answer = stage.exchange_pod(&stage.pod_token("eu1")).await;
        match answer.status {
            200 => served += 1,
            _ => assert_eq!(stage.reason(&answer).await, "rate_limited"),
        }
    }
    assert!((1..10).contains(&served));
    assert_eq!(reviews(&stage), served);
}

/// Both clusters are asked, and the API of one may act for that of the other.
async fn of_two_clusters() -> Stage {
    Stage::with(|world, issuer| {
        let mut text = standard_config(world, issuer);
        for cluster in world.clusters() {
            let source = cluster_source(cluster);
            text = text.replace(&source, &format!("{source}      liveness: {{ token_review: {{}} }}\n"));
        }
        text + "  - name: clusters open the vault for each other\n    from: { group: fleet, namespace: shop, service_account: api }\n    \
                to: { resource: vault, scopes: [open] }\n    on_behalf_of: { subjects: fleet }\n"
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_17_all_clusters_that_a_token_rests_on_are_asked_at_once() {
    let stage = of_two_clusters().await;
    let (caller, subject) = (stage.pod_token("edge-2"), stage.pod_token("eu1"));
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", caller.as_str()),
        ("subject_token", subject.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("resource", VAULT),
    ];
    let answer = stage.form(&form, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.claims()["rests_on"].as_array().map(Vec::len), Some(2));
    let ours = answer.body["access_token"].as_str().unwrap().to_owned();
    let introspect = async || {
        let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", subject.as_str()), ("token", &ours)];
        stage.post("/introspect", &encode(&form), &[]).await
    };
    let (eu1, edge, pod) = (stage.cluster("eu1"), stage.cluster("edge-2"), pod_path("shop", "api-0"));
    for cluster in [eu1, edge] {
        cluster.behave(&pod, Behaviour::Hang);
    }
    let (answer, ()) = tokio::join!(introspect(), async {
        eventually("both are asked", || eu1.requests(&pod) == 1 && edge.requests(&pod) == 1).await;
        stage.advance(Lifetime::from_seconds(2)).await;
    });
    unavailable(&stage, &answer, "no whole answer").await;
    // Who hears that serves a resource, and no platform of its own is meant.
    assert!(!answer.text.contains("your platform") && !answer.text.contains("this workload"), "{}", answer.text);
    for cluster in [eu1, edge] {
        cluster.behave_well();
    }
    stage.advance(Lifetime::from_seconds(1)).await;
    assert_eq!(introspect().await.body["active"], true);
    // One that is gone is enough.
    edge.delete_pod("shop", "api-0");
    stage.advance(REMEMBERED).await;
    assert_eq!(introspect().await.text, r#"{"active":false}"#);
}
