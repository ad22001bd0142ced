//! `POST /introspect`: a form becomes a question, the answer becomes JSON (RFC 7662).
//!
//! The caller authenticates as at the token endpoint. Inactive is one answer and says nothing else (INT-03); there is no JWT answer (INT-11).

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer;
use super::credential::client;
use super::endpoint::{Beside, Endpoint};
use super::form::{Form, malformed};
use crate::credential::CompactJws;
use crate::exchange::{Exchange, Generation, IntrospectRequest, Introspected};
use crate::identity::{Confirmation, IssuerUrl};
use crate::issue::act;
use crate::reason::Refusal;
use crate::verify::{FLAT_CLAIMS, OwnToken};

/// The introspection endpoint.
#[derive(Debug)]
pub(super) struct Introspect;

impl Endpoint for Introspect {
    type Request = IntrospectRequest;

    fn read(form: &Form, beside: &Beside<'_>, _generation: &Generation) -> Result<IntrospectRequest, Refusal> {
        let client = client(form, beside)?;
        let token = form.value("token").ok_or_else(|| malformed("Parameter token is missing."))?;
        Ok(IntrospectRequest { client, token: CompactJws::parse(token.to_owned()).ok() })
    }

    fn answer(told: &Introspected, exchange: &Exchange) -> Response {
        let said = match told {
            Introspected::Active(token) => Value::Object(active(token, exchange.generation().issuer())),
            Introspected::Inactive => json!({ "active": false }),
        };
        answer::no_store(StatusCode::OK, &said)
    }
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
