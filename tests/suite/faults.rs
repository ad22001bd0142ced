//! Promises about faults: of sources, of networks, of processes and of hostile callers.
//!
//! Sources are spoiled through the pretend world and time is moved; what needs a process of its own starts the real binary.

mod agent_gone;
mod answers;
mod assault;
mod bodies;
mod bundle_endpoints;
mod bundles;
mod cluster_keys;
mod discovery;
mod files;
mod one_issuer;
mod outage;
mod records;
mod required;
mod restarts;
pub mod served;
mod signals;
mod soak;
mod start_order;
mod two_processes;
mod unknown_keys;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::clock::{Clock, Lifetime};
use countersign::trust::SourceStatus;
use futures_util::StreamExt;
use tokio::net::TcpListener;

pub(crate) use outage::extend;

use crate::evidence;
use crate::stage::{Answer, ORDERS, Stage, answer, client, encode};
/// One attempt for unknown key ids in this time (JWK-13).
const INTERVAL: Lifetime = Lifetime::from_seconds(30);

/// The state of a source.
fn status(stage: &Stage, source: &str) -> SourceStatus {
    stage.app.trust().status().into_iter().find(|status| status.name.as_str() == source).unwrap()
}

/// Waits for a condition, at most so many seconds.
async fn within(seconds: u64, what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..seconds * 100 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("within {seconds} s it did not happen that {what}");
}

/// Moves the clock to the next planned attempt of a source, and waits until that attempt has ended.
pub async fn next_attempt(stage: &Stage, source: &str) {
    begin_attempt(stage, source).await.ended(stage, 5).await;
}

/// Waits until every attempt of a source that was due by now has ended.
pub async fn settled(stage: &Stage, source: &str) {
    let has_ended = || status(stage, source).next_attempt.is_some_and(|next| next > stage.clock.now());
    within(10, &format!("{source} has nothing due"), has_ended).await;
}

/// Moves the clock until a source has read its file after this moment: twice, as a read may have begun just before.
async fn next_file(stage: &Stage, source: &str) {
    next_attempt(stage, source).await;
    next_attempt(stage, source).await;
}

/// Moves the clock to the next planned attempt of a source.
async fn begin_attempt(stage: &Stage, source: &str) -> Attempt {
    within(10, &format!("{source} plans an attempt"), || status(stage, source).next_attempt.is_some()).await;
    let before = status(stage, source);
    let next = before.next_attempt.unwrap();
    stage.clock.advance(next.since(stage.clock.now()));
    Attempt { before }
}

/// An attempt that is under way.
struct Attempt {
    before: SourceStatus,
}

impl Attempt {
    async fn ended(self, stage: &Stage, seconds: u64) {
        let before = self.before;
        let source = before.name.as_str();
        within(seconds, &format!("an attempt of {source} ends"), || {
            let now = status(stage, source);
            let ended = now.refreshes_ok + now.refreshes_failed > before.refreshes_ok + before.refreshes_failed;
            ended && (now.kind == "spiffe" || now.next_attempt.is_some())
        })
        .await;
    }
}

/// The seconds of `Retry-After`.
fn retry_after(answer: &Answer) -> u64 {
    let header = answer.headers.get("retry-after").unwrap_or_else(|| panic!("no Retry-After: {}", answer.text));
    header.to_str().unwrap().parse().unwrap()
}

/// What `/readyz` says about a source.
async fn shown(stage: &Stage, source: &str) -> serde_json::Value {
    let body = stage.admin("/readyz").await.body;
    let sources = body["sources"].as_array().unwrap_or_else(|| panic!("no sources: {body}"));
    sources.iter().find(|shown| shown["name"] == source).unwrap().clone()
}

/// The value of a metric with these labels.
async fn metric(stage: &Stage, line: &str) -> f64 {
    let text = stage.admin("/metrics").await.text;
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in {text}"))
}

/// Checks that an answer is a refusal with that status and reason.
async fn refused(stage: &Stage, answer: &Answer, status: u16, reason: &str) {
    assert_eq!(stage.reason(answer).await, reason, "{}", answer.text);
    assert_eq!(answer.status, status, "{}", answer.text);
}

/// Exchanges many assertions, 64 at a time over kept connections.
async fn flood(stage: &Stage, assertion_type: &str, assertions: Vec<String>) -> Vec<Answer> {
    let client = client();
    let url = format!("{}/token", stage.issuer);
    futures_util::stream::iter(assertions)
        .map(|assertion| {
            evidence::secret(&assertion);
            let request = client.post(&url).header("content-type", "application/x-www-form-urlencoded");
            let request = request.body(encode(&[
                ("grant_type", "client_credentials"),
                ("client_assertion_type", assertion_type),
                ("client_assertion", &assertion),
                ("resource", ORDERS),
            ]));
            async move { answer(request.send().await.unwrap()).await }
        })
        .buffer_unordered(64)
        .collect()
        .await
}

/// A place that nobody should ever call; it counts who does.
struct Nobody {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Nobody {
    /// Listens on a loopback address.
    async fn on(ip: &str) -> Self {
        let listener = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(connection);
            }
        });
        Self { address, calls }
    }

    /// How often somebody connected.
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}
