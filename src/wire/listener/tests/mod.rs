//! The listener over real sockets on loopback, with short deadlines where one is tested and long ones everywhere else.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod deadlines;
mod ending;
mod plain;
mod secure;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Extension;
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::wire::settings::TlsFiles;

/// Longer than any deadline that a test sets, and far longer than anything takes.
const LONG: Duration = Duration::from_secs(120);

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(150);

/// No deadline that a test could meet by accident.
const PATIENT: Limits =
    Limits { handshake: LONG, first_request: LONG, idle: LONG, goodbye: SHORT, request: LONG, ..Limits::STANDARD };

/// What a test waits for comes within this, or the test fails.
async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("did not come in 20 s")
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// A listener that serves the test router.
struct Served {
    address: SocketAddr,
    drain: Drain,
    clock: ManualClock,
    /// Lets `/gated` answer, once for each permit.
    gate: Arc<Semaphore>,
    /// How many requests `/gated` has got.
    gated: Arc<AtomicU32>,
}

impl Served {
    async fn plain(limits: Limits) -> Self {
        Self::start(limits, None).await
    }

    async fn start(limits: Limits, tls: Option<TlsFiles>) -> Self {
        let tls = tls.map(TlsSettings::Files);
        let settings = ListenSettings { address: ([127, 0, 0, 1], 0).into(), tls };
        let listener = Listener::bind(&settings, None).await.unwrap();
        let served = Self {
            address: listener.local_addr(),
            drain: Drain::new(),
            clock: ManualClock::starting_at(Timestamp::from_seconds(1_790_000_000)),
            gate: Arc::new(Semaphore::new(0)),
            gated: Arc::default(),
        };
        tokio::spawn(listener.serve(served.router(), limits, served.drain.clone(), Arc::new(served.clock.clone())));
        served
    }

    fn router(&self) -> Router {
        let (gate, gated) = (Arc::clone(&self.gate), Arc::clone(&self.gated));
        let wait = move || async move {
            gated.fetch_add(1, Ordering::Relaxed);
            gate.acquire().await.unwrap().forget();
            "opened"
        };
        Router::new()
            .route(
                "/",
                get(async |Extension(info): Extension<ConnectionInfo>, version: Version| {
                    format!("{version:?} {info:?}")
                }),
            )
            .route("/length", post(async |body: Bytes| body.len().to_string()))
            .route("/gated", get(wait))
            .route(
                "/endless",
                get(async || Body::from_stream(stream::repeat("x".repeat(8192)).map(Ok::<_, io::Error>))),
            )
            .route("/silent", get(async || Body::from_stream(and_then_nothing("first"))))
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.address)).await.unwrap()
    }

    async fn gated_requests(&self, count: u32) {
        until("the gated requests arrive", async || self.gated.load(Ordering::Relaxed) == count).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

/// Everything that comes until the other side closes, as text where it is text.
async fn rest_of(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    match soon(stream.read_to_end(&mut bytes)).await {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
            ) => {}
        Err(error) => panic!("{error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has come.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = soon(stream.read_u8()).await.unwrap_or_else(|error| panic!("{error} after {text:?}"));
        text.push(char::from(byte));
    }
    text
}

type Http1 = hyper::client::conn::http1::SendRequest<Body>;
type Http2 = hyper::client::conn::http2::SendRequest<Body>;

/// A client, and a task that ends with its connection.
async fn http1(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (Http1, tokio::task::JoinHandle<hyper::Result<()>>) {
    let (client, connection) = soon(hyper::client::conn::http1::handshake(TokioIo::new(io))).await.unwrap();
    (client, tokio::spawn(connection))
}

async fn http2(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (Http2, tokio::task::JoinHandle<hyper::Result<()>>) {
    let (client, connection) =
        soon(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io))).await.unwrap();
    (client, tokio::spawn(connection))
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(format!("http://localhost{path}")).header("host", "localhost").body(Body::empty()).unwrap()
}

/// A body of which one byte comes and then nothing.
fn unfinished_post() -> Request<Body> {
    Request::post("http://localhost/length")
        .header("host", "localhost")
        .body(Body::from_stream(and_then_nothing("a")))
        .unwrap()
}

fn and_then_nothing(part: &'static str) -> impl Stream<Item = io::Result<&'static str>> {
    stream::once(async move { Ok(part) }).chain(stream::pending())
}

async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(soon(answer.into_body().collect()).await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A folder for one test, removed when it ends.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("countersign-listener-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("tls.crt"), key: self.0.join("tls.key") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a new pair; the certificate is its own anchor.
pub(super) fn write_pair(files: &TlsFiles) -> CertificateDer<'static> {
    let pair: CertifiedKey<KeyPair> = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    pair.cert.der().clone()
}
