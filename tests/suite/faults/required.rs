//! `audit: { required: true }`: the record is on the disk before the answer arrives, or there is no token (AUD-01).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign::world::cluster::TokenAsk;
use serde_json::Value;

use super::served::{Process, Town};
use crate::stage::{Answer, client, free_address};

/// A process with decisions in `state-one`, and a configuration that says so of its audit.
fn process(town: &Town, audit: &str) -> Process {
    let (listen, admin) = (town.issuer.trim_start_matches("http://"), free_address().to_string());
    let config = town.config("one", listen, &admin);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}audit: {audit}\n")).unwrap();
    Process::new("one", config, listen, &admin)
}

/// `countersign explain <reference>` as a process.
fn explain(town: &Town, reference: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["explain", reference, "-o", "json", "--state"])
        .arg(town.directory.path().join("state-one"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The kept grants, as they lie on the disk.
fn kept_grants(state: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(state.join("decisions")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("grants-"));
    let bytes: Vec<u8> = files.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    let starts = bytes.windows(8).enumerate().filter(|(_, start)| start == b"{\"time\":").map(|(at, _)| at);
    starts.map(|at| serde_json::Deserializer::from_slice(&bytes[at..]).into_iter().next().unwrap().unwrap()).collect()
}

fn reference(answer: &Answer) -> &str {
    answer.body["error_ref"].as_str().unwrap_or_else(|| panic!("no reference: {}", answer.text))
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_what_was_answered_is_on_the_disk_whatever_happens_next() {
    let town = Town::new().await;
    let mut one = process(&town, "{ required: true }");
    one.start();
    one.ready().await;
    for round in 0..3 {
        let granted = town.exchange_svid(&one, &town.svid()).await.unwrap();
        let refused = town.exchange_svid(&one, "a.b.c").await.unwrap();
        one.signal("KILL");
        one.ended(5).await;
        let jti = &granted.claims()["jti"];
        let kept = kept_grants(&town.directory.path().join("state-one"));
        let grant = kept.iter().find(|record| record["token"]["jti"] == *jti);
        let grant = grant.unwrap_or_else(|| panic!("round {round}: {jti} is not among {kept:?}"));
        one.start_with(Stdio::null());
        one.ready().await;
        assert_eq!(explain(&town, reference(&refused))["reason"], "credential_malformed");
        assert_eq!(explain(&town, grant["ref"].as_str().unwrap())["token"]["jti"], *jti);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_no_record_no_token() {
    let town = Town::new().await;
    let mut one = process(&town, "{ required: true }");
    one.start_on_a_full_disk();
    one.ready().await;
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(town.exchange_svid(&one, &town.svid()).await.unwrap());
    }
    let (granted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!granted.is_empty() && !refused.is_empty(), "{} granted, {} refused", granted.len(), refused.len());
    for answer in &refused {
        assert_eq!((answer.status, answer.error()), (503, "temporarily_unavailable"), "{}", answer.text);
        assert!(answer.body.get("access_token").is_none(), "no record, no token");
        assert_eq!(answer.headers["retry-after"], "5");
    }
    assert_eq!(kept_grants(&town.directory.path().join("state-one")).len(), granted.len());
    // Refusals have space of their own: why the first one was refused could still be kept.
    let explained = explain(&town, reference(refused[0]));
    assert_eq!((&explained["reason"], explained.get("token")), (&"audit_unavailable".into(), None), "{explained}");
    assert!(one.metric("countersign_records_lost_total").await.unwrap() >= refused.len() as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_without_it_a_full_disk_refuses_nobody() {
    let town = Town::new().await;
    let mut one = process(&town, "{ required: false }");
    one.start_on_a_full_disk();
    one.ready().await;
    for _ in 0..60 {
        let answer = town.exchange_svid(&one, &town.svid()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for _ in 0..1000 {
        if one.metric("countersign_records_lost_total").await > Some(0.0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("what could not be written was not counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_an_output_that_nobody_reads_stops_no_durable_record() {
    let town = Town::new().await;
    let mut one = process(&town, "{ required: true, stdout: true }");
    one.start_with(Stdio::piped());
    one.ready().await;
    // A pipe takes 64 KiB, some sixty records.
    for _ in 0..200 {
        let answer = town.exchange_svid(&one, &town.svid()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(kept_grants(&town.directory.path().join("state-one")).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_a_push_whose_record_is_required_has_one() {
    let town = Town::new().await;
    let mut one = pushed(&town, "{ required: true }");
    one.start();
    one.ready().await;
    let edge = town.cluster("edge-2");
    let audience = format!("{}/sources/edge-2/keys", town.issuer);
    let token = edge.mint(&TokenAsk::new("countersign", "feeder", &audience)).unwrap();
    crate::evidence::secret(&token);
    let request = client().put(&audience).bearer_auth(&token).header("content-type", "application/jwk-set+json");
    assert_eq!(request.body(edge.jwks().to_string()).send().await.unwrap().status(), 204);
    one.signal("KILL");
    one.ended(5).await;
    let kept = kept_grants(&town.directory.path().join("state-one"));
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["push"]["keys"].as_array().unwrap().len(), 1);
}

/// A [`process`] to which `edge-2` pushes its keys.
fn pushed(town: &Town, audit: &str) -> Process {
    let one = process(town, audit);
    let (config, first) = (town.directory.path().join("one.yaml"), town.directory.path().join("first.json"));
    let (edge, text) = (town.cluster("edge-2"), std::fs::read_to_string(&config).unwrap());
    std::fs::write(&first, edge.jwks().to_string()).unwrap();
    let fetched = format!("api_server: {{ url: \"{}\", ca: edge-2-ca.crt, token: edge-2-admin.token }}", edge.url());
    assert!(text.contains(&fetched), "{text}");
    let push = "push: { first: first.json, by: { namespace: countersign, service_account: feeder } }";
    std::fs::write(&config, text.replace(&fetched, push)).unwrap();
    one
}
