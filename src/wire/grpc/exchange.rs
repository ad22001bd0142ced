//! `Exchange`: a message becomes the same request as a form, the outcome a message or a status.
//!
//! Decides what the shape of the message decides, and nothing about trust.

use axum::response::Response;
use prost_types::{Duration, Timestamp};

use super::answer::answered_with;
use super::credential::{Beside, credential};
use super::messages::malformed;
use super::unary::Method;
use super::v1;
use crate::clock::Lifetime;
use crate::credential::{ACCESS_TOKEN_TYPE, CompactJws, Proof, ShownSubject};
use crate::exchange::{Exchange, ExchangeRequest, Issued};
use crate::identity::{Scope, ScopeSet};
use crate::policy::Ask;
use crate::reason::{About, Denied, Misshapen, Refusal};
use crate::verify::proof_invalid;

/// The path of this method: what a proof may be made for, besides the token endpoint that it stands for.
const METHOD: &str = "/countersign.v1.TokenService/Exchange";

/// `Exchange`.
#[derive(Debug)]
pub(super) struct GetToken;

impl Method for GetToken {
    type Message = v1::ExchangeRequest;
    type Request = ExchangeRequest;

    fn read(message: &v1::ExchangeRequest, beside: &Beside) -> Result<ExchangeRequest, Refusal> {
        request(message, beside)
    }

    fn answer(issued: &Issued, _exchange: &Exchange) -> Response {
        answered_with(&response(issued), issued.next_nonce.as_deref())
    }
}

/// The request that a message makes.
///
/// # Errors
/// What its shape shows.
pub(super) fn request(message: &v1::ExchangeRequest, beside: &Beside) -> Result<ExchangeRequest, Refusal> {
    let client = credential(message.credential.as_ref(), beside)?;
    let subject = message.subject.as_ref().map(shown_subject).transpose()?;
    let actor = message.actor.as_ref().map(shown_subject).transpose()?;
    let proof = match message.dpop_proof.as_str() {
        "" => None,
        text => Some(proof(text)?),
    };
    Ok(ExchangeRequest { client, subject, actor, proof, peer: beside.certificates.clone(), ask: ask(message)? })
}

fn shown_subject(token: &v1::Token) -> Result<ShownSubject, Refusal> {
    let shown: fn(CompactJws) -> ShownSubject = match token.r#type() {
        v1::TokenType::AccessToken => ShownSubject::AccessToken,
        v1::TokenType::Jwt => ShownSubject::Jwt,
        v1::TokenType::Unspecified => return Err(malformed("A subject or actor says which type of token it is.")),
    };
    let jws = CompactJws::parse(token.token.clone()).map_err(|why| {
        Refusal::misshapen(Misshapen::CredentialMalformed, format!("The token must be a signed JWT: {why}."), "")
            .about(About::Subject)
    })?;
    Ok(shown(jws))
}

fn proof(text: &str) -> Result<Proof, Refusal> {
    Proof::parse(text, &[METHOD, "/token"]).map_err(|why| proof_invalid(format!("{why}.")))
}

fn ask(message: &v1::ExchangeRequest) -> Result<Ask, Refusal> {
    let unreadable = |why: String| Refusal::denied(Denied::ScopeDenied, format!("scope is not readable: {why}."), "");
    let scopes = match message.scopes.as_slice() {
        [] => None,
        scopes if scopes.len() > ScopeSet::MOST => return Err(unreadable("more than 100 scopes".to_owned())),
        scopes => {
            let scopes: Result<ScopeSet, _> = scopes.iter().map(|scope| Scope::parse(scope)).collect();
            Some(scopes.map_err(|why| unreadable(why.to_string()))?)
        }
    };
    Ok(Ask {
        resource: Ask::text("resource", &message.resource)?,
        audience: Ask::text("audience", &message.audience)?,
        scopes,
        client_id: Ask::text("client_id", &message.client_id)?,
        max_lifetime: message.max_lifetime.as_ref().map(lifetime).transpose()?,
        same_as: None,
    })
}

/// A longest life, in whole seconds.
fn lifetime(duration: &Duration) -> Result<Lifetime, Refusal> {
    if duration.seconds < 1 || duration.nanos < 0 {
        return Err(malformed("max_lifetime is at least one second."));
    }
    Ok(Lifetime::from_seconds(u32::try_from(duration.seconds).unwrap_or(u32::MAX)))
}

/// What a granted exchange answers.
pub(super) fn response(issued: &Issued) -> v1::ExchangeResponse {
    let seconds = |seconds: i64| Some(Duration { seconds, nanos: 0 });
    v1::ExchangeResponse {
        access_token: issued.token.expose().to_owned(),
        token_type: issued.token_type.to_owned(),
        expires_at: Some(Timestamp { seconds: issued.token.expires_at.seconds(), nanos: 0 }),
        expires_in: seconds(issued.expires_in),
        refresh_in: seconds(issued.refresh_in),
        scopes: issued.scopes.iter().map(ToString::to_string).collect(),
        issued_token_type: ACCESS_TOKEN_TYPE.to_owned(),
    }
}
