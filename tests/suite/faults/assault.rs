//! Hostile callers against a real process: it stays quick, small and kind to its sources.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::clock::{Clock, SystemClock};
use countersign::world::cluster::JWKS_PATH;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::served::{Process, Town, form};
use crate::evidence;
use crate::stage::{JWT_BEARER, JWT_SPIFFE};

/// By how much memory may grow, in KiB.
const GROWTH: u64 = 16 * 1024;
const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// Sends bytes, reads to the end, and gives the status; 0 when the connection ended without an answer.
async fn raw(process: &Process, bytes: Vec<u8>) -> u16 {
    let connection = TcpStream::connect(&process.public).await.unwrap();
    let (mut reader, mut writer) = connection.into_split();
    let sending = tokio::spawn(async move {
        let _ = writer.write_all(&bytes).await;
        writer
    });
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(Ok(count)) = tokio::time::timeout(Duration::from_secs(20), reader.read(&mut piece)).await {
        answer.extend_from_slice(&piece[..count]);
        if count == 0 || answer.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    sending.abort();
    let text = String::from_utf8_lossy(&answer);
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}

fn posted(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /token HTTP/1.1\r\nhost: id\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A token with these bytes as header and claims.
fn token(header: &[u8], claims: &[u8]) -> String {
    let signature = Base64UrlUnpadded::encode_string(&[7; 64]);
    format!("{}.{}.{signature}", Base64UrlUnpadded::encode_string(header), Base64UrlUnpadded::encode_string(claims))
}

/// JSON that is as deep as a token has room for, closed or not.
fn nested(depth: usize, closed: bool) -> Vec<u8> {
    let close = if closed { "]".repeat(depth) + "}" } else { String::new() };
    format!("{{\"sub\":{}{close}", "[".repeat(depth)).into_bytes()
}

/// Sends bodies 32 at a time and gives their statuses.
async fn posts(town: &Town, process: &Process, bodies: Vec<String>) -> Vec<u16> {
    let sent =
        futures_util::stream::iter(bodies).map(|body| async move { town.post(process, &body).await.unwrap().status });
    sent.buffer_unordered(32).collect().await
}

/// Everything at once, `size` times; the statuses are those that were promised.
async fn assault(town: &Town, process: &Process, size: usize) {
    let eu1 = |n: usize| {
        let ask = countersign::world::cluster::TokenAsk::new("shop", "api", &town.issuer);
        let forge = town.cluster("eu1").forge(&ask).unwrap().header("kid", format!("nobody-{n}"));
        forge.unsigned().with_signature(&[7; 256]).token()
    };
    let stranger = |n: usize| {
        let claims = format!("{{\"iss\":\"https://evil-{n}.example\",\"sub\":\"x\",\"aud\":\"{}\"}}", town.issuer);
        token(b"{\"alg\":\"RS256\",\"kid\":\"x\"}", claims.as_bytes())
    };
    let unknown_keys = posts(town, process, (0..size).map(|n| form(JWT_BEARER, &eu1(n))).collect()).await;
    assert!(unknown_keys.iter().all(|status| matches!(status, 400 | 503)), "JWK-13: {unknown_keys:?}");
    let strangers = posts(town, process, (0..size).map(|n| form(JWT_BEARER, &stranger(n))).collect()).await;
    assert!(strangers.iter().all(|status| *status == 400), "SCA-26: {strangers:?}");
    for (depth, closed) in [(5_000, true), (10_000, false), (10_000, true), (127, true), (129, true)] {
        let deep = nested(depth, closed);
        let header = b"{\"alg\":\"ES256\",\"kid\":\"x\"}";
        let bodies = [form(JWT_SPIFFE, &token(header, &deep)), form(JWT_BEARER, &token(&deep, b"{}"))];
        for body in bodies {
            let statuses = posts(town, process, vec![body; size / 20]).await;
            assert!(statuses.iter().all(|status| *status == 400), "{depth}: {statuses:?}");
        }
    }
    let megabyte = "A".repeat(1024 * 1024);
    for _ in 0..size / 20 {
        // LIM-01: the body's limit comes first; LIM-02: a token's own, within a body that is not too large.
        let body = form(JWT_SPIFFE, &megabyte);
        assert_eq!(raw(process, posted(FORM, &body)).await, 413, "LIM-01");
        let chunked = format!(
            "POST /token HTTP/1.1\r\nhost: id\r\n{FORM}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        assert_eq!(raw(process, chunked.into_bytes()).await, 413, "LIM-01, without a length");
        let long = form(JWT_SPIFFE, &token(b"{\"alg\":\"ES256\"}", &megabyte.as_bytes()[..30 * 1024]));
        assert_eq!(raw(process, posted(FORM, &long)).await, 400, "LIM-02");
        let many: String = (0..500).map(|n| format!("x-{n}: y\r\n")).collect();
        assert_eq!(raw(process, posted(&many, "")).await, 431, "LIM-07: many fields");
        let large = format!("x-large: {}\r\n", &megabyte[..100 * 1024]);
        assert_eq!(raw(process, posted(&large, "")).await, 431, "LIM-07: a large field");
        let parameters: String = (0..10_000).map(|n| format!("p{n}=&")).collect();
        assert!(matches!(raw(process, posted(FORM, &parameters)).await, 400 | 413));
    }
    // The beginning of a TLS handshake, where none is spoken.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec();
    futures_util::future::join_all((0..size / 10).map(|_| raw(process, hello.clone()))).await;
}

/// Connections on which a request has begun and does not go on.
async fn slow(town: &Town, process: &Process, count: usize) -> Vec<TcpStream> {
    let svid = town.svid();
    evidence::secret(&svid);
    let bytes = posted(FORM, &form(JWT_SPIFFE, &svid));
    let mut open = Vec::new();
    for n in 0..count {
        let mut connection = TcpStream::connect(&process.public).await.unwrap();
        // Some in the middle of the header, some in the middle of the body.
        let most = if n % 2 == 0 { 40 } else { bytes.len() - 1 };
        connection.write_all(&bytes[..most]).await.unwrap();
        open.push(connection);
    }
    open
}

fn fetches(town: &Town) -> u64 {
    ["eu1", "edge-2"].iter().map(|cluster| town.cluster(cluster).requests(JWKS_PATH)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_01_lim_02_lim_07_jwk_13_an_assault_costs_neither_memory_nor_sources_nor_callers() {
    let town = Town::new().await;
    let process = town.serve("a").await;
    // Warm: the allocator, the thread pools and the buffers of connections have their size.
    for _ in 0..3 {
        let good: Vec<String> = (0..100).map(|_| form(JWT_SPIFFE, &town.svid())).collect();
        assert!(posts(&town, &process, good).await.iter().all(|status| *status == 200));
        assault(&town, &process, 100).await;
    }
    drop(slow(&town, &process, 64).await);
    town.grants(&process).await;
    let (warm, asked, began) = (process.resident(), fetches(&town), SystemClock.now());

    let held = slow(&town, &process, 64).await;
    // Until the interval of JWK-13 is over, so that there is something to count.
    let mut rounds = 0;
    while rounds < 2 || fetches(&town) == asked {
        assert!(rounds < 30, "no source was ever asked");
        assault(&town, &process, 400).await;
        rounds += 1;
    }
    town.grants(&process).await;
    drop(held);

    let took = SystemClock.now().since(began).seconds();
    let (now, fetched) = (process.resident(), fetches(&town) - asked);
    evidence::keep("processes.txt", &format!("assault: {warm} KiB warm, {now} KiB after {took} s, {fetched} fetches"));
    assert!(now < warm + GROWTH, "resident memory grew from {warm} to {now} KiB");
    // One a source and 30 s, and the regular one that may fall into the time.
    let bound = 2 * (u64::try_from(took).unwrap() / 30 + 1) + 2;
    assert!((2..=bound).contains(&fetched), "JWK-13: {fetched} fetches in {took} s, at most {bound}");
    let errors = process.errors();
    assert!(!errors.contains("panicked") && !errors.contains("overflow"), "{errors}");
    let lost = process.metric("countersign_records_lost_total").await;
    assert_eq!(lost, Some(0.0), "AUD-01: a reader that keeps up loses nothing");
    assert!(process.records().len() > 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn lim_07_slow_callers_are_cut_while_others_are_served() {
    let town = Town::new().await;
    let process = town.serve("a").await;
    let held = slow(&town, &process, 32).await;
    // 10 s for a first header, 30 s for a request: the loop ends when the last is cut.
    let mut ends = tokio::task::JoinSet::new();
    for (n, mut connection) in held.into_iter().enumerate() {
        ends.spawn(async move {
            let mut said = String::new();
            let limit = Duration::from_secs(if n % 2 == 0 { 14 } else { 36 });
            let ended = tokio::time::timeout(limit, connection.read_to_string(&mut said)).await;
            (n, ended.is_ok(), said)
        });
    }
    let mut served = 0;
    while !ends.is_empty() {
        if let Ok(Some(ended)) = tokio::time::timeout(Duration::from_millis(500), ends.join_next()).await {
            let (n, in_time, said) = ended.unwrap();
            assert!(in_time, "connection {n} is held still");
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
        }
        town.grants(&process).await;
        served += 1;
    }
    assert!(served > 20, "others were served meanwhile: {served}");
    let errors = process.errors();
    assert!(!errors.contains("panicked"), "{errors}");
}
