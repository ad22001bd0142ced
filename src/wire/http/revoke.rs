//! `POST /revoke` (RFC 7009): a form becomes a [`RevokeRequest`], the outcome an empty answer or a refusal.
//!
//! Authenticates as the token endpoint does, and decides nothing about whose a token is. The hint is not read: there is one
//! kind of token.

use axum::response::Response;

use super::answer;
use super::credential::client;
use super::endpoint::{Beside, Endpoint};
use super::form::{Form, malformed};
use crate::credential::CompactJws;
use crate::exchange::{Exchange, Generation, RevokeRequest};
use crate::reason::Refusal;

/// The revocation endpoint.
#[derive(Debug)]
pub(super) struct Revoke;

impl Endpoint for Revoke {
    type Request = RevokeRequest;

    fn read(form: &Form, beside: &Beside<'_>, _generation: &Generation) -> Result<RevokeRequest, Refusal> {
        let client = client(form, beside)?;
        let token = form.value("token").ok_or_else(|| malformed("Parameter token is missing."))?;
        // What has not the shape of a token is an unknown token (RFC 7009 §2.2).
        Ok(RevokeRequest { client, token: CompactJws::parse(token.to_owned()).ok() })
    }

    fn answer((): &(), _exchange: &Exchange) -> Response {
        answer::done()
    }
}
