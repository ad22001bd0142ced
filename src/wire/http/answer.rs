//! How answers look: RFC 6749 bodies, `no-store`, challenges.
//!
//! Text for callers stays inside the characters of RFC 6749 §5.2, whatever came in.

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use crate::exchange::{ErrorRef, Issued};
use crate::reason::{Reason, Refusal};
use crate::wire::render::{DPOP_NONCE, render_about};

/// A JSON answer that no cache keeps (TOK-12).
pub(super) fn no_store<B: Serialize>(status: StatusCode, body: &B) -> Response {
    // Never fails: the keys are text, and there is no map with others.
    let mut response = Response::new(Body::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// What comes before the table: 404, 405.
pub(super) fn plain_error(status: StatusCode, sentence: &str) -> Response {
    no_store(status, &json!({ "error": "invalid_request", "error_description": sentence }))
}

/// The members of an answer with a token (RFC 6749 §5.1, RFC 8693 §2.2.1).
#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    refresh_in: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    token_type: &'static str,
}

/// A token.
pub(super) fn issued(issued: &Issued) -> Response {
    let body = TokenAnswer {
        access_token: issued.token.expose(),
        expires_in: issued.expires_in,
        issued_token_type: issued.issued_token_type,
        refresh_in: issued.refresh_in,
        scope: &issued.scopes.to_string(),
        token_type: issued.token_type,
    };
    with_nonce(no_store(StatusCode::OK, &body), issued.next_nonce.as_deref())
}

/// The nonce for the next proof, in exactly one header (RFC 9449 §8.2).
fn with_nonce(mut response: Response, nonce: Option<&str>) -> Response {
    if let Some(Ok(value)) = nonce.map(HeaderValue::from_str) {
        response.headers_mut().insert(HeaderName::from_static(DPOP_NONCE), value);
    }
    response
}

/// Nothing but that it is done (RFC 7009 §2.2).
pub(super) fn done() -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// As [`done`], of something that has no content (RFC 9110 §15.3.5).
pub(super) fn no_content() -> Response {
    let mut response = done();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A refusal (RFC 6749 §5.2), with its reference. `challenge` is the scheme of an `Authorization` header that was sent:
/// `invalid_client` is then 401 with that scheme's challenge, and in no other case.
pub(super) fn refused(refusal: &Refusal, reference: &ErrorRef, challenge: Option<&str>) -> Response {
    let rendered = render_about(refusal.reason(), refusal.is_about());
    let body = json!({
        "error": rendered.error,
        "error_description": format!("{} ref {reference}", printable(refusal.to_caller())),
        "error_ref": reference.as_str(),
    });
    let challenge = challenge.filter(|_| rendered.error == "invalid_client");
    let status = match challenge {
        Some(_) => StatusCode::UNAUTHORIZED,
        None => StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let mut response = no_store(status, &body);
    if let Some(scheme) = challenge
        && let Ok(value) = HeaderValue::from_str(&format!("{scheme} realm=\"countersign\""))
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    if let Some(after) = refusal.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.seconds_rounded_up().max(1)));
    }
    if refusal.reason() == Reason::Internal {
        tracing::error!(reference = reference.as_str(), note = refusal.to_operator(), "a fault of ours");
    }
    with_nonce(response, refusal.nonce())
}

/// `%x20-21 / %x23-5B / %x5D-7E` (TOK-22): anything else becomes a mark that is inside.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => character,
            '…' => '~',
            _ => '?',
        })
        .collect()
}

/// Schemes that are challenged by name; nothing else that came in is repeated in a header.
const SCHEMES: [&str; 6] = ["Basic", "Bearer", "Digest", "DPoP", "Negotiate", "SPIFFE"];

/// The scheme of the `Authorization` header, as it is challenged (RFC 6749 §5.2).
pub(super) fn authorization_scheme(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(axum::http::header::AUTHORIZATION)?;
    let scheme = value.to_str().unwrap_or_default().split(' ').next().unwrap_or_default();
    Some(SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme)).unwrap_or("Bearer"))
}

/// A document that verifiers may keep for a while, with its ETag; 304 when they have it.
pub(super) fn document(request: &HeaderMap, text: String, etag: &str, max_age: i64) -> Response {
    let known = request.get(axum::http::header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let fresh = known
        .is_some_and(|known| known == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag));
    let mut response = Response::new(if fresh { Body::empty() } else { Body::from(text) });
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={max_age}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    if let Ok(value) = HeaderValue::from_str(etag) {
        headers.insert(axum::http::header::ETAG, value);
    }
    headers.remove(ALLOW);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tok_22_descriptions_stay_inside_their_characters() {
        assert_eq!(printable("a \"b\" \\ é\n…"), "a 'b' / ??~");
    }
}
