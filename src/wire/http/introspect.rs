//! `POST /introspect`: a form becomes a question, the answer becomes JSON (RFC 7662).
//!
//! The caller authenticates as at the token endpoint. Inactive is one answer and says nothing else (INT-03); there is no JWT answer (INT-11).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer;
use super::body::{Bodies, Unread};
use super::token::{client, form, malformed, refuse_unread};
use crate::credential::{CompactJws, PeerChain};
use crate::exchange::{Exchange, IntrospectRequest, Introspected, Transport};
use crate::identity::{Confirmation, IssuerUrl};
use crate::issue::act;
use crate::verify::{FLAT_CLAIMS, OwnToken};
use crate::wire::listener::ConnectionInfo;

pub(super) async fn introspect(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut decision = exchange.open(Transport::Http, connection.peer.ip());
    let challenge = answer::authorization_scheme(&headers);
    let request = match read(&headers, body, &bodies, connection.certificates.as_ref()).await {
        Ok(request) => request,
        Err(unread) => return refuse_unread(&exchange, unread, &mut decision, challenge).await,
    };
    match Box::pin(exchange.introspect(request, &mut decision)).await {
        Ok(Introspected::Active(token)) => {
            let members = active(&token, exchange.generation().issuer());
            answer::no_store(StatusCode::OK, &Value::Object(members))
        }
        Ok(Introspected::Inactive) => answer::no_store(StatusCode::OK, &json!({ "active": false })),
        Err(refusal) => answer::refused(&refusal, decision.reference(), challenge),
    }
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    bodies: &Bodies,
    peer: Option<&Arc<PeerChain>>,
) -> Result<IntrospectRequest, Unread> {
    let form = form(headers, body, bodies).await?;
    let client = client(&form, headers, peer)?;
    let token = form.value("token").ok_or_else(|| malformed("Parameter token is missing."))?;
    Ok(IntrospectRequest { client, token: CompactJws::parse(token.to_owned()).ok() })
}

/// What the token says (RFC 7662 §2.2, RFC 8693 §4, RFC 8705 §3.2).
fn active(token: &OwnToken, issuer: &IssuerUrl) -> Map<String, Value> {
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("active", true.into());
    set("iss", issuer.as_str().into());
    set("sub", token.subject.name().into());
    set("aud", token.audience.as_str().into());
    set("exp", token.expires_at.seconds().into());
    set("iat", token.issued_at.seconds().into());
    set("nbf", token.not_before.seconds().into());
    set("jti", token.id.as_str().into());
    set("client_id", token.client_id.as_str().into());
    set("scope", token.scopes.to_string().into());
    set("source", token.subject.source().as_str().into());
    set("kind", token.subject.kind().into());
    set("token_type", token.confirmation.as_ref().map_or(Confirmation::UNBOUND, Confirmation::token_type).into());
    if let Some(confirmation) = &token.confirmation {
        set("cnf", json!({ (confirmation.member()): confirmation.value() }));
    }
    if let Some(act) = act(&token.acted_by) {
        set("act", act);
    }
    for name in FLAT_CLAIMS {
        if let Some(value) = token.subject.workload().and_then(|workload| workload.attributes.named(name)) {
            set(name, value.into());
        }
    }
    members
}
