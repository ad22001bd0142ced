//! The gRPC door: `countersign.v1.TokenService`, health and reflection, on the port of the HTTP endpoints.
//!
//! Has no rules of its own: a message becomes the same request as a form, and a refusal its row of the same table.
//!
//! Messages of the token service are framed here and not by tonic: what is too long or no message is then a refusal with a
//! record like any other, and the bytes that are held share the one bound of all bodies (LIM-01, GRP-08).

mod answer;
mod credential;
mod exchange;
mod health;
mod introspect;
mod messages;
mod revoke;
mod status;
mod timeout;
mod unary;
mod watch;

/// Messages and client of `proto/countersign/v1/token_service.proto`.
pub mod v1 {
    #![expect(
        missing_docs,
        clippy::allow_attributes_without_reason,
        reason = "generated code, documented in its proto file"
    )]
    tonic::include_proto!("countersign.v1");
}

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use tonic::Status;
use tonic::service::Routes;

use self::answer::failed;
use super::http::body::Bodies;
use super::settings::GrpcSettings;
use crate::exchange::Exchange;
use crate::lifecycle::{Drain, Readiness};

/// Our own messages, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/token_service.bin"));

/// The longest message of health and reflection, which are tonic's: names of services and types. Each stream can hold one that is not
/// whole; with at most 32 streams on a connection this is less than what HTTP/2 itself lets a connection hold.
const LONGEST_NAME: usize = 4 * 1024;

/// What the door needs beside the core.
#[derive(Debug, Clone)]
pub struct Door {
    /// What the configuration says of it.
    pub settings: GrpcSettings,
    /// What health reports.
    pub readiness: Readiness,
    /// Streams end when it begins.
    pub drain: Drain,
}

/// What the methods share.
#[derive(Debug, Clone)]
struct Core {
    exchange: Arc<Exchange>,
    bodies: Bodies,
    drain: Drain,
}

impl FromRef<Core> for Arc<Exchange> {
    fn from_ref(core: &Core) -> Self {
        Self::clone(&core.exchange)
    }
}

impl FromRef<Core> for Bodies {
    fn from_ref(core: &Core) -> Self {
        core.bodies.clone()
    }
}

/// The gRPC services. Starts the tasks that health and streams need; they end with the drain.
pub(super) fn router(exchange: &Arc<Exchange>, bodies: Bodies, door: Door) -> Router {
    let Door { settings, readiness, drain } = door;
    tokio::spawn(watch::follow_keys(Arc::clone(exchange), drain.clone()));
    let only = |methods: MethodRouter<Core>| methods.fallback(not_post);
    let service = Router::new()
        .route("/countersign.v1.TokenService/Exchange", only(post(unary::call::<exchange::GetToken>)))
        .route("/countersign.v1.TokenService/Watch", only(post(watch::watch)))
        .route("/countersign.v1.TokenService/Introspect", only(post(unary::call::<introspect::Introspect>)))
        .route("/countersign.v1.TokenService/Revoke", only(post(unary::call::<revoke::Revoke>)))
        .with_state(Core { exchange: Arc::clone(exchange), bodies, drain: drain.clone() });
    let mut routes = Routes::new(health::service(readiness, drain));
    if settings.reflection {
        routes = with_reflection(routes);
    }
    // Without the reset both routers bring a fallback, and merging them panics (grpc/grpc-rust#1955).
    service.merge(routes.into_axum_router().reset_fallback())
}

fn with_reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes
            .add_service(v1.max_decoding_message_size(LONGEST_NAME))
            .add_service(v1alpha.max_decoding_message_size(LONGEST_NAME)),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "the descriptors of our own services cannot be read: there is no reflection");
            routes
        }
    }
}

/// Whether a request is gRPC by its content type.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    matches!(value.strip_prefix("application/grpc"), Some("" | "+proto"))
}

/// The answer to a method that is not there.
pub(super) fn no_such_method() -> Response {
    failed(&Status::unimplemented("There is no such method."))
}

async fn not_post() -> Response {
    let mut answer = failed(&Status::unimplemented("Methods of gRPC are asked by POST."));
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer
}

/// The other end of the socket, for the record.
const fn peer(connection: &super::listener::ConnectionInfo) -> IpAddr {
    connection.peer.ip()
}
