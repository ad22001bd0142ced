//! `Introspect`: a message becomes the same question as the form of `/introspect` (RFC 7662).
//!
//! With `active` false nothing else is said.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use prost_types::{Struct, Timestamp, Value, value::Kind};
use tonic::Status;

use super::answer::{answered, failed};
use super::exchange::{Beside, credential, malformed, refuse_unread};
use super::messages::Messages;
use super::v1::{exchange_request, introspect_request};
use super::{no_such_method, status, timeout, v1};
use crate::credential::CompactJws;
use crate::exchange::{Decision, Exchange, IntrospectRequest, Introspected, Transport};
use crate::identity::Confirmation;
use crate::reason::Refusal;
use crate::verify::{FLAT_CLAIMS, OwnToken};
use crate::wire::http::body::Bodies;
use crate::wire::listener::ConnectionInfo;

pub(super) async fn introspect(
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
    let call = async {
        let message = match Messages::new(body, bodies).only().await {
            Ok(message) => message,
            Err(unread) => return Err(refuse_unread(unread, &exchange, &mut decision).await),
        };
        Box::pin(told(&message, &Beside::of(&headers, &connection), &exchange, &mut decision)).await
    };
    match tokio::time::timeout(timeout::of_call(&headers), call).await {
        Ok(Ok(Introspected::Active(token))) => answered(&active(&token, exchange.generation().issuer().as_str())),
        Ok(Ok(Introspected::Inactive)) => answered(&v1::IntrospectResponse::default()),
        Ok(Err(status)) => failed(&status),
        Err(_elapsed) => failed(&status::too_late()),
    }
}

async fn told(
    message: &v1::IntrospectRequest,
    beside: &Beside,
    exchange: &Exchange,
    decision: &mut Decision,
) -> Result<Introspected, Status> {
    let outcome = match request(message, beside) {
        Ok(request) => exchange.introspect(request, decision).await,
        Err(refusal) => Err(exchange.refuse(refusal, decision).await),
    };
    outcome.map_err(|refusal| status::refused(&refusal, decision.reference()))
}

fn request(message: &v1::IntrospectRequest, beside: &Beside) -> Result<IntrospectRequest, Refusal> {
    let field = message.credential.as_ref().map(|shown| match shown {
        introspect_request::Credential::JwtSvid(text) => exchange_request::Credential::JwtSvid(text.clone()),
        introspect_request::Credential::FederatedJwt(text) => exchange_request::Credential::FederatedJwt(text.clone()),
    });
    let client = credential(field.as_ref(), beside)?;
    if message.token.is_empty() {
        return Err(malformed("The field token is missing."));
    }
    Ok(IntrospectRequest { client, token: CompactJws::parse(message.token.clone()).ok() })
}

/// What the token says, as over HTTP.
fn active(token: &OwnToken, issuer: &str) -> v1::IntrospectResponse {
    let time = |seconds: i64| Some(Timestamp { seconds, nanos: 0 });
    let text = |value: &str| Value { kind: Some(Kind::StringValue(value.to_owned())) };
    let flat = |name: &&str| token.subject.workload().and_then(|workload| workload.attributes.named(name)).map(text);
    let mut fields = std::collections::BTreeMap::from([
        ("source".to_owned(), text(token.subject.source().as_str())),
        ("kind".to_owned(), text(token.subject.kind())),
    ]);
    fields.extend(FLAT_CLAIMS.iter().filter_map(|name| flat(name).map(|value| ((*name).to_owned(), value))));
    v1::IntrospectResponse {
        active: true,
        iss: issuer.to_owned(),
        sub: token.subject.name(),
        aud: token.audience.to_string(),
        client_id: token.client_id.clone(),
        scopes: token.scopes.iter().map(ToString::to_string).collect(),
        exp: time(token.expires_at.seconds()),
        iat: time(token.issued_at.seconds()),
        nbf: time(token.not_before.seconds()),
        jti: token.id.clone(),
        token_type: token.confirmation.as_ref().map_or(Confirmation::UNBOUND, Confirmation::token_type).to_owned(),
        cnf: token.confirmation.as_ref().map(|bound| match bound {
            Confirmation::Key(jkt) => v1::Confirmation { jkt: jkt.clone(), x5t_s256: String::new() },
            Confirmation::Certificate(hash) => v1::Confirmation { jkt: String::new(), x5t_s256: hash.clone() },
        }),
        act: token
            .acted_by
            .iter()
            .rev()
            .fold(None, |older, actor| Some(v1::Actor { sub: actor.to_string(), act: older.map(Box::new) })),
        claims: Some(Struct { fields }),
    }
}
