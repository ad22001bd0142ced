//! `PUT /sources/<name>/keys` (design §4, §7): a bearer token and a JWK Set become a [`PushRequest`].
//!
//! Decides what the shape of the request decides, and nothing about trust. A source whose keys are not pushed has no such path.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::answer;
use super::body::{Bodies, Held, Unread};
use super::form::malformed;
use crate::credential::CompactJws;
use crate::exchange::{Decision, Exchange, PushRequest, Transport};
use crate::identity::SourceName;
use crate::reason::{Malformed, Misshapen, Refusal};
use crate::wire::listener::ConnectionInfo;

pub(super) async fn push(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let named = SourceName::parse(&source).ok().filter(|source| exchange.takes_pushes(source));
    let Some(source) = named else {
        return answer::plain_error(StatusCode::NOT_FOUND, "There is nothing at this path.");
    };
    let mut decision = exchange.open(Transport::Http, connection.peer.ip());
    decision.of_push(&source);
    let (reference, challenge) = (decision.reference().clone(), answer::authorization_scheme(&headers));
    let outcome = match read(&headers, body, &bodies).await {
        Ok((token, keys)) => to_its_end(exchange, decision, source, token, keys).await,
        Err(Unread::Refused(refusal)) => Err(exchange.refuse(refusal, &mut decision).await),
        // Its sender is gone or has given up: the record says that the connection dropped.
        Err(Unread::CutShort) => Err(malformed("The body ended before it was whole.")),
    };
    match outcome {
        Ok(()) => answer::no_content(),
        Err(refusal) => answer::refused(&refusal, &reference, challenge),
    }
}

/// What has arrived runs to its end, also when its sender is gone: a cut between the token that is used up and the keys would
/// leave a record that says neither.
async fn to_its_end(
    exchange: Arc<Exchange>,
    mut decision: Decision,
    source: SourceName,
    token: CompactJws,
    keys: Held,
) -> Result<(), Refusal> {
    let running = tokio::spawn(async move {
        let request = PushRequest { source, token, keys: keys.bytes() };
        exchange.push(request, &mut decision).await
    });
    running.await.unwrap_or_else(|_interrupted| Err(Refusal::internal("a push was interrupted")))
}

async fn read(headers: &HeaderMap, body: Body, bodies: &Bodies) -> Result<(CompactJws, Held), Unread> {
    let token = bearer(headers)?;
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_set = |only: &str| {
        let media = only.split(';').next().unwrap_or_default().trim();
        ["application/jwk-set+json", "application/json"].iter().any(|known| known.eq_ignore_ascii_case(media))
    };
    if !matches!((types.next(), types.next()), (Some(only), None) if is_set(only.to_str().unwrap_or_default())) {
        return Err(malformed("The body is application/jwk-set+json.").into());
    }
    Ok((token, bodies.read(body).await?))
}

/// The one bearer token (RFC 6750 §2.1); the scheme's name has no case (TOK-26).
fn bearer(headers: &HeaderMap) -> Result<CompactJws, Refusal> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let value = match (sent.next(), sent.next()) {
        (Some(only), None) => only.to_str().unwrap_or_default(),
        (None, _) => {
            let sentence = "Send your service-account token: Authorization: Bearer <token>.";
            return Err(Refusal::misshapen(Misshapen::CredentialMissing, sentence, ""));
        }
        (Some(_), Some(_)) => {
            let sentence = "A request authenticates once: there is more than one header Authorization.";
            return Err(Refusal::malformed(Malformed::CredentialAmbiguous, sentence));
        }
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        let sentence = "Keys are pushed with Authorization: Bearer and a service-account token.";
        return Err(Refusal::misshapen(Misshapen::AssertionTypeUnsupported, sentence, ""));
    }
    CompactJws::parse(token.trim().to_owned()).map_err(|why| {
        Refusal::misshapen(Misshapen::CredentialMalformed, format!("The bearer token must be a signed JWT: {why}."), "")
    })
}
