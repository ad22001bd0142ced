//! Revocation by operators: identities, sources, keys (REV-08).

use countersign::clock::Lifetime;
use serde_json::{Value, json};

use super::{active, ask, is_active, lift, listed, revoke, served, token};
use crate::grpc::{Call, Client, Told};
use crate::stage::{API, Answer, Stage};

const POD: &str = "spiffe://id.example/k8s/eu1/ns/shop/sa/api";

/// A door that gives tokens for the credential of a workload.
#[derive(Clone, Copy, Debug)]
enum Door {
    Http,
    Grpc,
}

/// Every door there is.
const DOORS: [Door; 2] = [Door::Http, Door::Grpc];

impl Door {
    /// The token, or the reason.
    async fn svid(self, stage: &Stage, svid: &str) -> Result<String, String> {
        match self {
            Self::Http => told(stage, &stage.exchange_svid(svid).await).await,
            Self::Grpc => Self::called(stage, &Call::svid(svid)).await,
        }
    }

    async fn pod(self, stage: &Stage, pod: &str) -> Result<String, String> {
        match self {
            Self::Http => told(stage, &stage.exchange_pod(pod).await).await,
            Self::Grpc => Self::called(stage, &Call::pod(pod)).await,
        }
    }

    async fn called(stage: &Stage, call: &Call) -> Result<String, String> {
        let answer = Client::of(&stage.issuer).exchange(call).await;
        answer.map(|answer| answer.access_token).map_err(|status| Told::of(&status).unwrap().reason.to_lowercase())
    }
}

async fn told(stage: &Stage, answer: &Answer) -> Result<String, String> {
    if answer.status == 200 { Ok(token(answer)) } else { Err(stage.reason(answer).await) }
}

async fn is_refused(stage: &Stage, answer: &Answer) {
    assert_eq!((answer.status, answer.error()), (400, "invalid_client"), "{}", answer.text);
    assert_eq!(stage.reason(answer).await, "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_08_of_a_revoked_identity_no_door_gives_a_token_and_every_old_one_is_inactive() {
    let mut stage = served().await;
    let (svid, pod) = (stage.svid(), stage.pod_token("eu1"));
    let mut old = Vec::new();
    for door in DOORS {
        old.push(door.svid(&stage, &svid).await.unwrap());
        old.push(door.svid(&stage, &stage.svid()).await.unwrap());
    }
    let others = token(&stage.exchange_pod(&pod).await);
    assert_eq!(active(&stage, &old).await, old.len());
    revoke(&stage, "identity", API).await;
    for round in 0..2 {
        for door in DOORS {
            for svid in [&svid, &stage.svid()] {
                assert_eq!(door.svid(&stage, svid).await.unwrap_err(), "revoked", "{door:?}");
            }
            assert!(door.pod(&stage, &pod).await.is_ok(), "{door:?}: others go on");
        }
        assert_eq!(active(&stage, &old).await, 0, "round {round}");
        assert!(is_active(&stage, &others).await);
        assert_eq!(listed(&stage).await, [API]);
        stage.restart().await;
        stage.keys_known().await;
    }
    // Lifted: what is from before stays refused, what is fresh is served.
    stage.advance(Lifetime::from_millis(1500)).await;
    lift(&stage, "identity", API).await;
    is_refused(&stage, &stage.exchange_svid(&svid).await).await;
    assert_eq!(active(&stage, &old).await, 0);
    stage.advance(Lifetime::from_seconds(1)).await;
    let fresh = token(&stage.exchange_svid(&stage.svid()).await);
    assert!(is_active(&stage, &fresh).await);
    // Nothing from before can be alive a day later.
    stage.advance(Lifetime::from_hours(24)).await;
    assert_eq!(listed(&stage).await, [API]);
    stage.advance(Lifetime::from_hours(1)).await;
    assert!(listed(&stage).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_08_a_source_and_a_key_take_all_of_theirs() {
    let stage = served().await;
    let (svid, eu1, edge) = (stage.svid(), stage.pod_token("eu1"), stage.pod_token("edge-2"));
    let answers = [stage.exchange_svid(&svid).await, stage.exchange_pod(&eu1).await, stage.exchange_pod(&edge).await];
    let [of_prod, of_eu1, of_edge] = answers.each_ref().map(token);
    revoke(&stage, "source", "eu1").await;
    is_refused(&stage, &stage.exchange_pod(&eu1).await).await;
    assert_eq!(stage.exchange_pod(&edge).await.status, 200);
    assert!(!is_active(&stage, &of_eu1).await && is_active(&stage, &of_edge).await);

    let jti = answers[0].claims()["jti"].clone();
    let written = stage.written();
    let record = written.iter().find(|record| record["token"]["jti"] == jti).unwrap();
    for name in ["id", "thumbprint"] {
        let key = record["key"][name].as_str().unwrap();
        revoke(&stage, "key", key).await;
        is_refused(&stage, &stage.exchange_svid(&svid).await).await;
        lift(&stage, "key", key).await;
        stage.advance(Lifetime::from_seconds(1)).await;
        assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "{name}");
    }
    assert!(is_active(&stage, &of_prod).await, "a key of a source signed no token of ours");
    // Our own key: while it signs there is a better way, and its tokens are its tokens.
    let own = answers[0].token_header()["kid"].as_str().unwrap().to_owned();
    let refused = ask(&stage, Some(&json!({ "kind": "key", "name": own }))).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("countersign keys revoke"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_08_a_revocation_ends_by_the_clock_and_is_never_shortened_in_passing() {
    let stage = served().await;
    let old = token(&stage.exchange_pod(&stage.pod_token("eu1")).await);
    let made = ask(&stage, Some(&json!({ "kind": "identity", "name": POD, "lasting": "2h" }))).await;
    let again = ask(&stage, Some(&json!({ "kind": "identity", "name": POD, "lasting": "5m" }))).await;
    assert_eq!((made.status, &made.body["ends"]), (again.status, &again.body["ends"]), "{}", again.text);
    stage.advance(Lifetime::from_minutes(119)).await;
    is_refused(&stage, &stage.exchange_pod(&stage.pod_token("eu1")).await).await;
    let from_before = stage.pod_token("eu1");
    stage.advance(Lifetime::from_minutes(1)).await;
    is_refused(&stage, &stage.exchange_pod(&from_before).await).await;
    stage.advance(Lifetime::from_seconds(1)).await;
    assert_eq!(stage.exchange_pod(&stage.pod_token("eu1")).await.status, 200);
    assert!(!is_active(&stage, &old).await);
    // What stands until it is lifted is not ended by one that has an end.
    revoke(&stage, "identity", POD).await;
    let bounded = ask(&stage, Some(&json!({ "kind": "identity", "name": POD, "lasting": "5m" }))).await;
    assert!(bounded.body.get("ends").is_none(), "{}", bounded.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_not_kept() {
    let stage = served().await;
    let ours = token(&stage.exchange_svid(&stage.svid()).await);
    for (body, told) in [
        (json!({ "kind": "identity", "name": "api" }), "no SPIFFE ID"),
        (json!({ "kind": "identity", "name": "" }), "a name has"),
        (json!({ "kind": "identity", "name": "spiffe://PROD.example/ns/shop/sa/api" }), "no SPIFFE ID"),
        (json!({ "kind": "source", "name": "Prod" }), "a source name"),
        (json!({ "kind": "token", "name": ours }), "jti"),
        (json!({ "kind": "token", "name": "x", "lasting": "1h" }), "--for"),
        (json!({ "kind": "token", "name": "x", "lift": true }), "stays so"),
        (json!({ "kind": "identity", "name": API, "lasting": "0s" }), "no time at all"),
        (json!({ "kind": "identity", "name": API, "lasting": "soon" }), "length of time"),
        (json!({ "kind": "identity", "name": API, "lift": true }), "is not revoked"),
        (json!({ "kind": "identity", "name": API, "reason": "x".repeat(513) }), "a reason"),
        (json!({ "kind": "rule", "name": "x" }), "identity, source, key, token"),
    ] {
        let answer = ask(&stage, Some(&body)).await;
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.text);
        assert!(answer.body["error"].as_str().unwrap().contains(told), "{body}: {}", answer.text);
        assert!(!answer.text.contains(&ours));
    }
    assert!(listed(&stage).await.is_empty());
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    // A source that is unknown may be one of before: it is kept, and said.
    let unknown = ask(&stage, Some(&json!({ "kind": "source", "name": "eu9" }))).await;
    assert_eq!(unknown.status, 200);
    assert!(unknown.body["remark"].as_str().unwrap().contains("eu9"));
    let person = ask(&stage, Some(&json!({ "kind": "identity", "name": "login|alice" }))).await;
    assert_eq!(person.status, 200, "{}", person.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_is_revoked_is_recorded_with_who_and_why() {
    let stage = served().await;
    revoke(&stage, "identity", API).await;
    lift(&stage, "identity", API).await;
    let records: Vec<Value> =
        stage.written().into_iter().filter(|record| record["grant_type"] == "revocation").collect();
    let [made, lifted] = records.as_slice() else { panic!("{records:?}") };
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(stage.directory.path()).unwrap());
    let by = format!("uid {uid}");
    let wanted = json!({ "action": "revoke", "kind": "identity", "name": API, "by": by, "reason": "a test" });
    assert_eq!((&made["revocation"], &made["transport"]), (&wanted, &json!("operator")));
    assert_eq!((&lifted["revocation"]["action"], &lifted["revocation"]["by"]), (&json!("lift"), &json!(by)));
    let text = stage.admin("/metrics").await.text;
    assert!(text.contains("countersign_revocations{kind=\"identity\"} 1"), "{text}");
}
