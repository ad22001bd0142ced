//! A cache between the public URL and the product, as a CDN is one: it may show an old key set, or another one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::stage::client;

/// What is done to the key set on its way out.
type Change = Box<dyn Fn(Value) -> Value + Send>;

/// What is shown at `/jwks`. Everything else is handed on.
enum Shows {
    /// What the product answers.
    What,
    /// A copy of before, whatever the product answers now.
    Copy(Value),
    /// What the product answers, changed.
    Changed(Change),
    /// A status and no key set.
    Status(u16),
}

/// Ends when dropped: then nobody listens at the public URL.
pub struct Front {
    shows: Arc<Mutex<Shows>>,
    behind: String,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Cache {
    shows: Arc<Mutex<Shows>>,
    behind: String,
}

impl Front {
    /// Listens at the host and port of `public`, in front of `behind`.
    pub async fn start(public: &str, behind: &str) -> Self {
        let address: SocketAddr = public.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let cache = Cache { shows: Arc::new(Mutex::new(Shows::What)), behind: behind.to_owned() };
        let (shows, stop) = (Arc::clone(&cache.shows), CancellationToken::new());
        let router = Router::new().fallback(hand_on).with_state(cache);
        let stopped = stop.clone();
        tokio::spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(async move { stopped.cancelled().await }).await
        });
        Self { shows, behind: behind.to_owned(), _stop: stop.drop_guard() }
    }

    /// From now on the key set as it is at this moment.
    pub async fn keeps_its_copy(&self) {
        let text = client().get(format!("{}/jwks", self.behind)).send().await.unwrap().text().await.unwrap();
        self.show(Shows::Copy(serde_json::from_str(&text).unwrap()));
    }

    pub fn shows_what_there_is(&self) {
        self.show(Shows::What);
    }

    pub fn changes(&self, change: impl Fn(Value) -> Value + Send + 'static) {
        self.show(Shows::Changed(Box::new(change)));
    }

    pub fn answers(&self, status: u16) {
        self.show(Shows::Status(status));
    }

    fn show(&self, shows: Shows) {
        *self.shows.lock().unwrap() = shows;
    }
}

async fn hand_on(State(cache): State<Cache>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let is_set = head.method == Method::GET && head.uri.path() == "/jwks";
    let mut behind = client().request(head.method, format!("{}{}", cache.behind, head.uri)).body(body);
    // A cache asks for the whole set: what it tells others is not what it knows of the one behind it.
    for (name, value) in head.headers.iter().filter(|(name, _)| *name == CONTENT_TYPE) {
        behind = behind.header(name, value);
    }
    let answer = behind.send().await.unwrap();
    let (status, kind) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
    let etag = answer.headers().get("etag").cloned();
    let mut bytes = answer.bytes().await.unwrap().to_vec();
    let mut shown = status;
    if is_set {
        match &*cache.shows.lock().unwrap() {
            Shows::What => {}
            Shows::Copy(copy) => bytes = serde_json::to_vec(copy).unwrap(),
            Shows::Changed(change) => {
                bytes = serde_json::to_vec(&change(serde_json::from_slice(&bytes).unwrap())).unwrap();
            }
            Shows::Status(status) => shown = StatusCode::from_u16(*status).unwrap(),
        }
    }
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = shown;
    for (name, value) in [("content-type", kind), ("etag", etag)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
