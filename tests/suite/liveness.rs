//! TokenReview as a liveness check: every answer of an API server and none has its own outcome (standards part 30).

mod asked;
mod tokens;

use countersign::clock::{Clock, Lifetime};
use countersign::world::cluster::{JWKS_PATH, TOKEN_REVIEW_PATH, TokenAsk};
use countersign::world::{Behaviour, SHARED_ISSUER};
use serde_json::{Value, json};
use tonic::Code;

use crate::evidence;
use crate::grpc::{Call, Client, Told};
use crate::stage::{Answer, JWT_BEARER, ORDERS, Stage, cluster_source, part, standard_config};

/// So long an answer counts.
const REMEMBERED: Lifetime = Lifetime::from_seconds(5);
const API_ID: &str = "spiffe://id.example/k8s/eu1/ns/shop/sa/api";
/// The API server's `status.user.extra` keys begin so.
const EXTRA: &str = "authentication.kubernetes.io/";

/// The standard configuration, in which `eu1` is asked and `edge-2` is not.
pub(crate) async fn stage() -> Stage {
    Stage::with(|world, issuer| {
        let eu1 = cluster_source(world.cluster("eu1").unwrap());
        let asked = format!("{eu1}      liveness: {{ token_review: {{}} }}\n");
        let text = standard_config(world, issuer).replace(&eu1, &asked);
        let served = "owner: team-commerce, served_by: { source: prod, path: /serves/orders }";
        let rule = "  - name: who serves orders keeps them for their owner\n    from: { source: prod, path: /serves/orders }\n    \
                    to: { resource: vault, scopes: [open] }\n    on_behalf_of: { subjects: fleet, scopes: [open] }\n";
        let served = text.replace("owner: team-commerce", served).replace("scopes: [open], lifetime", "scopes: [open, read], lifetime");
        served + &rule.replace("[open]", "[read]")
    })
    .await
}

fn reviews(stage: &Stage) -> u64 {
    stage.cluster("eu1").requests(TOKEN_REVIEW_PATH)
}

/// The reason over both doors: HTTP first, then gRPC with the same token, which asks the API server no second time.
async fn refused(stage: &Stage, token: &str) -> (u16, String, Answer) {
    let answer = stage.exchange_pod(token).await;
    let reason = stage.reason(&answer).await;
    let status = Client::of(&stage.issuer).exchange(&Call::pod(token)).await.unwrap_err();
    let told = Told::of(&status).unwrap();
    assert_eq!(told.reason.to_lowercase(), reason, "{status:?}");
    (answer.status, reason, answer)
}

async fn granted(stage: &Stage, token: &str) -> Answer {
    let answer = stage.exchange_pod(token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Client::of(&stage.issuer).exchange(&Call::pod(token)).await.unwrap();
    answer
}

/// The record of a refusal.
async fn record(stage: &Stage, answer: &Answer) -> Value {
    stage.record(answer.body["error_ref"].as_str().unwrap()).await
}

/// What the API server answers to a review of this token when all is well.
fn review_of(stage: &Stage, token: &str) -> Value {
    let claims = part(token, 1);
    let own = &claims["kubernetes.io"];
    let extra: serde_json::Map<String, Value> = [
        ("pod-name", &own["pod"]["name"]),
        ("pod-uid", &own["pod"]["uid"]),
        ("credential-id", &json!(format!("JTI={}", claims["jti"].as_str().unwrap()))),
    ]
    .into_iter()
    .map(|(key, value)| (format!("{EXTRA}{key}"), json!([value])))
    .collect();
    let user = json!({ "username": claims["sub"], "uid": own["serviceaccount"]["uid"], "extra": extra });
    let status = json!({ "authenticated": true, "audiences": [stage.issuer], "user": user });
    json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status })
}

fn answers(stage: &Stage, review: &Value) {
    stage.cluster("eu1").behave(TOKEN_REVIEW_PATH, Behaviour::Body(review.to_string().into_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_16_a_token_counts_when_its_api_server_says_so_for_us() {
    let stage = stage().await;
    let token = stage.pod_token("eu1");
    let answer = granted(&stage, &token).await;
    assert_eq!(reviews(&stage), 1, "both doors, one question");
    let (claims, own) = (answer.claims(), part(&token, 1)["kubernetes.io"].clone());
    let rests_on = json!([{
        "source": "eu1", "namespace": "shop", "service_account": "api", "service_account_uid": own["serviceaccount"]["uid"],
        "pod": own["pod"]["name"], "pod_uid": own["pod"]["uid"],
    }]);
    assert_eq!((&claims["sub"], &claims["rests_on"]), (&json!(API_ID), &rests_on));
    // The cluster that is not asked: no question, no claim.
    let other = granted(&stage, &stage.pod_token("edge-2")).await;
    assert_eq!(other.claims().get("rests_on"), None);
    assert_eq!(stage.cluster("edge-2").requests(TOKEN_REVIEW_PATH), 0);
    let metrics = stage.admin("/metrics").await.text;
    assert!(metrics.contains("countersign_liveness_questions_total{source=\"eu1\",outcome=\"alive\"} 1"), "{metrics}");
    assert!(metrics.contains("countersign_liveness_seconds_count{source=\"eu1\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_16_what_is_not_verified_is_not_asked_about() {
    let stage = stage().await;
    let good = stage.pod_forge("eu1");
    let (head, signature) = stage.pod_token("eu1").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let spoiled: String = signature.chars().rev().collect();
    let junk = [
        format!("{head}.{}AA", &spoiled[..spoiled.len() - 2]),
        good.clone().claim("aud", json!(["https://other.example"])).sign().unwrap().token(),
        good.clone().claim("exp", 1).sign().unwrap().token(),
        good.clone().claim("sub", "system:serviceaccount:shop:admin").sign().unwrap().token(),
        good.claim("iss", "https://other.example").sign().unwrap().token(),
    ];
    for token in &junk {
        assert_eq!(stage.exchange_pod(token).await.status, 400);
    }
    assert_eq!(reviews(&stage), 0);
    granted(&stage, &stage.pod_token("eu1")).await;
    assert_eq!(reviews(&stage), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_17_a_deleted_pod_a_deleted_account_and_an_ended_token_are_not_alive() {
    let stage = stage().await;
    let eu1 = stage.cluster("eu1");
    let token = stage.pod_token("eu1");
    granted(&stage, &token).await;
    eu1.delete_pod("shop", "api-0");
    granted(&stage, &token).await;
    stage.advance(REMEMBERED).await;
    let (status, reason, answer) = refused(&stage, &token).await;
    assert_eq!((status, reason.as_str(), answer.error()), (400, "not_alive", "invalid_client"));
    let note = |record: &Value| record["note"].as_str().unwrap_or_default().to_owned();
    let record_of_pod = record(&stage, &answer).await;
    assert!(note(&record_of_pod).contains("service account token has been invalidated"), "{record_of_pod}");
    // Another pod of that name has another UID: its own token counts, the old one does not.
    let fresh = stage.pod_token("eu1");
    granted(&stage, &fresh).await;
    stage.advance(REMEMBERED).await;
    assert_eq!(refused(&stage, &token).await.1, "not_alive");
    eu1.delete_service_account("shop", "api");
    stage.advance(REMEMBERED).await;
    let (status, reason, answer) = refused(&stage, &fresh).await;
    assert_eq!((status, reason.as_str()), (400, "not_alive"));
    let record_of_account = record(&stage, &answer).await;
    assert!(note(&record_of_account).contains("serviceaccounts"), "{record_of_account}");
    // A pod that is being deleted has 60 s.
    let ending = stage.pod_token("eu1");
    eu1.terminate_pod("shop", "api-0");
    stage.advance(Lifetime::from_seconds(60)).await;
    granted(&stage, &ending).await;
    stage.advance(REMEMBERED).await;
    assert_eq!(refused(&stage, &ending).await.1, "not_alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_16_empty_audiences_and_k8s_18_another_user_are_refused_each_in_its_own_way() {
    let stage = stage().await;
    let token = stage.pod_token("eu1");
    let good = review_of(&stage, &token);
    answers(&stage, &good);
    granted(&stage, &token).await;
    let spoiled = |pointer: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(pointer).unwrap() = value;
        review
    };
    let extra = |key: &str| format!("/status/user/extra/authentication.kubernetes.io~1{key}");
    for (review, reason, got) in [
        (spoiled("/status/audiences", json!([])), "audience_mismatch", "good for the API server alone"),
        (spoiled("/status/audiences", json!(["https://other.example"])), "audience_mismatch", "https://other.example"),
        (spoiled("/status/user/username", json!("system:admin")), "subject_invalid", "system:admin"),
        (spoiled("/status/user/uid", json!("another")), "subject_invalid", "another"),
        (spoiled(&extra("pod-uid"), json!(["another"])), "subject_invalid", "pod-uid"),
        (spoiled(&extra("credential-id"), json!(["JTI=another"])), "subject_invalid", "JTI=another"),
        (spoiled("/status/authenticated", json!(false)), "not_alive", ""),
    ] {
        stage.advance(REMEMBERED).await;
        answers(&stage, &review);
        let (status, told, answer) = refused(&stage, &token).await;
        assert_eq!((status, told.as_str()), (400, reason), "{review}");
        let record = record(&stage, &answer).await;
        assert!(record["got"].as_str().unwrap_or_default().contains(got), "{record}");
        assert!(!answer.text.contains("another"), "{}", answer.text);
    }
    stage.advance(REMEMBERED).await;
    answers(&stage, &good);
    granted(&stage, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_19_an_api_server_that_does_not_answer_is_never_the_callers_fault() {
    let stage = stage().await;
    let eu1 = stage.cluster("eu1");
    let token = stage.pod_token("eu1");
    let busy = |code: u16| (Behaviour::Status(code), format!("{code} of https"));
    for (behaviour, note) in [
        busy(500),
        busy(429),
        busy(404),
        (Behaviour::Garbage, "no TokenReview".to_owned()),
        (Behaviour::Body(b"{}".to_vec()), "no TokenReview".to_owned()),
        (Behaviour::Huge, "more than".to_owned()),
        (Behaviour::Redirect("https://10.0.0.1/".to_owned()), "302 of https".to_owned()),
    ] {
        eu1.behave(TOKEN_REVIEW_PATH, behaviour.clone());
        let answer = stage.exchange_pod(&token).await;
        unavailable(&stage, &answer, &note).await;
        // For one second that is remembered, then it is asked again.
        stage.advance(Lifetime::from_seconds(1)).await;
    }
    // Slow, or silent: after 2 s nobody waits any more.
    for behaviour in [Behaviour::Slow(Lifetime::from_minutes(1)), Behaviour::Hang] {
        eu1.behave(TOKEN_REVIEW_PATH, behaviour);
        let asked = reviews(&stage);
        let (answer, ()) = tokio::join!(stage.exchange_pod(&token), async {
            crate::stage::eventually("the question is out", || reviews(&stage) > asked).await;
            stage.advance(Lifetime::from_seconds(2)).await;
        });
        unavailable(&stage, &answer, "no whole answer").await;
        stage.advance(Lifetime::from_seconds(1)).await;
    }
    eu1.stop().await;
    let answer = stage.exchange_pod(&token).await;
    unavailable(&stage, &answer, "TokenReview at https").await;
    let status = Client::of(&stage.issuer).exchange(&Call::pod(&token)).await.unwrap_err();
    assert_eq!(
        (status.code(), Told::of(&status).unwrap().reason.as_str()),
        (Code::Unavailable, "LIVENESS_UNAVAILABLE")
    );
    assert_eq!(stage.exchange_pod(&stage.pod_token("edge-2")).await.status, 200, "the other cluster is untouched");
    eu1.behave_well();
    eu1.start_again().await.unwrap();
    stage.advance(Lifetime::from_seconds(1)).await;
    granted(&stage, &token).await;
    let shown = stage.admin("/readyz").await.body;
    let eu1 = shown["sources"].as_array().unwrap().iter().find(|source| source["name"] == "eu1").unwrap().clone();
    assert_eq!((&eu1["liveness"]["last_error"], eu1["liveness"]["last_answer"].is_string()), (&Value::Null, true));
}

async fn unavailable(stage: &Stage, answer: &Answer, note: &str) {
    assert_eq!((answer.status, answer.error()), (503, "temporarily_unavailable"), "{}", answer.text);
    assert!(answer.headers.contains_key("retry-after"));
    assert!(answer.body["error_description"].as_str().unwrap().contains("Not your fault"), "{}", answer.text);
    let record = record(stage, answer).await;
    assert_eq!(record["reason"], "liveness_unavailable");
    assert!(record["note"].as_str().unwrap().contains(note), "{note}: {record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_21_our_own_token_is_read_at_each_question_and_its_end_is_our_trouble() {
    let stage = stage().await;
    let eu1 = stage.cluster("eu1");
    let file = stage.directory.path().join("eu1-admin.token");
    let good = std::fs::read_to_string(&file).unwrap();
    let write = |token: &str| {
        evidence::secret(token);
        std::fs::write(&file, token).unwrap();
    };
    // One that was good and has ended, and one that may not review.
    let ask = TokenAsk::new("countersign", "countersign", SHARED_ISSUER);
    let ended = eu1.forge(&ask).unwrap().claim("exp", 1).sign().unwrap().token();
    let weak = eu1.mint(&ask).unwrap();
    let token = stage.pod_token("eu1");
    for (own, note) in [(ended.as_str(), "401 of https"), (&weak, "liveness.yaml"), ("", "is empty")] {
        write(own);
        let answer = stage.exchange_pod(&token).await;
        unavailable(&stage, &answer, note).await;
        stage.advance(Lifetime::from_seconds(1)).await;
    }
    write(&good);
    granted(&stage, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k8s_19_one_token_is_one_question_in_five_seconds_and_questions_are_bounded() {
    let stage = stage().await;
    let token = stage.pod_token("eu1");
    let all = futures_util::future::join_all((0..50).map(|_| stage.exchange_pod(&token))).await;
    assert!(all.iter().all(|answer| answer.status == 200));
    assert_eq!(reviews(&stage), 1, "single flight, then remembered");
    // A refusal is remembered too.
    stage.cluster("eu1").delete_pod("shop", "api-0");
    stage.advance(REMEMBERED).await;
    for _ in 0..20 {
        assert_eq!(stage.reason(&stage.exchange_pod(&token).await).await, "not_alive");
    }
    assert_eq!(reviews(&stage), 2);
    // Other tokens are other questions: at most 16 at a time while nobody answers, whoever comes.
    stage.cluster("eu1").behave(TOKEN_REVIEW_PATH, Behaviour::Hang);
    let tokens: Vec<String> = (0..40).map(|_| stage.pod_token("eu1")).collect();
    let (answers, ()) =
        tokio::join!(futures_util::future::join_all(tokens.iter().map(|token| stage.exchange_pod(token))), async {
            crate::stage::eventually("the places are taken", || {
                reviews(&stage) == 18 && stage.app.exchange().metrics().count("deny", "liveness_unavailable") == 24
            })
            .await;
            stage.advance(Lifetime::from_seconds(2)).await;
        });
    assert!(answers.iter().all(|answer| answer.status == 503), "K8S-19: it fails closed");
    assert_eq!(reviews(&stage), 18);
    // And at most a hundred in one second.
    stage.cluster("eu1").behave_well();
    stage.advance(Lifetime::from_seconds(1)).await;
    let mut unavailable = 0;
    for _ in 0..110 {
        unavailable += usize::from(stage.exchange_pod(&stage.pod_token("eu1")).await.status == 503);
    }
    assert_eq!((unavailable, reviews(&stage)), (10, 118));
    let shown = stage.admin("/readyz").await.body;
    let of = |name: &str| shown["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap();
    assert_eq!(of("eu1")["liveness"]["last_turned_away"], json!(stage.clock.now().to_rfc3339()), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_turns_the_check_on_and_off() {
    let stage = stage().await;
    let path = stage.directory.path().join("countersign.yaml");
    let asked = std::fs::read_to_string(&path).unwrap();
    let token = stage.pod_token("eu1");
    stage.cluster("eu1").delete_pod("shop", "api-0");
    assert_eq!(refused(&stage, &token).await.1, "not_alive");
    let fetched = stage.cluster("eu1").requests(JWKS_PATH);
    stage.reconfigure(&asked.replace("      liveness: { token_review: {} }\n", "")).await;
    let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", token.as_str()), ("resource", ORDERS)];
    assert_eq!(stage.token(&form).await.status, 200, "offline, the token says nothing of its pod");
    stage.reconfigure(&asked).await;
    assert_eq!(refused(&stage, &token).await.1, "not_alive");
    assert_eq!(stage.cluster("eu1").requests(JWKS_PATH), fetched, "the keys stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_asks_with_all_rights_that_are_needed() {
    let stage = stage().await;
    let config = stage.directory.path().join("countersign.yaml");
    let doctor = async || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["doctor", "--config"]).arg(&config);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let well = doctor().await;
    assert!(well.contains("liveness: it reviews tokens and shows pods and accounts"), "{well}");
    let weak = stage.cluster("eu1").mint(&TokenAsk::new("countersign", "countersign", SHARED_ISSUER)).unwrap();
    evidence::secret(&weak);
    std::fs::write(stage.directory.path().join("eu1-admin.token"), weak).unwrap();
    let ill = doctor().await;
    assert!(
        ill.contains("may not review tokens") && ill.contains("kubectl apply -f deploy/kubernetes/liveness.yaml"),
        "{ill}"
    );
}
