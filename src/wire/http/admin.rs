//! The admin address: `/healthz`, `/readyz`, `/metrics`, and nothing else.
//!
//! Read-only, and no identity is ever in it (design §4).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::answer;
use crate::clock::Timestamp;
use crate::exchange::Exchange;
use crate::lifecycle::Readiness;
use crate::telemetry::{SigningKeyCount, SourceNumbers};
use crate::trust::{Extension, FirstFailure, SourceStatus, Trust};
use crate::wire::operator::WaitReport;

/// What the admin address shows.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The core, for its keys and numbers.
    pub exchange: Arc<Exchange>,
    /// The sources.
    pub trust: Arc<Trust>,
    /// What start-up still waits for.
    pub readiness: Readiness,
}

/// The admin endpoints.
pub fn admin_router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(async || text(StatusCode::OK, "text/plain", "ok\n".to_owned())))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || answer::plain_error(StatusCode::NOT_FOUND, "Here are /healthz, /readyz and /metrics."))
        .with_state(state)
}

/// Ready as a service, with what each source is doing: a source that is down is shown, not waited for.
async fn ready(State(state): State<AdminState>) -> Response {
    let now = state.exchange.now();
    let status = state.trust.status();
    let first = FirstFailure::of(&status, now).map(|first| {
        json!({
            "in_seconds": first.at.since(now).seconds(),
            "at": first.at.to_rfc3339(),
            "sources": first.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let sources: Vec<_> = status
        .iter()
        .map(|source| {
            json!({
                "name": source.name.as_str(),
                "kind": source.kind,
                "keys": source.keys,
                "skipped": source.skipped,
                "x509_authorities": source.authorities,
                "x509_error": source.authorities_error,
                "key_age_seconds": source.confirmed_at.map(|confirmed| now.since(confirmed).seconds()),
                "usable_until": source.usable_until.map(Timestamp::to_rfc3339),
                "next_attempt": source.next_attempt.map(Timestamp::to_rfc3339),
                "outage_budget_seconds": source.budget.until.since(now).seconds(),
                "outage_budget_ends": source.budget.ends.as_str(),
                "clock_skew_seconds": source.skew_seconds,
                "extended": source.extension.as_ref().map(extended),
                "last_error": source.last_error,
                "liveness": source.liveness.as_ref().map(|liveness| json!({
                    "last_answer": liveness.last_answer.map(Timestamp::to_rfc3339),
                    "last_error": liveness.last_error,
                    "last_turned_away": liveness.last_turned_away.map(Timestamp::to_rfc3339),
                })),
                "keys_that_belong_to": source.collisions.iter().map(|key| key.holder.to_string()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let waits = state.exchange.issuer().ring().waits(now);
    let waits: Vec<_> = waits.iter().map(|wait| WaitReport::of(wait, now)).collect();
    let is_ready = state.readiness.is_ready();
    let body = json!({
        "ready": is_ready,
        "waiting_for": state.readiness.waiting_for(),
        "generation": state.exchange.generation().id().to_string(),
        "first_failure": first,
        "sources": sources,
        "own_keys_that_wait": waits,
    });
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::no_store(status, &body)
}

/// Without who ordered it and why: no identities are here, and an operator's words may say anything.
fn extended(extension: &Extension) -> Value {
    json!({ "at": extension.ordered.to_rfc3339(), "until": extension.until.to_rfc3339() })
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let now = state.exchange.now();
    let sources: Vec<SourceNumbers> = state.trust.status().iter().map(|source| numbers(source, now)).collect();
    let signing: Vec<SigningKeyCount> = state
        .exchange
        .issuer()
        .ring()
        .states(now)
        .iter()
        .map(|key| SigningKeyCount { algorithm: key.algorithm.name(), state: key.state.as_str() })
        .collect();
    let encoded = state.exchange.metrics().encode(&sources, &signing);
    text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", encoded)
}

fn numbers(source: &SourceStatus, now: Timestamp) -> SourceNumbers {
    SourceNumbers {
        source: source.name.to_string(),
        keys: source.keys,
        keys_skipped: source.skipped + source.collisions.len(),
        age: source.confirmed_at.map(|confirmed| now.since(confirmed)),
        left: source.usable_until.map(|until| until.since(now)),
        budget: source.budget.until.since(now),
        extended: source.extension.as_ref().map(|extension| extension.until.since(now)),
        skew: source.skew_seconds,
        refreshed: source.refreshes_ok,
        failed: source.refreshes_failed,
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
