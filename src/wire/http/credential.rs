//! What authenticates a form: its assertion, or the certificate of the connection.
//!
//! Decides which of them counts, and verifies none.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};

use super::answer;
use super::endpoint::Beside;
use super::form::Form;
use crate::credential::{CompactJws, PeerChain, Shown};
use crate::reason::{Malformed, Misshapen, Refusal, quoted};

const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Ways to authenticate that are not taken, by the parameter or header that shows them.
const OTHER_PARAMETERS: [&str; 1] = ["client_secret"];
const OTHER_HEADERS: [&str; 2] = ["oauth-client-attestation", "oauth-client-attestation-pop"];

/// The one credential of the request. Every other way to authenticate beside it is refused (TOK-19, C-01), and alone it is not taken.
/// The certificate of the connection is no such way: mesh sidecars show theirs on every connection, and it counts when nothing else
/// is shown (design §4).
pub(super) fn client(form: &Form, beside: &Beside<'_>) -> Result<Shown, Refusal> {
    let Beside { headers, peer } = *beside;
    let (kind, assertion) = (form.value("client_assertion_type"), form.value("client_assertion"));
    let other = other_method(form, headers);
    if let ((None, None, None), Some(chain)) = ((kind, assertion, &other), peer) {
        return x509_svid(form, chain);
    }
    let (kind, assertion) = match (kind, assertion, other) {
        (None, None, None) => {
            return Err(Refusal::misshapen(
                Misshapen::CredentialMissing,
                "Send client_assertion and client_assertion_type.",
                "no credential; the caller may believe that it needs none",
            ));
        }
        (None, None, Some(method)) => {
            return Err(Refusal::misshapen(
                Misshapen::AssertionTypeUnsupported,
                format!("{method} is not taken here: no secrets exist. Send the platform's token as client_assertion."),
                "",
            ));
        }
        (_, _, Some(method)) => {
            return Err(Refusal::malformed(
                Malformed::CredentialAmbiguous,
                format!("A request authenticates once: client_assertion or {method}, not both."),
            ));
        }
        (Some(_), None, None) => {
            return Err(Refusal::misshapen(Misshapen::CredentialMissing, "Parameter client_assertion is missing.", ""));
        }
        (None, Some(_), None) => {
            return Err(Refusal::misshapen(
                Misshapen::AssertionTypeUnsupported,
                "Parameter client_assertion_type is missing.",
                "",
            ));
        }
        (Some(kind), Some(assertion), None) => (kind, assertion),
    };
    let shown: fn(CompactJws) -> Shown = match kind {
        JWT_SPIFFE => Shown::JwtSvid,
        JWT_BEARER => Shown::Federated,
        other => {
            return Err(Refusal::misshapen(
                Misshapen::AssertionTypeUnsupported,
                format!(
                    "client_assertion_type {} is not taken; for a JWT-SVID use {JWT_SPIFFE}, for a Kubernetes token {JWT_BEARER}.",
                    quoted(other)
                ),
                "",
            ));
        }
    };
    let jws = CompactJws::parse(assertion.to_owned()).map_err(|why| {
        Refusal::misshapen(Misshapen::CredentialMalformed, format!("client_assertion must be a signed JWT: {why}."), "")
    })?;
    Ok(shown(jws))
}

/// `spiffe_x509`: the certificate, and `client_id`, which says that it is meant (SCA-08, MTL-01). That it is the SPIFFE ID is
/// compared once it is verified.
fn x509_svid(form: &Form, chain: &Arc<PeerChain>) -> Result<Shown, Refusal> {
    match form.value("client_id") {
        Some(_) => Ok(Shown::X509Svid(Arc::clone(chain))),
        None => Err(Refusal::misshapen(
            Misshapen::CredentialMissing,
            "Send client_id, the SPIFFE ID of the certificate of this connection; or client_assertion and client_assertion_type.",
            "a certificate and no client_id",
        )),
    }
}

fn other_method(form: &Form, headers: &HeaderMap) -> Option<String> {
    let parameter = OTHER_PARAMETERS.into_iter().find(|name| form.value(name).is_some());
    let header = || OTHER_HEADERS.into_iter().find(|name| headers.contains_key(HeaderName::from_static(name)));
    let scheme = || answer::authorization_scheme(headers).map(|scheme| format!("Authorization: {scheme}"));
    parameter.or_else(header).map(str::to_owned).or_else(scheme)
}
