//! `Exchange`: a message becomes the same request as a form, the outcome a message or a status.
//!
//! Decides what the shape of the message decides, and nothing about trust.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use prost_types::{Duration, Timestamp};
use tonic::Status;

use super::answer::{answered_with, failed};
use super::messages::Messages;
use super::v1::exchange_request::Credential;
use super::{no_such_method, status, timeout, v1};
use crate::clock::Lifetime;
use crate::credential::{ACCESS_TOKEN_TYPE, CompactJws, PeerChain, Proof, Shown, ShownSubject};
use crate::exchange::{Decision, Exchange, ExchangeRequest, Grants, Issued, Transport};
use crate::identity::{Scope, ScopeSet};
use crate::policy::Ask;
use crate::reason::{About, Denied, Malformed, Misshapen, Refusal};
use crate::verify::proof_invalid;
use crate::wire::http::body::{Bodies, Unread};
use crate::wire::listener::ConnectionInfo;

/// The path of this method: what a proof may be made for, besides the token endpoint that it stands for.
const METHOD: &str = "/countersign.v1.TokenService/Exchange";

pub(super) async fn exchange(
    State(exchange): State<Arc<Exchange>>,
    State(bodies): State<Bodies>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if !super::is_grpc(&headers) {
        return no_such_method();
    }
    let mut decision = exchange.open(Transport::Grpc, super::peer(&connection));
    let call = async {
        let message = match Messages::new(body, bodies).only().await {
            Ok(message) => message,
            Err(unread) => return Err(refuse_unread(unread, &exchange, &mut decision).await),
        };
        // Boxed: its state is large, and a message that never arrives whole would hold memory for all of it.
        Box::pin(token(&message, &Beside::of(&headers, &connection), &exchange, &mut decision)).await
    };
    match tokio::time::timeout(timeout::of_call(&headers), call).await {
        Ok(Ok(issued)) => answered_with(&response(&issued), issued.next_nonce.as_deref()),
        Ok(Err(status)) => failed(&status),
        Err(_elapsed) => failed(&status::too_late()),
    }
}

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

/// One exchange, to its end.
async fn token(
    message: &v1::ExchangeRequest,
    beside: &Beside,
    exchange: &Exchange,
    decision: &mut Decision,
) -> Result<Issued, Status> {
    let outcome = match request(message, beside) {
        Ok(request) => {
            decision.of_grant(grant(&request));
            exchange.run(request, decision).await
        }
        Err(refusal) => Err(exchange.refuse(refusal, decision).await),
    };
    outcome.map_err(|refusal| status::refused(&refusal, decision.reference()))
}

/// The grant that a message amounts to: one with a subject is a token exchange.
pub(super) const fn grant(request: &ExchangeRequest) -> Grants {
    match request.subject {
        None => Grants::ClientCredentials,
        Some(_) => Grants::TokenExchange,
    }
}

/// What could not be read. Whose sender is gone has a record that says so, and is not refused.
pub(super) async fn refuse_unread(unread: Unread, exchange: &Exchange, decision: &mut Decision) -> Status {
    match unread {
        Unread::Refused(refusal) => {
            let refusal = exchange.refuse(refusal, decision).await;
            status::refused(&refusal, decision.reference())
        }
        Unread::CutShort => status::cut_short(),
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

pub(super) fn malformed(sentence: &str) -> Refusal {
    Refusal::malformed(Malformed::MalformedRequest, sentence)
}
