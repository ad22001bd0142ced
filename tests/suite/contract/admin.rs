//! The admin address: three paths, read-only, no identities.

use std::collections::BTreeSet;

use countersign::clock::Lifetime;
use countersign::world::Behaviour;
use futures_util::FutureExt;
use serde_json::json;

use super::{header, members, metric};
use crate::stage::{API, Stage, client, eventually};

/// Every metric, whole: operators build alerts on these names.
const METRICS: &str = "\
countersign_build gauge
countersign_claims gauge
countersign_clock_skew_seconds gauge
countersign_config_reload_failed gauge
countersign_config_reloads counter
countersign_decision_seconds histogram
countersign_decisions counter
countersign_key_age_seconds gauge
countersign_key_extension_seconds gauge
countersign_key_last_verified_seconds gauge
countersign_key_refresh counter
countersign_keys gauge
countersign_keys_skipped gauge
countersign_keys_stale_deadline_seconds gauge
countersign_outage_budget_seconds gauge
countersign_records_lost counter
countersign_revocations gauge
countersign_signing_activations_postponed counter
countersign_signing_canaries counter
countersign_signing_keys gauge
countersign_store_commit_seconds histogram
countersign_store_failures counter
countersign_telemetry_lost counter";

#[tokio::test(flavor = "multi_thread")]
async fn there_are_three_paths_and_they_are_read_only() {
    let stage = Stage::standard().await;
    stage.app.ready().await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = stage.admin(path).await;
        assert_eq!((answer.status, header(&answer, "cache-control")), (200, "no-store"), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let url = format!("http://{}{path}", stage.app.admin_address());
            let status = client().request(method.clone(), url).send().await.unwrap().status().as_u16();
            assert_eq!(status, 405, "{method} {path}");
        }
    }
    for path in [
        "/",
        "/token",
        "/jwks",
        "/readyz/",
        "/metrics/x",
        "/status",
        "/config",
        "/debug/pprof",
        "/.well-known/openid-configuration",
    ] {
        assert_eq!(stage.admin(path).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_waits_for_first_attempts_and_for_nothing_else() {
    let mut stage = Stage::standard().await;
    stage.app.ready().await;
    let ready = stage.admin("/readyz").await;
    assert_eq!(
        members(&ready.body),
        ["first_failure", "generation", "own_keys_that_wait", "ready", "sources", "waiting_for"]
    );
    assert_eq!((&ready.body["ready"], &ready.body["waiting_for"]), (&json!(true), &json!([])));
    let names: Vec<_> = ready.body["sources"].as_array().unwrap().iter().map(|source| &source["name"]).collect();
    assert_eq!(names, ["prod", "eu1", "edge-2"]);

    // A source that hangs holds readiness back for five seconds, and no longer.
    stage.cluster("eu1").behave_everywhere(Behaviour::Hang);
    stage.restart().await;
    let waiting = stage.admin("/readyz").await;
    assert_eq!((waiting.status, &waiting.body["ready"]), (503, &json!(false)));
    assert_eq!(waiting.body["waiting_for"], json!(["first attempt of each source"]));
    assert_eq!(stage.admin("/healthz").await.status, 200, "alive all the same");
    eventually("five seconds are enough", || {
        stage.clock.advance(Lifetime::from_seconds(5));
        stage.app.ready().now_or_never().is_some()
    })
    .await;
    let shown = stage.admin("/readyz").await;
    assert_eq!((shown.status, &shown.body["ready"]), (200, &json!(true)));
    stage.cluster("eu1").behave_well();

    // A source that fails is shown with its reason, and is not waited for.
    stage.cluster("edge-2").behave_everywhere(Behaviour::Status(500));
    stage.restart().await;
    stage.app.ready().await;
    let down = stage.admin("/readyz").await;
    assert_eq!(down.status, 200);
    let sources = down.body["sources"].as_array().unwrap();
    let edge = sources.iter().find(|source| source["name"] == "edge-2").unwrap();
    assert!(edge["last_error"].as_str().unwrap().contains("500"), "{edge}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metric_names_are_a_promise() {
    let stage = Stage::standard().await;
    let _ = stage.exchange_svid(&stage.svid()).await;
    let refused = stage.exchange_svid("a.b.c").await;
    let _ = stage.app.reload().await;
    let answer = stage.admin("/metrics").await;
    assert_eq!(header(&answer, "content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let names: BTreeSet<&str> = answer.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>().join("\n"), METRICS);
    let helped = answer.text.lines().filter(|line| line.starts_with("# HELP ")).count();
    assert_eq!(helped, METRICS.lines().count(), "each has its sentence");
    assert!(answer.text.ends_with("# EOF\n"));
    let allow = "countersign_decisions_total{outcome=\"allow\",reason=\"none\",transport=\"http\",grant=\"client_credentials\",source=\"prod\",resource=\"orders\"} 1";
    let deny = "countersign_decisions_total{outcome=\"deny\",reason=\"credential_malformed\",transport=\"http\",grant=\"none\",source=\"\",resource=\"\"} 1";
    // The reference of the last refusal stands behind its count, so that a dashboard leads to `explain`.
    let exemplar = format!(" # {{ref=\"{}\"}} 1", refused.body["error_ref"].as_str().unwrap());
    for line in [allow.to_owned(), format!("{deny}{exemplar}")] {
        assert!(answer.text.lines().any(|found| found.trim_end_matches(".0") == line), "{line}\n{}", answer.text);
    }
    let slow = answer.text.lines().filter(|line| line.starts_with("countersign_decision_seconds_bucket"));
    assert_eq!(
        slow.filter(|line| line.contains("} 1 # {ref=\"")).count(),
        2,
        "one bucket of each outcome: {}",
        answer.text
    );
    let verified = metric(&answer.text, "countersign_key_last_verified_seconds{source=\"prod\"}");
    assert_eq!(verified, Some(stage.app.exchange().now().seconds() as f64));
    assert_eq!(metric(&answer.text, "countersign_config_reload_failed"), Some(0.0));
    assert_eq!(metric(&answer.text, "countersign_records_lost_total"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_identities_in_it() {
    let stage = Stage::standard().await;
    let _ = stage.exchange_svid(&stage.svid()).await;
    let _ = stage.exchange_pod(&stage.pod_token("eu1")).await;
    // A stranger cannot write into it either: neither subject nor issuer nor key id becomes a label.
    let forged = stage.svid_forge().claim("sub", "spiffe://label.example/injected").header("kid", "injected-kid");
    let _ = stage.exchange_svid(&forged.sign().unwrap().token()).await;
    for path in ["/readyz", "/metrics", "/healthz"] {
        let text = stage.admin(path).await.text;
        for word in ["spiffe://", API, "shop", "api-0", "node-1", "injected", "label.example", "eyJ"] {
            assert!(!text.contains(word), "{word} is in {path}: {text}");
        }
    }
}
