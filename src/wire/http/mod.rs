//! The endpoints over HTTP (design §4).
//!
//! Query strings and forwarded headers are never read; no endpoint redirects.

mod admin;
mod answer;
mod form;
mod jwks;
mod metadata;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

pub use admin::{AdminState, admin_router};

use crate::exchange::Exchange;

/// The public endpoints of one issuer. The issuer's path, if it has one, comes before each of them.
pub fn public_router(exchange: &Arc<Exchange>) -> Router {
    let generation = exchange.generation();
    let base = generation.issuer().path();
    let only = |methods: MethodRouter<Arc<Exchange>>| methods.fallback(method_not_allowed);
    Router::new()
        .route(&format!("{base}/token"), only(post(token::token)))
        .route(&format!("{base}/jwks"), only(get(jwks::jwks)))
        .route(&format!("/.well-known/oauth-authorization-server{base}"), only(get(metadata::metadata)))
        .route(&format!("{base}/.well-known/openid-configuration"), only(get(metadata::metadata)))
        .fallback(not_found)
        .with_state(Arc::clone(exchange))
}

async fn not_found(uri: Uri) -> Response {
    tracing::debug!(path = uri.path(), "no such path");
    answer::plain_error(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

/// RFC 9110 §15.5.6: the router adds `Allow` for the methods that it knows.
async fn method_not_allowed(method: Method) -> Response {
    tracing::debug!(%method, "no such method");
    answer::plain_error(StatusCode::METHOD_NOT_ALLOWED, "This method is not served here.")
}
