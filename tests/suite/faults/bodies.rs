//! Bodies that never end, against a real process: together they hold little, and who sends a small one is served.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::served::{Process, Town, form};
use crate::evidence;
use crate::stage::{Answer, JWT_SPIFFE, answer, client_builder};

/// By how much memory may grow when the bodies come, in KiB: the room of all bodies. They are 120 MiB.
const GROWTH: u64 = 64 * 1024;
const CONNECTIONS: usize = 64;
/// Requests on each of them: as many as one connection may have.
const STREAMS: usize = 32;
const BODY: usize = 60 * 1024;
/// Bodies of that size for which there is room: each takes 64 KiB of half of 64 MiB.
const ROOM: usize = 512;

/// Begins a request; its body is a byte, after `go` 60 KiB, and has no end. Waits for an answer.
async fn unfinished(
    client: reqwest::Client,
    url: String,
    begun: mpsc::Sender<()>,
    mut go: watch::Receiver<bool>,
) -> Answer {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"A"))]);
    let rest = futures_util::stream::once(async move {
        begun.send(()).await.unwrap();
        go.wait_for(|go| *go).await.unwrap();
        Ok(Bytes::from(vec![b'A'; BODY]))
    });
    let body = reqwest::Body::wrap_stream(first.chain(rest).chain(futures_util::stream::pending()));
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    answer(request.send().await.unwrap()).await
}

/// Begins all of them, and waits until they have begun.
async fn flood(process: &Process, go: &watch::Sender<bool>) -> JoinSet<Answer> {
    let mut requests = JoinSet::new();
    let (begun, mut beginning) = mpsc::channel(1);
    for _ in 0..CONNECTIONS {
        let client = client_builder().http2_prior_knowledge().build().unwrap();
        for _ in 0..STREAMS {
            let url = format!("http://{}/token", process.public);
            requests.spawn(unfinished(client.clone(), url, begun.clone(), go.subscribe()));
        }
    }
    for _ in 0..CONNECTIONS * STREAMS {
        tokio::time::timeout(Duration::from_secs(10), beginning.recv()).await.unwrap().unwrap();
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_01_lim_07_bodies_without_an_end_have_one_bound_together_and_small_requests_are_served() {
    let town = Town::new().await;
    let process = town.serve("a").await;
    let go = watch::Sender::new(false);
    let mut requests = flood(&process, &go).await;
    // What connections and requests cost without their bodies is counted before.
    town.grants(&process).await;
    let before = process.resident();

    go.send(true).unwrap();
    let refused = async {
        for _ in ROOM..CONNECTIONS * STREAMS {
            let answer = requests.join_next().await.unwrap().unwrap();
            assert_eq!((answer.status, answer.error()), (503, "temporarily_unavailable"), "{}", answer.text);
            assert_eq!(answer.headers["retry-after"], "1");
        }
    };
    // Sooner than the 30 s after which a request is late.
    let in_time = tokio::time::timeout(Duration::from_secs(20), refused).await;
    assert!(in_time.is_ok(), "{} bodies of 60 KiB are held still, room is for {ROOM}", requests.len());
    let now = process.resident();
    evidence::keep("processes.txt", &format!("bodies: {before} KiB without, {now} KiB with {} held", requests.len()));
    assert!(now < before + GROWTH, "resident memory grew from {before} to {now} KiB");
    assert!(requests.len() > ROOM / 2, "room for bodies is used: {}", requests.len());
    town.grants(&process).await;

    let large = format!("{}&filler={}", form(JWT_SPIFFE, &town.svid()), "A".repeat(BODY));
    requests.abort_all();
    while requests.join_next().await.is_some() {}
    // What the callers held is given back as soon as the process sees that they are gone.
    for attempt in 0.. {
        let answer = town.post(&process, &large).await.unwrap();
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert!(attempt < 500, "there is no room still");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = process.records().iter().filter(|record| record["reason"] == "overloaded").count();
    assert!(refused >= CONNECTIONS * STREAMS - ROOM, "every refusal is recorded: {refused}");
    assert!(!process.errors().contains("panicked"), "{}", process.errors());
}
