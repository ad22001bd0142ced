//! What authenticates a call: a field of its message, its metadata, or the certificates of its connection.
//!
//! Decides which of them counts, and verifies none.

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use super::v1::exchange_request::Credential;
use crate::credential::{CompactJws, PeerChain, Shown};
use crate::reason::{Malformed, Misshapen, Refusal};
use crate::wire::listener::ConnectionInfo;

/// What a call shows beside its message: the metadata that may hold the credential, and the certificates of its connection.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) authorization: Vec<HeaderValue>,
    pub(super) certificates: Option<Arc<PeerChain>>,
}

impl Beside {
    pub(super) fn of(headers: &HeaderMap, connection: &ConnectionInfo) -> Self {
        let authorization = headers.get_all(AUTHORIZATION).iter().cloned().collect();
        Self { authorization, certificates: connection.certificates.clone() }
    }
}

/// The one credential of a request: a field, or a JWT-SVID as bearer in the metadata (JWT-SVID §5.3). The connection's own
/// counts only where there is neither.
pub(super) fn credential(field: Option<&Credential>, beside: &Beside) -> Result<Shown, Refusal> {
    let field = field.map(|field| match field {
        Credential::JwtSvid(text) => (text.as_str(), Shown::JwtSvid as fn(CompactJws) -> Shown),
        Credential::FederatedJwt(text) => (text.as_str(), Shown::Federated as fn(CompactJws) -> Shown),
    });
    let field = field.filter(|(text, _)| !text.is_empty());
    let mut metadata = beside.authorization.iter();
    let (text, shown) = match (field, metadata.next(), metadata.next()) {
        (Some(field), None, None) => field,
        (None, Some(value), None) => (bearer(value)?, Shown::JwtSvid as fn(CompactJws) -> Shown),
        (None, None, _) => {
            if let Some(chain) = &beside.certificates {
                return Ok(Shown::X509Svid(Arc::clone(chain)));
            }
            return Err(Refusal::misshapen(
                Misshapen::CredentialMissing,
                "Send a credential: jwt_svid, federated_jwt, a JWT-SVID as authorization: Bearer, or the connection's X.509-SVID.",
                "no credential; the caller may believe that it needs none",
            ));
        }
        _ => {
            return Err(Refusal::malformed(
                Malformed::CredentialAmbiguous,
                "A request authenticates once: by the field credential or by the metadata authorization, not by both.",
            ));
        }
    };
    let jws = CompactJws::parse(text.to_owned()).map_err(|why| {
        Refusal::misshapen(Misshapen::CredentialMalformed, format!("The credential must be a signed JWT: {why}."), "")
    })?;
    Ok(shown(jws))
}

fn bearer(value: &HeaderValue) -> Result<&str, Refusal> {
    let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(Refusal::misshapen(
            Misshapen::AssertionTypeUnsupported,
            "The metadata authorization is Bearer and a JWT-SVID: no secrets exist here.",
            "",
        )),
    }
}
