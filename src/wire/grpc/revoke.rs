//! `Revoke`: a message becomes the same request as the form of `/revoke` (RFC 7009).
//!
//! Decides what the shape of the message decides, and nothing about whose a token is.

use axum::response::Response;

use super::answer::answered;
use super::credential::{Beside, credential};
use super::messages::malformed;
use super::unary::Method;
use super::v1;
use super::v1::{exchange_request, revoke_request};
use crate::credential::CompactJws;
use crate::exchange::{Exchange, RevokeRequest};
use crate::reason::Refusal;

/// `Revoke`.
#[derive(Debug)]
pub(super) struct Revoke;

impl Method for Revoke {
    type Message = v1::RevokeRequest;
    type Request = RevokeRequest;

    fn read(message: &v1::RevokeRequest, beside: &Beside) -> Result<RevokeRequest, Refusal> {
        request(message, beside)
    }

    fn answer((): &(), _exchange: &Exchange) -> Response {
        answered(&v1::RevokeResponse {})
    }
}

fn request(message: &v1::RevokeRequest, beside: &Beside) -> Result<RevokeRequest, Refusal> {
    let field = message.credential.as_ref().map(|shown| match shown {
        revoke_request::Credential::JwtSvid(text) => exchange_request::Credential::JwtSvid(text.clone()),
        revoke_request::Credential::FederatedJwt(text) => exchange_request::Credential::FederatedJwt(text.clone()),
    });
    let client = credential(field.as_ref(), beside)?;
    if message.token.is_empty() {
        return Err(malformed("The field token is missing."));
    }
    // What has not the shape of a token is an unknown token (RFC 7009 §2.2).
    Ok(RevokeRequest { client, token: CompactJws::parse(message.token.clone()).ok() })
}
