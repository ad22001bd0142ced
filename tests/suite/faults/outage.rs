//! How long is left when a source stays away, who may lengthen it, and what nobody can lengthen.

use countersign::clock::{Clock, Lifetime, Timestamp};
use countersign::trust::BudgetEnd;
use countersign::world::spiffe_agent::Answer as AgentAnswer;
use serde_json::{Value, json};

use super::{metric, next_attempt, refused, shown, status, within};
use crate::evidence;
use crate::stage::{Answer, Stage, answer, client_builder, standard_config};

/// The standard configuration, with an hour of `max_stale` for eu1.
async fn stale_after_an_hour() -> Stage {
    Stage::with(|world, issuer| {
        standard_config(world, issuer).replacen("    groups: [fleet]", "    max_stale: 1h\n    groups: [fleet]", 1)
    })
    .await
}

/// Gives an order over the operator socket.
pub(crate) async fn extend(stage: &Stage, source: &str, lasting: &str) -> Answer {
    let client = client_builder().unix_socket(stage.directory.path().join("state/operator.sock")).build().unwrap();
    let body = json!({ "source": source, "lasting": lasting, "reason": "a test" }).to_string();
    let request = client.post("http://operator/extensions").header("content-type", "application/json").body(body);
    let answer = answer(request.send().await.unwrap()).await;
    evidence::keep("operator.txt", &answer.text);
    answer
}

async fn by_eu1(stage: &Stage) -> Answer {
    stage.exchange_pod(&stage.pod_token("eu1")).await
}

fn move_to(stage: &Stage, moment: Timestamp) {
    stage.clock.advance(moment.since(stage.clock.now()));
}

async fn goes_away(stage: &Stage) {
    stage.cluster("eu1").stop().await;
    next_attempt(stage, "eu1").await;
    within(10, "it is noticed", || status(stage, "eu1").last_error.is_some()).await;
}

const MOMENT: Lifetime = Lifetime::from_millis(1);

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_the_outage_budget_is_the_moment_of_the_first_refusal() {
    let stage = stale_after_an_hour().await;
    let ready = stage.admin("/readyz").await.body;
    assert_eq!(ready["first_failure"]["sources"], json!(["eu1"]), "the shortest of all: {ready}");
    goes_away(&stage).await;
    let budget = status(&stage, "eu1").budget;
    assert_eq!(budget.ends, BudgetEnd::MaxStale);
    let left = budget.until.since(stage.clock.now()).seconds();
    assert_eq!(shown(&stage, "eu1").await["outage_budget_seconds"], left);
    assert_eq!(metric(&stage, "countersign_outage_budget_seconds{source=\"eu1\"}").await, left as f64);
    assert_eq!(shown(&stage, "prod").await["outage_budget_seconds"], 24 * 3600, "a stream confirms all the time");

    move_to(&stage, budget.until);
    assert_eq!(by_eu1(&stage).await.status, 200, "to the last moment");
    stage.clock.advance(MOMENT);
    let answer = by_eu1(&stage).await;
    refused(&stage, &answer, 503, "keys_stale").await;
    let record = stage.record(answer.body["error_ref"].as_str().unwrap()).await;
    assert!(record["note"].as_str().unwrap().contains("countersign keys extend eu1"), "{record}");
    assert_eq!(metric(&stage, "countersign_outage_budget_seconds{source=\"eu1\"}").await, 0.0);
    let ready = stage.admin("/readyz").await;
    assert_eq!(ready.status, 200, "we are well");
    assert_eq!(
        (&ready.body["first_failure"]["in_seconds"], &ready.body["first_failure"]["sources"]),
        (&json!(0), &json!(["eu1"]))
    );
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "others are not concerned");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_an_operator_can_give_a_source_more_time_and_it_ends_by_itself() {
    let mut stage = stale_after_an_hour().await;
    within(10, "the keys are kept", || stage.directory.path().join("state/keys/eu1.json").exists()).await;
    goes_away(&stage).await;
    stage.advance(Lifetime::from_minutes(61)).await;
    refused(&stage, &by_eu1(&stage).await, 503, "keys_stale").await;
    let made = extend(&stage, "eu1", "2h").await;
    assert_eq!(made.status, 200, "{}", made.text);
    let again = extend(&stage, "eu1", "2h").await;
    assert_eq!(again.body["extension"]["until"], made.body["extension"]["until"], "the same order is the same order");
    assert_eq!(by_eu1(&stage).await.status, 200);
    stage.restart().await;
    assert_eq!(by_eu1(&stage).await.status, 200, "it outlives a restart");

    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(stage.directory.path()).unwrap());
    let extended = shown(&stage, "eu1").await["extended"].clone();
    let until = made.body["extension"]["until"].as_str().unwrap();
    assert_eq!(extended["until"], until);
    assert_eq!((extended.get("by"), extended.get("reason")), (None, None), "no identities, and no words of operators");
    // Who finds the process up after a restart finds the order in its log.
    let logs = std::fs::read_to_string(evidence::directory().join("logs.txt")).unwrap();
    let found = format!("eu1 serve until {until} by an order of uid {uid}: a test");
    assert!(logs.lines().any(|line| line.contains("WARN") && line.contains(&found)), "{found}");
    assert!((7190.0..=7200.0).contains(&metric(&stage, "countersign_key_extension_seconds{source=\"eu1\"}").await));
    let is_order = |record: &&Value| record["extension"]["action"] == "extend";
    let record = stage.written().iter().find(is_order).cloned().unwrap();
    assert_eq!((&record["extension"]["source"], &record["extension"]["reason"]), (&json!("eu1"), &json!("a test")));
    assert_eq!((&record["transport"], &record["extension"]["by"]), (&json!("operator"), &json!(format!("uid {uid}"))));

    let budget = status(&stage, "eu1").budget;
    assert_eq!(budget.ends, BudgetEnd::Extension);
    move_to(&stage, budget.until);
    assert_eq!(by_eu1(&stage).await.status, 200, "to the last moment");
    stage.clock.advance(MOMENT);
    refused(&stage, &by_eu1(&stage).await, 503, "keys_stale").await;
    assert_eq!(shown(&stage, "eu1").await["extended"], Value::Null);
    assert_eq!(metric(&stage, "countersign_key_extension_seconds{source=\"eu1\"}").await, 0.0);

    assert_eq!(extend(&stage, "eu1", "1h").await.status, 200);
    assert_eq!(by_eu1(&stage).await.status, 200, "once more");
    assert_eq!(extend(&stage, "eu1", "0s").await.status, 200);
    refused(&stage, &by_eu1(&stage).await, 503, "keys_stale").await;
    stage.restart().await;
    refused(&stage, &by_eu1(&stage).await, 503, "keys_stale").await;
    assert!(stage.written().iter().any(|record| record["extension"]["action"] == "end"), "ended on the record too");

    // The source comes back: nothing of it is left.
    stage.cluster("eu1").start_again().await.unwrap();
    next_attempt(&stage, "eu1").await;
    within(10, "it is well again", || status(&stage, "eu1").last_error.is_none()).await;
    assert_eq!(status(&stage, "eu1").budget.ends, BudgetEnd::MaxStale);
    assert_eq!(by_eu1(&stage).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wap_09_bun_02_no_order_brings_back_what_was_withdrawn() {
    let stage = stale_after_an_hour().await;
    // Given before, so that it stands when the keys go.
    for source in ["prod", "edge-2"] {
        assert_eq!(extend(&stage, source, "4h").await.status, 200);
    }
    stage.world.agent().answer(AgentAnswer::PermissionDenied);
    within(10, "the agent says no", || status(&stage, "prod").budget.ends == BudgetEnd::AgentDenied).await;
    // The stream of X.509 authorities may hear it a moment later.
    let mut denied = extend(&stage, "prod", "4h").await;
    for _ in 0..100 {
        if denied.status == 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            denied = extend(&stage, "prod", "4h").await;
        }
    }
    assert_eq!(denied.status, 409);
    assert!(denied.text.contains("PERMISSION_DENIED"), "{}", denied.text);
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "in its grace");
    let until = status(&stage, "prod").budget.until;
    assert!(until.since(stage.clock.now()) <= Lifetime::from_seconds(60));
    move_to(&stage, until);
    refused(&stage, &stage.exchange_svid(&stage.svid()).await, 400, "key_unknown").await;
    assert_eq!(status(&stage, "prod").budget.ends, BudgetEnd::NoKeys);

    stage.cluster("edge-2").publish_empty(true);
    next_attempt(&stage, "edge-2").await;
    within(10, "the withdrawal is read", || status(&stage, "edge-2").keys == 0).await;
    let withdrawn = extend(&stage, "edge-2", "4h").await;
    assert_eq!(withdrawn.status, 409);
    assert!(withdrawn.text.contains("withdrawn"), "{}", withdrawn.text);
    assert_ne!(stage.exchange_pod(&stage.pod_token("edge-2")).await.status, 200);
    assert_eq!(by_eu1(&stage).await.status, 200, "what is good stays good");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_make_no_sense_change_nothing() {
    let stage = stale_after_an_hour().await;
    for (source, lasting, code, told) in [
        ("eu9", "1h", 409, "no source"),
        ("EU 1", "1h", 400, "a source name"),
        ("eu1", "soon", 400, "no length of time"),
        ("eu1", "25h", 409, "at most"),
        ("eu1", "0s", 409, "nothing was extended"),
    ] {
        let answer = extend(&stage, source, lasting).await;
        assert_eq!(answer.status, code, "{}", answer.text);
        assert!(answer.body["error"].as_str().unwrap().contains(told), "{}", answer.text);
    }
    assert!(stage.app.trust().status().iter().all(|source| source.extension.is_none()));
    assert!(stage.written().iter().all(|record| record.get("extension").is_none()));
    assert_eq!(extend(&stage, "eu1", "24h").await.status, 200, "the neighbouring one is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_pointed_elsewhere_has_no_extension() {
    let stage = stale_after_an_hour().await;
    assert_eq!(extend(&stage, "eu1", "4h").await.status, 200);
    assert!(status(&stage, "eu1").extension.is_some());
    let (here, there) = (stage.cluster("eu1").url(), stage.cluster("edge-2").url());
    let config = std::fs::read_to_string(stage.directory.path().join("countersign.yaml")).unwrap();
    stage
        .reconfigure(&config.replace(&format!("url: \"{here}\", ca: eu1"), &format!("url: \"{there}\", ca: eu1")))
        .await;
    assert!(status(&stage, "eu1").extension.is_none());
    // Back where it was, the order is what it was.
    stage.reconfigure(&config).await;
    assert!(status(&stage, "eu1").extension.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_difference_of_clocks_is_measured_and_told() {
    let stage = Stage::standard().await;
    // The pretend cluster writes the machine's time into `Date`, in whole seconds.
    stage.clock.advance(Lifetime::from_hours(1));
    next_attempt(&stage, "eu1").await;
    let skew = status(&stage, "eu1").skew_seconds.unwrap();
    assert!((-4500..=-3598).contains(&skew), "{skew}");
    assert_eq!(shown(&stage, "eu1").await["clock_skew_seconds"], skew);
    assert_eq!(metric(&stage, "countersign_clock_skew_seconds{source=\"eu1\"}").await, skew as f64);
    let begins = stage.clock.now().seconds() + 31;
    let early = stage.pod_forge("eu1").claim("nbf", begins).sign().unwrap().token();
    let answer = stage.exchange_pod(&early).await;
    refused(&stage, &answer, 400, "token_not_yet_valid").await;
    let record = stage.record(answer.body["error_ref"].as_str().unwrap()).await;
    assert!(record["note"].as_str().unwrap().contains(&format!("the clock of eu1 is {skew:+} s to ours")), "{record}");
    let allowed = stage.pod_forge("eu1").claim("nbf", begins - 1).sign().unwrap().token();
    assert_eq!(stage.exchange_pod(&allowed).await.status, 200, "within the leeway");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_15_an_order_covers_authorities_where_there_are_no_keys_of_jwts() {
    let stage = Stage::with(|world, issuer| {
        let path = world.directory().join("bundle.json");
        std::fs::write(path, world.trust_domain().spiffe_bundle().to_string()).unwrap();
        let text = standard_config(world, issuer);
        let (start, end) = (text.find("workload_api").unwrap(), text.find(", paths").unwrap());
        text.replacen(&text[start..end], "bundle: { file: bundle.json }", 1)
    })
    .await;
    let path = stage.directory.path().join("bundle.json");
    let mut bundle = stage.world.trust_domain().spiffe_bundle();
    bundle["keys"].as_array_mut().unwrap().retain(|key| key["use"] == "x509-svid");
    std::fs::write(&path, bundle.to_string()).unwrap();
    super::next_file(&stage, "prod").await;
    within(10, "only authorities are left", || {
        let prod = status(&stage, "prod");
        prod.keys == 0 && prod.authorities > 0
    })
    .await;
    assert_eq!(status(&stage, "prod").budget.ends, BudgetEnd::MaxStale, "its callers have a certificate");
    std::fs::remove_file(&path).unwrap();
    stage.advance(Lifetime::from_hours(25)).await;
    let before = status(&stage, "prod").budget.until;
    assert!(before < stage.clock.now());
    let made = extend(&stage, "prod", "2h").await;
    assert_eq!(made.status, 200, "{}", made.text);
    let budget = status(&stage, "prod").budget;
    assert_eq!((budget.ends, budget.until), (BudgetEnd::Extension, stage.clock.now().plus(Lifetime::from_hours(2))));
    // Authorities that are withdrawn too stay so.
    std::fs::write(&path, json!({ "keys": [] }).to_string()).unwrap();
    super::next_file(&stage, "prod").await;
    within(10, "the withdrawal is read", || status(&stage, "prod").authorities == 0).await;
    let withdrawn = extend(&stage, "prod", "2h").await;
    assert_eq!((withdrawn.status, withdrawn.text.contains("withdrawn")), (409, true), "{}", withdrawn.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_stands_with_its_record_also_when_who_gave_it_is_gone() {
    use std::io::Write;
    let stage = stale_after_an_hour().await;
    let (state, body) = (stage.directory.path().join("state"), r#"{"source":"eu1","lasting":"1h","reason":"a test"}"#);
    let records = |action: &str| {
        let is = |record: &&Value| record["extension"]["action"] == action;
        stage.written().iter().filter(is).count()
    };
    let kept = || state.join("extensions/eu1.json").exists();
    let mut ends = 0;
    for round in 0..40 {
        let mut socket = std::os::unix::net::UnixStream::connect(state.join("operator.sock")).unwrap();
        let request = format!(
            "POST /extensions HTTP/1.1\r\nhost: operator\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        // Gone before it is read, while it is kept, or after.
        tokio::time::sleep(std::time::Duration::from_micros(250 * round)).await;
        drop(socket);
        ends += usize::from(extend(&stage, "eu1", "0s").await.status == 200);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        within(10, "it stands if it is kept", || kept() == status(&stage, "eu1").extension.is_some()).await;
    }
    ends += usize::from(extend(&stage, "eu1", "0s").await.status == 200);
    assert!(ends > 0 && !kept());
    assert_eq!((records("extend"), records("end")), (ends, ends));
}
