//! `POST /token`: a form becomes an [`ExchangeRequest`], the outcome becomes an answer.
//!
//! Decides what the shape of the request decides, and nothing about trust.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;

use super::answer;
use super::body::{Bodies, Unread};
use super::form::Form;
use super::subject;
use crate::credential::{CompactJws, PeerChain, Proof, Shown};
use crate::exchange::{Decision, Exchange, ExchangeRequest, Generation, Grants, Transport};
use crate::identity::ScopeSet;
use crate::policy::Ask;
use crate::reason::{Denied, Malformed, Misshapen, Refusal, quoted};
use crate::verify::proof_invalid;
use crate::wire::listener::ConnectionInfo;

const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Ways to authenticate that are not taken, by the parameter or header that shows them.
const OTHER_PARAMETERS: [&str; 1] = ["client_secret"];
const OTHER_HEADERS: [&str; 2] = ["oauth-client-attestation", "oauth-client-attestation-pop"];

pub(super) async fn token(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut decision = exchange.open(Transport::Http, connection.peer.ip());
    let challenge = answer::authorization_scheme(&headers);
    let generation = exchange.generation();
    let request = match read(&headers, body, &bodies, &generation, connection.certificates).await {
        Ok((grant, request)) => {
            decision.of_grant(grant);
            request
        }
        Err(unread) => return refuse_unread(&exchange, unread, &mut decision, challenge).await,
    };
    drop(generation);
    // Boxed: its state is large, and a request that never arrives whole would hold memory for all of it.
    match Box::pin(exchange.run(request, &mut decision)).await {
        Ok(issued) => answer::issued(&issued),
        Err(refusal) => answer::refused(&refusal, decision.reference(), challenge),
    }
}

/// Answers a request whose form could not be read.
pub(super) async fn refuse_unread(
    exchange: &Exchange,
    unread: Unread,
    decision: &mut Decision,
    challenge: Option<&'static str>,
) -> Response {
    let refusal = match unread {
        Unread::Refused(refusal) => exchange.refuse(refusal, decision).await,
        // Its sender is gone or has given up: the record says that the connection dropped, and not that somebody was refused.
        Unread::CutShort => malformed("The body ended before it was whole."),
    };
    answer::refused(&refusal, decision.reference(), challenge)
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    bodies: &Bodies,
    generation: &Generation,
    peer: Option<Arc<PeerChain>>,
) -> Result<(Grants, ExchangeRequest), Unread> {
    let form = form(headers, body, bodies).await?;
    let grant = grant_type(&form, generation)?;
    let client = client(&form, headers, peer.as_ref())?;
    let tokens = subject::shown(&form, grant)?;
    let ask = ask(&form)?;
    let request = ExchangeRequest::of_client(client, ask);
    let proof = proof(headers)?;
    Ok((grant, ExchangeRequest { subject: tokens.subject, actor: tokens.actor, proof, peer, ..request }))
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

/// The parameters of a request, for every endpoint that takes a form.
pub(super) async fn form(headers: &HeaderMap, body: Body, bodies: &Bodies) -> Result<Form, Unread> {
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

/// The one credential of the request. Every other way to authenticate beside it is refused (TOK-19, C-01), and alone it is not taken.
/// The certificate of the connection is no such way: mesh sidecars show theirs on every connection, and it counts when nothing else
/// is shown (design §4).
pub(super) fn client(form: &Form, headers: &HeaderMap, peer: Option<&Arc<PeerChain>>) -> Result<Shown, Refusal> {
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

pub(super) fn malformed(sentence: &str) -> Refusal {
    Refusal::malformed(Malformed::MalformedRequest, sentence)
}
