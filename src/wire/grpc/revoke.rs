//! `Revoke`: a message becomes the same request as the form of `/revoke` (RFC 7009).
//!
//! Decides what the shape of the message decides, and nothing about whose a token is.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tonic::Status;

use super::answer::{answered, failed};
use super::exchange::{credential, malformed, refuse_unread};
use super::messages::Messages;
use super::v1::{exchange_request, revoke_request};
use super::{no_such_method, status, timeout, v1};
use crate::credential::CompactJws;
use crate::exchange::{Decision, Exchange, RevokeRequest, Transport};
use crate::reason::Refusal;
use crate::wire::http::body::Bodies;
use crate::wire::listener::ConnectionInfo;

pub(super) async fn revoke(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !super::is_grpc(&headers) {
        return no_such_method();
    }
    let mut decision = exchange.open(Transport::Grpc, super::peer(&connection));
    decision.of_revocation();
    let call = async {
        let message = match Messages::new(body, bodies).only().await {
            Ok(message) => message,
            Err(unread) => return Err(refuse_unread(unread, &exchange, &mut decision).await),
        };
        Box::pin(revoked(&message, &headers, &exchange, &mut decision)).await
    };
    match tokio::time::timeout(timeout::of_call(&headers), call).await {
        Ok(Ok(())) => answered(&v1::RevokeResponse {}),
        Ok(Err(status)) => failed(&status),
        Err(_elapsed) => failed(&status::too_late()),
    }
}

async fn revoked(
    message: &v1::RevokeRequest,
    headers: &HeaderMap,
    exchange: &Exchange,
    decision: &mut Decision,
) -> Result<(), Status> {
    let outcome = match request(message, headers) {
        Ok(request) => exchange.revoke(request, decision).await,
        Err(refusal) => Err(exchange.refuse(refusal, decision).await),
    };
    outcome.map_err(|refusal| status::refused(&refusal, decision.reference()))
}

fn request(message: &v1::RevokeRequest, headers: &HeaderMap) -> Result<RevokeRequest, Refusal> {
    let field = message.credential.as_ref().map(|shown| match shown {
        revoke_request::Credential::JwtSvid(text) => exchange_request::Credential::JwtSvid(text.clone()),
        revoke_request::Credential::FederatedJwt(text) => exchange_request::Credential::FederatedJwt(text.clone()),
    });
    let client = credential(field.as_ref(), headers)?;
    if message.token.is_empty() {
        return Err(malformed("The field token is missing."));
    }
    // What has not the shape of a token is an unknown token (RFC 7009 §2.2).
    Ok(RevokeRequest { client, token: CompactJws::parse(message.token.clone()).ok() })
}
