//! SIGHUP, SIGTERM, and an output that nobody reads.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::served::{Process, Town, form};
use crate::evidence;
use crate::stage::{JWT_SPIFFE, free_address};

/// A request whose body is not whole yet, and what is missing of it.
async fn half_a_request(town: &Town, process: &Process) -> (TcpStream, Vec<u8>) {
    let svid = town.svid();
    evidence::secret(&svid);
    let body = form(JWT_SPIFFE, &svid).into_bytes();
    let mut connection = TcpStream::connect(&process.public).await.unwrap();
    let head = format!(
        "POST /token HTTP/1.1\r\nhost: id\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (now, later) = body.split_at(body.len() / 2);
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(now).await.unwrap();
    (connection, later.to_vec())
}

/// Waits until the process has taken the open request: then it counts as running.
async fn refuses_connections(process: &Process) {
    for _ in 0..500 {
        if TcpStream::connect(&process.public).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it still takes connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_configuration_and_what_it_names_again() {
    let town = Town::new().await;
    // Key files are compared at load, and are no part of what is watched: only the signal makes it look.
    for (file, cluster) in [("north.json", "eu1"), ("south.json", "edge-2")] {
        std::fs::write(town.directory.path().join(file), town.cluster(cluster).jwks().to_string()).unwrap();
    }
    let admin = free_address().to_string();
    let listen = town.issuer.trim_start_matches("http://").to_owned();
    let path = town.config("a", &listen, &admin);
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (file, cluster) in [("north.json", "eu1"), ("south.json", "edge-2")] {
        let start = text.find(&format!("keys: {{ api_server: {{ url: \"{}\"", town.cluster(cluster).url())).unwrap();
        let end = start + text[start..].find('\n').unwrap();
        text.replace_range(start..end, &format!("keys: {{ file: {file} }}"));
    }
    std::fs::write(&path, &text).unwrap();
    let mut process = Process::new("a", path.clone(), &listen, &admin);
    process.start();
    process.ready().await;
    town.grants(&process).await;
    assert_eq!(process.metric("countersign_config_reload_failed").await, Some(0.0));
    std::fs::copy(town.directory.path().join("north.json"), town.directory.path().join("south.json")).unwrap();
    process.signal("HUP");
    metric_becomes(&process, "countersign_config_reload_failed", 1.0).await;
    let errors = process.errors();
    assert!(errors.contains("is in eu1 and in edge-2"), "K8S-09: both names: {errors}");
    let answer = town.exchange_pod(&process, &town.pod_token("eu1")).await.unwrap();
    assert_eq!(answer.status, 200, "a bad one never replaces a good one: {}", answer.text);
    // A good one is taken.
    std::fs::write(town.directory.path().join("south.json"), town.cluster("edge-2").jwks().to_string()).unwrap();
    std::fs::write(&path, text.replace("scopes: [read, write], lifetime: 5m", "scopes: [read, write], lifetime: 2m"))
        .unwrap();
    process.signal("HUP");
    metric_becomes(&process, "countersign_config_reload_failed", 0.0).await;
    let answer = town.exchange_svid(&process, &town.svid()).await.unwrap();
    assert_eq!(answer.body["expires_in"], 120, "{}", answer.text);
    process.signal("TERM");
    assert_eq!(process.ended(10).await.code(), Some(0));
}

async fn metric_becomes(process: &Process, name: &str, value: f64) {
    for _ in 0..500 {
        if process.metric(name).await == Some(value) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{name} did not become {value}: {}", process.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_requests_finish_and_exits_with_0() {
    let town = Town::new().await;
    let mut process = town.serve("a").await;
    town.grants(&process).await;
    let (mut connection, rest) = half_a_request(&town, &process).await;
    // The request was read before this one was answered: they came on one after the other.
    town.grants(&process).await;
    process.signal("TERM");
    refuses_connections(&process).await;
    assert!(process.child().try_wait().unwrap().is_none(), "it waits for the open request");
    connection.write_all(&rest).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    evidence::secret(body["access_token"].as_str().unwrap());
    assert_eq!(process.ended(10).await.code(), Some(0));
    let records = process.records();
    assert_eq!(records.len(), 7, "every request has its record, the last one too (AUD-01)");
    assert!(records.iter().all(|record| record["outcome"] == "allow"));
    assert!(process.errors().contains("every request was answered"), "{}", process.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_cuts_a_request_that_never_ends_and_exits_with_0() {
    let town = Town::new().await;
    let mut process = town.serve("a").await;
    let (connection, _rest) = half_a_request(&town, &process).await;
    town.grants(&process).await;
    process.signal("TERM");
    // 20 s for running requests (Limits::drain), below the 30 s after which Kubernetes kills.
    assert_eq!(process.ended(26).await.code(), Some(0));
    drop(connection);
    let records = process.records();
    assert_eq!(records.len(), 4);
    assert_eq!(records.iter().filter(|record| record["outcome"] == "dropped").count(), 1, "AUD-01: {records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_nobody_reads_holds_up_neither_requests_nor_the_end() {
    let town = Town::new().await;
    let admin = free_address().to_string();
    let listen = town.issuer.trim_start_matches("http://").to_owned();
    let mut process = Process::new("a", town.config("a", &listen, &admin), &listen, &admin);
    process.start_with(Stdio::piped());
    let _unread = process.child().stdout.take().unwrap();
    process.ready().await;
    // 64 KiB fit into the pipe and 8,192 records wait; then they are lost, and counted.
    let mut sent = 0;
    while process.metric("countersign_records_lost_total").await.unwrap_or_default() == 0.0 {
        assert!(sent < 20_000, "nothing is lost after {sent} records");
        let batch = (0..500).map(|_| town.post(&process, "grant_type=client_credentials"));
        for answer in futures_util::future::join_all(batch).await {
            assert_eq!(answer.unwrap().status, 400);
        }
        sent += 500;
    }
    town.grants(&process).await;
    process.signal("TERM");
    assert_eq!(process.ended(15).await.code(), Some(0), "{}", process.errors());
}
