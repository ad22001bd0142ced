//! `POST /revoke` (RFC 7009): a form becomes a [`RevokeRequest`], the outcome an empty answer or a refusal.
//!
//! Authenticates as the token endpoint does, and decides nothing about whose a token is. The hint is not read: there is one
//! kind of token.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::answer;
use super::body::{Bodies, Unread};
use super::token::{client, form, malformed, refuse_unread};
use crate::credential::{CompactJws, PeerChain};
use crate::exchange::{Exchange, RevokeRequest, Transport};
use crate::wire::listener::ConnectionInfo;

pub(super) async fn revoke(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut decision = exchange.open(Transport::Http, connection.peer.ip());
    decision.of_revocation();
    let challenge = answer::authorization_scheme(&headers);
    let request = match read(&headers, body, &bodies, connection.certificates.as_ref()).await {
        Ok(request) => request,
        Err(unread) => return refuse_unread(&exchange, unread, &mut decision, challenge).await,
    };
    match Box::pin(exchange.revoke(request, &mut decision)).await {
        Ok(()) => answer::done(),
        Err(refusal) => answer::refused(&refusal, decision.reference(), challenge),
    }
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    bodies: &Bodies,
    peer: Option<&Arc<PeerChain>>,
) -> Result<RevokeRequest, Unread> {
    let form = form(headers, body, bodies).await?;
    let client = client(&form, headers, peer)?;
    let Some(token) = form.value("token") else { return Err(malformed("Parameter token is missing.").into()) };
    // What has not the shape of a token is an unknown token (RFC 7009 §2.2).
    Ok(RevokeRequest { client, token: CompactJws::parse(token.to_owned()).ok() })
}
