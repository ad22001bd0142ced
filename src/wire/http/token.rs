//! `POST /token`: a form becomes an [`ExchangeRequest`], the outcome becomes an answer.
//!
//! Decides what the shape of the request decides, and nothing about trust.

use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;

use super::answer;
use super::credential::client;
use super::endpoint::{Beside, Endpoint};
use super::form::{Form, malformed};
use super::subject;
use crate::credential::Proof;
use crate::exchange::{Exchange, ExchangeRequest, Generation, Grants, Issued};
use crate::identity::ScopeSet;
use crate::policy::Ask;
use crate::reason::{Denied, Malformed, Refusal, quoted};
use crate::verify::proof_invalid;

/// The token endpoint.
#[derive(Debug)]
pub(super) struct Token;

impl Endpoint for Token {
    type Request = ExchangeRequest;

    fn read(form: &Form, beside: &Beside<'_>, generation: &Generation) -> Result<ExchangeRequest, Refusal> {
        let grant = grant_type(form, generation)?;
        let client = client(form, beside)?;
        let tokens = subject::shown(form, grant)?;
        let request = ExchangeRequest::of_client(client, ask(form)?);
        let (proof, peer) = (proof(beside.headers)?, beside.peer.cloned());
        Ok(ExchangeRequest { subject: tokens.subject, actor: tokens.actor, proof, peer, ..request })
    }

    fn answer(issued: &Issued, _exchange: &Exchange) -> Response {
        answer::issued(issued)
    }
}

/// The proof of possession in the header `DPoP`: at most one (RFC 9449 §4.3).
fn proof(headers: &HeaderMap) -> Result<Option<Proof>, Refusal> {
    let mut shown = headers.get_all(HeaderName::from_static("dpop")).iter();
    let value = match (shown.next(), shown.next()) {
        (None, _) => return Ok(None),
        (Some(only), None) => only,
        (Some(_), Some(_)) => return Err(proof_invalid("there is more than one header DPoP.")),
    };
    let proof = Proof::parse(value.to_str().unwrap_or_default(), &["/token"]);
    proof.map(Some).map_err(|why| proof_invalid(format!("{why}.")))
}

fn grant_type(form: &Form, generation: &Generation) -> Result<Grants, Refusal> {
    let Some(named) = form.value("grant_type") else { return Err(malformed("Parameter grant_type is missing.")) };
    generation.grants().iter().copied().find(|grant| grant.as_str() == named).ok_or_else(|| {
        let served: Vec<&str> = generation.grants().iter().map(|grant| grant.as_str()).collect();
        Refusal::malformed(
            Malformed::GrantUnsupported,
            format!("grant_type {} is not served; served are: {}.", quoted(named), served.join(", ")),
        )
    })
}

fn ask(form: &Form) -> Result<Ask, Refusal> {
    let scopes = form.value("scope").map(ScopeSet::parse).transpose();
    let scopes =
        scopes.map_err(|why| Refusal::denied(Denied::ScopeDenied, format!("scope is not readable: {why}."), ""))?;
    let short = |name: &'static str, value: Option<&str>| match value {
        Some(value) if value.len() > 2048 => Err(malformed(&format!("Parameter {name} has at most 2048 bytes."))),
        other => Ok(other.map(str::to_owned)),
    };
    Ok(Ask {
        resource: short("resource", form.target("resource")?)?,
        audience: short("audience", form.target("audience")?)?,
        scopes,
        client_id: short("client_id", form.value("client_id"))?,
        max_lifetime: None,
        same_as: None,
    })
}
