//! An endpoint that takes a form and is asked by POST: the frame of every such request.
//!
//! Opens the record, reads the form, runs the core and answers. Knows no endpoint.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

use super::answer;
use super::body::{Bodies, Unread};
use super::form::{Form, malformed};
use crate::credential::PeerChain;
use crate::exchange::{Exchange, Generation, Transport};
use crate::reason::Refusal;
use crate::wire::listener::ConnectionInfo;
use crate::wire::question::Question;

/// What the core says.
type Outcome<Q> = <Q as Question>::Outcome;

/// What a request shows beside its form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside<'a> {
    pub(super) headers: &'a HeaderMap,
    /// The certificates of its connection.
    pub(super) peer: Option<&'a Arc<PeerChain>>,
}

/// What is an endpoint's own.
pub(super) trait Endpoint {
    /// What the core is asked.
    type Request: Question;

    /// The request that a form makes.
    ///
    /// # Errors
    /// What its shape shows.
    fn read(form: &Form, beside: &Beside<'_>, generation: &Generation) -> Result<Self::Request, Refusal>;

    /// The answer.
    fn answer(outcome: &Outcome<Self::Request>, exchange: &Exchange) -> Response;
}

/// One request, to its end.
pub(super) async fn call<E: Endpoint>(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut decision = exchange.open(Transport::Http, connection.peer.ip());
    E::Request::begin(&mut decision);
    let challenge = answer::authorization_scheme(&headers);
    let read = form(&headers, body, &bodies).await.and_then(|form| {
        let beside = Beside { headers: &headers, peer: connection.certificates.as_ref() };
        Ok(E::read(&form, &beside, &exchange.generation())?)
    });
    let outcome = match read {
        // Boxed: its state is large, and a request that never arrives whole would hold memory for all of it.
        Ok(request) => Box::pin(request.ask(&exchange, &mut decision)).await,
        Err(Unread::Refused(refusal)) => Err(exchange.refuse(refusal, &mut decision).await),
        // Its sender is gone or has given up: the record says that the connection dropped, and not that somebody was refused.
        Err(Unread::CutShort) => Err(malformed("The body ended before it was whole.")),
    };
    match outcome {
        Ok(outcome) => E::answer(&outcome, &exchange),
        Err(refusal) => answer::refused(&refusal, decision.reference(), challenge),
    }
}

async fn form(headers: &HeaderMap, body: Body, bodies: &Bodies) -> Result<Form, Unread> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let is_form =
        matches!((types.next(), types.next()), (Some(only), None) if is_form(only.to_str().unwrap_or_default()));
    if !is_form {
        return Err(malformed("The body is application/x-www-form-urlencoded.").into());
    }
    let body = bodies.read(body).await?;
    Ok(Form::parse(body.bytes())?)
}

/// The form's media type, with no charset or UTF-8 (TOK-02).
fn is_form(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    parts.next().as_deref() == Some("application/x-www-form-urlencoded")
        && parts.all(|parameter| {
            parameter.is_empty() || matches!(parameter.as_str(), "charset=utf-8" | "charset=\"utf-8\"")
        })
}
