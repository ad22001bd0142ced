//! The endpoints over HTTP (design §4).
//!
//! Query strings and forwarded headers are never read; no endpoint redirects.

mod admin;
mod answer;
pub(in crate::wire) mod body;
mod form;
mod introspect;
mod jwks;
mod metadata;
mod push;
mod revoke;
mod subject;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post, put};

pub use admin::{AdminState, admin_router};

use self::body::Bodies;
use crate::exchange::Exchange;
use crate::wire::grpc;

/// What the public endpoints share.
#[derive(Clone)]
struct Public {
    exchange: Arc<Exchange>,
    bodies: Bodies,
}

impl FromRef<Public> for Arc<Exchange> {
    fn from_ref(public: &Public) -> Self {
        Self::clone(&public.exchange)
    }
}

impl FromRef<Public> for Bodies {
    fn from_ref(public: &Public) -> Self {
        public.bodies.clone()
    }
}

/// The public endpoints of one issuer, over HTTP and over gRPC. The issuer's path, if it has one, comes before each of them,
/// and not before the methods of gRPC services, whose paths clients cannot choose.
/// Called once for a process: what is made here has the room for the bodies of all requests.
pub fn public_router(exchange: &Arc<Exchange>, door: grpc::Door) -> Router {
    let generation = exchange.generation();
    let base = generation.issuer().path();
    let bodies = Bodies::standard();
    let only = |methods: MethodRouter<Public>| methods.fallback(method_not_allowed);
    Router::new()
        .route(&format!("{base}/token"), only(post(token::token)))
        .route(&format!("{base}/revoke"), only(post(revoke::revoke)))
        .route(&format!("{base}/introspect"), only(post(introspect::introspect)))
        .route(&format!("{base}/sources/{{source}}/keys"), only(put(push::push)))
        .route(&format!("{base}/jwks"), only(get(jwks::jwks)))
        .route(&format!("/.well-known/oauth-authorization-server{base}"), only(get(metadata::metadata)))
        .route(&format!("{base}/.well-known/openid-configuration"), only(get(metadata::metadata)))
        .with_state(Public { exchange: Arc::clone(exchange), bodies: bodies.clone() })
        .merge(grpc::router(exchange, bodies, door))
        .fallback(not_found)
}

async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    tracing::debug!(path = uri.path(), "no such path");
    if grpc::is_grpc(&headers) {
        return grpc::no_such_method();
    }
    answer::plain_error(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

/// RFC 9110 §15.5.6: the router adds `Allow` for the methods that it knows.
async fn method_not_allowed(method: Method) -> Response {
    tracing::debug!(%method, "no such method");
    answer::plain_error(StatusCode::METHOD_NOT_ALLOWED, "This method is not served here.")
}
