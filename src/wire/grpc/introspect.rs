//! `Introspect`: a message becomes the same question as the form of `/introspect` (RFC 7662).
//!
//! With `active` false nothing else is said.

use axum::response::Response;
use prost_types::{Struct, Timestamp, Value, value::Kind};

use super::answer::answered;
use super::credential::{Beside, credential};
use super::messages::malformed;
use super::unary::Method;
use super::v1;
use super::v1::{exchange_request, introspect_request};
use crate::credential::CompactJws;
use crate::exchange::{Exchange, IntrospectRequest, Introspected};
use crate::identity::Confirmation;
use crate::reason::Refusal;
use crate::verify::{FLAT_CLAIMS, OwnToken};

/// `Introspect`.
#[derive(Debug)]
pub(super) struct Introspect;

impl Method for Introspect {
    type Message = v1::IntrospectRequest;
    type Request = IntrospectRequest;

    fn read(message: &v1::IntrospectRequest, beside: &Beside) -> Result<IntrospectRequest, Refusal> {
        request(message, beside)
    }

    fn answer(told: &Introspected, exchange: &Exchange) -> Response {
        match told {
            Introspected::Active(token) => answered(&active(token, exchange.generation().issuer().as_str())),
            Introspected::Inactive => answered(&v1::IntrospectResponse::default()),
        }
    }
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
