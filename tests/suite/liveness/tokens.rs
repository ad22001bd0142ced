//! What became of tokens of ours when the pod that got them is gone: at introspection and at token exchange (K8S-17).

use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use countersign::world::cluster::pod_path;
use serde_json::json;

use super::{REMEMBERED, granted, record, reviews, stage, unavailable};
use crate::stage::{Answer, JWT_SPIFFE, Stage, encode, part};

/// Who serves `orders`.
const SERVES: &str = "spiffe://prod.example/serves/orders";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Introspects as who serves `orders`.
async fn introspect(stage: &Stage, token: &str) -> Answer {
    let own = stage.world.trust_domain().mint(SERVES, &[&stage.issuer], Lifetime::from_minutes(5)).unwrap();
    let form = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", own.as_str()), ("token", token)];
    stage.post("/introspect", &encode(&form), &[]).await
}

/// Exchanges a token of ours onward, as who serves `orders`.
async fn onward(stage: &Stage, token: &str) -> Answer {
    let own = stage.world.trust_domain().mint(SERVES, &[&stage.issuer], Lifetime::from_minutes(5)).unwrap();
    let form = [
        ("grant_type", EXCHANGE),
        ("client_assertion_type", JWT_SPIFFE),
        ("client_assertion", own.as_str()),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://vault.example"),
    ];
    stage.form(&form, &[]).await
}

fn access_token(answer: &Answer) -> String {
    answer.body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {}", answer.text)).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_17_introspection_says_inactive_once_the_pod_is_gone_without_the_callers_coming_back() {
    let stage = stage().await;
    let eu1 = stage.cluster("eu1");
    let ours = access_token(&granted(&stage, &stage.pod_token("eu1")).await);
    let other = access_token(&granted(&stage, &stage.pod_token("edge-2")).await);
    let active = async |token: &str| introspect(&stage, token).await.body["active"].as_bool();
    assert_eq!((active(&ours).await, active(&other).await), (Some(true), Some(true)));
    let asked = reviews(&stage);
    // Only about tokens that count and are meant for who asks.
    let objects = eu1.requests(&pod_path("shop", "api-0"));
    assert_eq!(objects, 1);
    // Being deleted, it has 60 s more.
    eu1.terminate_pod("shop", "api-0");
    stage.advance(Lifetime::from_seconds(60)).await;
    assert_eq!(active(&ours).await, Some(true));
    stage.advance(REMEMBERED).await;
    let told = introspect(&stage, &ours).await;
    assert_eq!((told.status, told.text.as_str()), (200, r#"{"active":false}"#));
    let record = stage.written().pop().unwrap();
    assert!(record["note"].as_str().unwrap().contains("pods \"api-0\": it was deleted"), "{record}");
    // A pod of the same name is another one.
    eu1.delete_pod("shop", "api-0");
    stage.advance(REMEMBERED).await;
    assert_eq!(active(&ours).await, Some(false));
    eu1.create_pod("shop", "api-0", "api", "node-1");
    stage.advance(REMEMBERED).await;
    assert_eq!(active(&ours).await, Some(false));
    assert_eq!(reviews(&stage), asked, "no platform token was kept to be reviewed again");
    // The new pod's token counts until its account is gone; and it is the account's end that is seen.
    let fresh = access_token(&granted(&stage, &stage.pod_token("eu1")).await);
    assert_eq!(active(&fresh).await, Some(true));
    eu1.delete_service_account("shop", "api");
    stage.advance(REMEMBERED).await;
    assert_eq!((active(&fresh).await, active(&other).await), (Some(false), Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_17_introspection_does_not_guess_when_the_cluster_cannot_be_asked() {
    let stage = stage().await;
    let eu1 = stage.cluster("eu1");
    let ours = access_token(&granted(&stage, &stage.pod_token("eu1")).await);
    let pod = pod_path("shop", "api-0");
    for (behaviour, note) in [
        // A proxy that knows no such path is no API server that knows no such pod.
        (Behaviour::Status(404), "404 of https"),
        (Behaviour::Status(403), "may not get pods"),
        (Behaviour::Garbage, "not what an API server says"),
    ] {
        eu1.behave(&pod, behaviour);
        let answer = introspect(&stage, &ours).await;
        unavailable(&stage, &answer, note).await;
        // A question about what is no token of ours has its answer all the same.
        assert_eq!(introspect(&stage, "x.y.z").await.text, r#"{"active":false}"#);
        stage.advance(Lifetime::from_seconds(1)).await;
    }
    let shown = stage.admin("/readyz").await.text;
    assert!(
        shown.contains("not what an API server says") && !shown.contains("api-0"),
        "no identity on any port: {shown}"
    );
    eu1.behave_well();
    assert_eq!(introspect(&stage, &ours).await.body["active"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_17_a_token_of_ours_whose_pod_is_gone_is_exchanged_no_further() {
    let stage = stage().await;
    let ours = access_token(&granted(&stage, &stage.pod_token("eu1")).await);
    let further = onward(&stage, &ours).await;
    assert_eq!(further.status, 200, "{}", further.text);
    // What comes of it rests on the same pod.
    assert_eq!(further.claims()["rests_on"], part(&ours, 1)["rests_on"]);
    stage.cluster("eu1").delete_pod("shop", "api-0");
    stage.advance(REMEMBERED).await;
    let answer = onward(&stage, &ours).await;
    assert_eq!(stage.reason(&answer).await, "not_alive", "{}", answer.text);
    let record = record(&stage, &answer).await;
    assert_eq!((answer.status, &record["about"]), (400, &json!("subject")));
}
