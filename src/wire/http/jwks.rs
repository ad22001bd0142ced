//! `GET /jwks`: the keys that verify our tokens (RFC 7517).
//!
//! Public members only; kept by verifiers for less time than a key is published before its first use.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;
use axum::response::Response;

use super::answer;
use crate::exchange::Exchange;
use crate::issue::JWKS_MAX_AGE;

pub(super) async fn jwks(State(exchange): State<Arc<Exchange>>, headers: HeaderMap) -> Response {
    let (ring, at) = (exchange.issuer().ring(), exchange.now());
    if let Some(tags) = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) {
        ring.asked(tags, at);
    }
    let published = ring.published(at);
    answer::document(&headers, published.document.clone(), &published.etag, JWKS_MAX_AGE.seconds())
}
