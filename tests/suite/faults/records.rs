//! Decision records when their output fails: requests are answered, and what is lost is counted (AUD-01).

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};

use countersign::app::{App, Records, Start};
use countersign::config::Environment;
use countersign::entropy::SystemEntropy;
use futures_util::StreamExt;

use super::{metric, refused, within};
use crate::stage::{Stage, client};

const LOST: &str = "countersign_records_lost_total";

/// An output that does as it is told.
#[derive(Clone, Default)]
struct Output(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    held: bool,
    broken: bool,
    written: Vec<u8>,
}

impl Output {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn lines(&self) -> usize {
        let state = self.0.0.lock().unwrap();
        let text = std::str::from_utf8(&state.written).unwrap();
        // After a failed write the next line begins on a line of its own.
        text.lines()
            .filter(|line| !line.is_empty())
            .inspect(|line| assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}"))
            .count()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| state.held).unwrap();
        if state.broken {
            return Err(io::Error::other("no space left"));
        }
        crate::evidence::keep("records.txt", String::from_utf8_lossy(bytes).trim_end());
        state.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The standard stage with that output.
async fn with_output(output: &Output) -> Stage {
    let mut stage = Stage::standard().await;
    stage.app.stop().await;
    let start = Start {
        config: stage.directory.path().join("countersign.yaml"),
        environment: Environment::default(),
        clock: Arc::new(stage.clock.clone()),
        entropy: Arc::new(SystemEntropy),
        records: Records::Writer(Box::new(output.clone())),
    };
    stage.app = App::start(start).await.unwrap();
    stage.keys_known().await;
    stage
}

/// Sends so many cheap requests over kept connections; each has a record.
async fn requests(stage: &Stage, count: usize) {
    let (client, url) = (client(), format!("{}/token", stage.issuer));
    let sent = futures_util::stream::iter(0..count).map(|_| {
        let request = client.post(&url).header("content-type", "application/x-www-form-urlencoded");
        let request = request.body("grant_type=client_credentials");
        async move { request.send().await.unwrap().status().as_u16() }
    });
    let answers: Vec<u16> = sent.buffer_unordered(32).collect().await;
    assert!(answers.iter().all(|status| *status == 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_a_blocked_output_blocks_nobody_and_what_is_lost_is_counted() {
    let output = Output::default();
    let stage = with_output(&output).await;
    output.change(|state| state.held = true);
    // 8,192 lines wait and at most 513 are being written; the rest is lost.
    requests(&stage, 9_000).await;
    let least = 9_000 - 8_192 - 513;
    for _ in 0..1000 {
        if metric(&stage, LOST).await as usize >= least {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200, "requests are answered all the same");
    output.change(|state| state.held = false);
    stage.app.exchange().recorder().finish();
    let lost = metric(&stage, LOST).await as usize;
    // The one that was granted meanwhile found no place either.
    assert!((least..=9_001 - 8_192).contains(&lost), "{lost}");
    assert_eq!(output.lines(), 9_001 - lost, "what waited is written");
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    within(10, "the next one too", || output.lines() == 9_002 - lost).await;
    assert_eq!(metric(&stage, LOST).await as usize, lost);
    // Every decision is counted, recorded or not.
    let text = stage.admin("/metrics").await.text;
    let decided: usize = text
        .lines()
        .filter(|line| line.starts_with("countersign_decisions_total"))
        .filter_map(|line| line.split(" # ").next()?.rsplit(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(decided, 9_002);
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_01_an_output_that_fails_is_counted_and_may_recover() {
    let output = Output::default();
    let stage = with_output(&output).await;
    output.change(|state| state.broken = true);
    requests(&stage, 100).await;
    for _ in 0..500 {
        if metric(&stage, LOST).await == 100.0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(metric(&stage, LOST).await, 100.0);
    output.change(|state| state.broken = false);
    assert_eq!(stage.exchange_svid(&stage.svid()).await.status, 200);
    within(10, "a record is written again", || output.lines() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_an_output_that_is_blocked_and_full() {
    let output = Output::default();
    let stage = with_output(&output).await;
    output.change(|state| state.held = true);
    requests(&stage, 9_000).await;
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(10), stage.app.stop()).await;
    output.change(|state| state.held = false);
    assert!(stopped.is_ok(), "it waits at most five seconds for the output");
}

#[tokio::test(flavor = "multi_thread")]
async fn aud_06_what_a_stranger_writes_stays_inside_its_field() {
    let stage = Stage::standard().await;
    let before = stage.written().len();
    let line = "x\n{\"ref\":\"AAAAAAAAAAAA\",\"outcome\":\"allow\"}\r\u{1b}[31m\u{202e}\u{0}";
    let svid = stage.svid_forge().claim("sub", "spiffe://evil.example/a").claim("iss", line).sign().unwrap().token();
    refused(&stage, &stage.exchange_svid(&svid).await, 400, "source_unknown").await;
    let pod = stage.pod_forge("eu1").claim("iss", line).claim("sub", line).sign().unwrap().token();
    refused(&stage, &stage.exchange_pod(&pod).await, 400, "source_unknown").await;
    let answer = stage.token(&[("client_assertion_type", line), ("client_assertion", "a.b.c")]).await;
    refused(&stage, &answer, 400, "assertion_type_unsupported").await;
    let lines = stage.written();
    assert_eq!(lines.len(), before + 3, "one line a decision");
    for record in &lines[before..] {
        let text = record.to_string();
        assert!(!text.contains("AAAAAAAAAAAA\",\"outcome"), "{text}");
        let controls = |value: &str| value.chars().any(|c| c.is_control() || c == '\u{202e}');
        each_text(record, &mut |value| assert!(!controls(value), "AUD-06: {value:?}"));
    }
}

fn each_text(value: &serde_json::Value, see: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => see(text),
        serde_json::Value::Array(values) => values.iter().for_each(|value| each_text(value, see)),
        serde_json::Value::Object(members) => members.values().for_each(|value| each_text(value, see)),
        _ => {}
    }
}
