//! How the server misbehaves when it is told to, and how often it was asked.
//!
//! Never misbehaves by itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use http::{HeaderValue, StatusCode, header};

use crate::clock::Lifetime;

use super::Surroundings;

/// More distinct paths than any test asks for; further ones are counted in the total alone.
const MAX_PATHS: usize = 1024;
/// More than any client of key sets should take.
const HUGE: usize = 10 * 1024 * 1024;

/// How to answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Good,
    /// As it should, this much later by the world's clock.
    Slow(Lifetime),
    /// Never.
    Hang,
    /// With this status and a short text.
    Status(u16),
    /// 200, `application/json`, and this body.
    Body(Vec<u8>),
    /// 200, `application/json`, these headers and this body.
    With(Vec<(&'static str, &'static str)>, Vec<u8>),
    /// 200, `application/json`, and something that is no JSON.
    Garbage,
    /// 200, `application/json`, and 10 MiB of JSON: a key set without keys and a long member.
    Huge,
    /// 200, `application/json`, and one byte of white space every 50 ms, without end.
    Drip,
    /// 302 to this address.
    Redirect(String),
    /// 301 to this address.
    Moved(String),
}

/// Counts and orders.
#[derive(Debug, Default)]
pub(super) struct Traffic(Mutex<Ledger>);

#[derive(Debug, Default)]
struct Ledger {
    all: u64,
    requests: HashMap<String, u64>,
    behaviours: HashMap<String, Behaviour>,
    elsewhere: Behaviour,
}

impl Traffic {
    pub(super) fn requests(&self, path: &str) -> u64 {
        self.ledger().requests.get(path).copied().unwrap_or_default()
    }

    pub(super) fn all_requests(&self) -> u64 {
        self.ledger().all
    }

    pub(super) fn behave(&self, path: Option<&str>, behaviour: Behaviour) {
        let mut ledger = self.ledger();
        match path {
            Some(path) => drop(ledger.behaviours.insert(path.to_owned(), behaviour)),
            None => ledger.elsewhere = behaviour,
        }
    }

    pub(super) fn behave_well(&self) {
        let mut ledger = self.ledger();
        ledger.behaviours.clear();
        ledger.elsewhere = Behaviour::Good;
    }

    fn count(&self, path: &str) -> Behaviour {
        let mut ledger = self.ledger();
        ledger.all += 1;
        if ledger.requests.len() < MAX_PATHS || ledger.requests.contains_key(path) {
            *ledger.requests.entry(path.to_owned()).or_default() += 1;
        }
        ledger.behaviours.get(path).unwrap_or(&ledger.elsewhere).clone()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the layer needs.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    pub(super) traffic: Arc<Traffic>,
    pub(super) surroundings: Surroundings,
}

/// Counts the request, then does as told.
pub(super) async fn obey(State(orders): State<Orders>, request: Request, next: Next) -> Response {
    match orders.traffic.count(request.uri().path()) {
        Behaviour::Good => next.run(request).await,
        Behaviour::Slow(by) => {
            let moment = orders.surroundings.now().plus(by);
            orders.surroundings.clock().sleep_until(moment).await;
            next.run(request).await
        }
        Behaviour::Hang => future::pending().await,
        Behaviour::Status(code) => {
            let mut response = Response::new(Body::from("told to answer so\n"));
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            response
        }
        Behaviour::Body(bytes) => json_of(bytes),
        Behaviour::With(headers, body) => {
            let mut response = json_of(body);
            for (name, value) in headers {
                response.headers_mut().append(name, HeaderValue::from_static(value));
            }
            response
        }
        Behaviour::Garbage => json_of(b"\xff\xfe<html>not JSON".to_vec()),
        Behaviour::Huge => {
            let mut body = br#"{"keys":[],"filler":""#.to_vec();
            body.resize(HUGE, b'x');
            body.extend_from_slice(b"\"}");
            json_of(body)
        }
        Behaviour::Drip => {
            let drops = stream::repeat(()).then(|()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Infallible>(" ")
            });
            json_of(Body::from_stream(drops))
        }
        Behaviour::Redirect(to) => led(StatusCode::FOUND, to),
        Behaviour::Moved(to) => led(StatusCode::MOVED_PERMANENTLY, to),
    }
}

fn led(status: StatusCode, to: String) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn json_of(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
