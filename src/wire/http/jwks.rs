//! `GET /jwks`: the keys that verify our tokens (RFC 7517).
//!
//! Public members only; kept by verifiers for less time than a key is published before its first use.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::answer;
use crate::exchange::Exchange;
use crate::issue::JWKS_MAX_AGE;

pub(super) async fn jwks(State(exchange): State<Arc<Exchange>>, headers: HeaderMap) -> Response {
    let published = exchange.issuer().ring().published(exchange.now());
    answer::document(&headers, published.document.clone(), &published.etag, JWKS_MAX_AGE.seconds())
}
