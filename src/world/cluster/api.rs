//! The routes of the pretend API server, and who may use them.
//!
//! Never answers a path that a real API server does not have.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock::Lifetime;

use super::super::WorldFault;
use super::super::behaviour::{Orders, obey};
use super::metadata;
use super::objects::Kind;
use super::review::{self, Reviewed};
use super::status::Refusal;
use super::tokens::{self, Bound, TokenAsk};
use super::{Core, DISCOVERY_PATH, JWKS_PATH, TOKEN_REVIEW_PATH};

/// A request is a few hundred bytes and one token.
const MAX_BODY: usize = 256 * 1024;
/// The shortest life that TokenRequest gives (KEP-1205).
const SHORTEST: i64 = 600;
/// The longest: what fits a lifetime here; the real one takes up to 2^32 seconds.
const LONGEST: i64 = u32::MAX as i64;

pub(super) fn router(core: Arc<Core>) -> Router {
    let orders = Orders { traffic: Arc::clone(&core.traffic), surroundings: core.surroundings.clone() };
    Router::new()
        .route(DISCOVERY_PATH, get(discovery))
        .route(JWKS_PATH, get(jwks))
        .route("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", post(token_request))
        .route(TOKEN_REVIEW_PATH, post(token_review))
        .route("/api/v1/namespaces/{namespace}/pods/{name}", get(metadata::pod))
        .route("/api/v1/namespaces/{namespace}/serviceaccounts/{name}", get(metadata::service_account))
        .fallback(|| async { Refusal::not_found("paths", "the one asked for") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(orders, obey))
        .with_state(core)
}

/// Who is asking.
pub(super) enum Caller {
    Admin,
    ServiceAccount(String),
    Anonymous,
}

impl Caller {
    /// Authentication comes before everything else: a bad token is 401 even where none is needed.
    pub(super) fn of(core: &Core, headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Self::Anonymous) };
        let token =
            value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(Refusal::unauthorized)?;
        if constant_time::verify_slices_are_equal(token.as_bytes(), core.admin_token.expose().as_bytes()).is_ok() {
            return Ok(Self::Admin);
        }
        let reviewed = review::review(core, token, &[]).map_err(|_invalid| Refusal::unauthorized())?;
        Ok(Self::ServiceAccount(reviewed.username))
    }

    pub(super) fn must_be_admin(&self, what: &str) -> Result<(), Refusal> {
        match self {
            Self::Admin => Ok(()),
            Self::ServiceAccount(user) => Err(Refusal::forbidden(user, what)),
            Self::Anonymous => Err(Refusal::forbidden("system:anonymous", what)),
        }
    }

    /// As the role `system:service-account-issuer-discovery` allows: every service account, and nobody else by default.
    fn may_discover(&self, core: &Core, path: &str) -> Result<(), Refusal> {
        match self {
            Self::Anonymous if core.settings.discovery_needs_token => {
                Err(Refusal::forbidden("system:anonymous", &format!("get path \"{path}\"")))
            }
            Self::Anonymous | Self::Admin | Self::ServiceAccount(_) => Ok(()),
        }
    }
}

async fn discovery(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Refusal> {
    Caller::of(&core, &headers)?.may_discover(&core, DISCOVERY_PATH)?;
    let state = core.state();
    let mut algorithms: Vec<&str> = state.keys.all().iter().map(|key| key.algorithm().name()).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let document = json!({
        "issuer": core.issuer,
        "jwks_uri": state.jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    });
    Ok(([(header::CACHE_CONTROL, "public, max-age=3600")], Json(document)).into_response())
}

async fn jwks(State(core): State<Arc<Core>>, headers: HeaderMap) -> Result<Response, Refusal> {
    Caller::of(&core, &headers)?.may_discover(&core, JWKS_PATH)?;
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=3600")];
    Ok((headers, core.jwks().to_string()).into_response())
}

#[derive(Deserialize)]
struct Envelope<S> {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
    spec: S,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenRequestSpec {
    #[serde(default)]
    audiences: Vec<String>,
    expiration_seconds: Option<i64>,
    bound_object_ref: Option<BoundObjectReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BoundObjectReference {
    kind: String,
    api_version: Option<String>,
    name: String,
    uid: Option<String>,
}

async fn token_request(
    State(core): State<Arc<Core>>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    Caller::of(&core, &headers)?.must_be_admin("create resource \"serviceaccounts/token\" in API group \"\"")?;
    let spec: TokenRequestSpec = read(&body, "TokenRequest")?;
    let seconds = spec.expiration_seconds.unwrap_or(3600);
    if !(SHORTEST..=LONGEST).contains(&seconds) {
        let rule =
            if seconds < SHORTEST { "a duration less than 10 minutes" } else { "a duration larger than 2^32 seconds" };
        return Err(Refusal::invalid(format!(
            "spec.expirationSeconds: Invalid value: {seconds}: may not specify {rule}"
        )));
    }
    let state = core.state();
    if state.objects.get(Kind::ServiceAccount, &namespace, &name).is_none() {
        return Err(Refusal::not_found(Kind::ServiceAccount.plural(), &name));
    }
    let (bound, reference) = match &spec.bound_object_ref {
        None => (Bound::Nothing, Value::Null),
        Some(asked) => bind(&state.objects, &namespace, asked)?,
    };
    let lifetime = Lifetime::from_seconds(u32::try_from(seconds).unwrap_or(u32::MAX));
    let ask = TokenAsk { namespace, service_account: name, audiences: spec.audiences, lifetime, bound };
    let claims = tokens::claims(&ask, &state.objects, &core).map_err(|fault| match fault {
        WorldFault::Refused(why) => Refusal::bad_request(why),
        other => Refusal::internal(other.to_string()),
    })?;
    let audiences = claims.get("aud").cloned().unwrap_or_default();
    let token =
        tokens::forge(state.keys.active(), claims).sign().map_err(|fault| Refusal::internal(fault.to_string()))?;
    // `expirationTimestamp` is the end that was asked for, also when the token was stretched.
    let now = core.surroundings.now();
    let answer = json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "name": ask.service_account, "namespace": ask.namespace, "creationTimestamp": now.to_rfc3339() },
        "spec": { "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference },
        "status": { "token": token.token(), "expirationTimestamp": now.plus(lifetime).to_rfc3339() },
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// The object that a token shall be bound to, and its complete reference.
fn bind(objects: &super::Objects, namespace: &str, asked: &BoundObjectReference) -> Result<(Bound, Value), Refusal> {
    let kind = [Kind::Pod, Kind::Secret, Kind::Node].into_iter().find(|kind| kind.name() == asked.kind);
    let kind = kind.filter(|_| asked.api_version.as_deref().unwrap_or("v1") == "v1");
    let kind = kind.ok_or_else(|| Refusal::bad_request("cannot bind token to object of that type"))?;
    let namespace = if kind == Kind::Node { "" } else { namespace };
    let object =
        objects.get(kind, namespace, &asked.name).ok_or_else(|| Refusal::not_found(kind.plural(), &asked.name))?;
    if asked.uid.as_ref().is_some_and(|uid| !uid.is_empty() && *uid != object.uid) {
        let message =
            format!("the UID in the bound object reference does not match the UID in record ({})", object.uid);
        return Err(Refusal::conflict(message));
    }
    let name = asked.name.clone();
    let reference = json!({ "kind": kind.name(), "apiVersion": "v1", "name": name, "uid": object.uid });
    let bound = match kind {
        Kind::Secret => Bound::Secret(name),
        Kind::Node => Bound::Node(name),
        Kind::Pod | Kind::ServiceAccount => Bound::Pod { name, node: object.node.clone().unwrap_or_default() },
    };
    Ok((bound, reference))
}

#[derive(Deserialize)]
struct TokenReviewSpec {
    #[serde(default)]
    token: String,
    #[serde(default)]
    audiences: Vec<String>,
}

async fn token_review(State(core): State<Arc<Core>>, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let what = "create resource \"tokenreviews\" in API group \"authentication.k8s.io\"";
    Caller::of(&core, &headers)?.must_be_admin(what)?;
    let spec: TokenReviewSpec = read(&body, "TokenReview")?;
    if spec.token.is_empty() {
        return Err(Refusal::bad_request("token is required for TokenReview in authentication"));
    }
    let status = match review::review(&core, &spec.token, &spec.audiences) {
        Ok(reviewed) => authenticated(&reviewed),
        Err(why) => json!({ "user": {}, "error": format!("[invalid bearer token, {}]", why.0) }),
    };
    let answer = json!({
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "creationTimestamp": null },
        "spec": { "token": spec.token, "audiences": spec.audiences },
        "status": status,
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

fn authenticated(reviewed: &Reviewed) -> Value {
    json!({
        "authenticated": true,
        "user": { "username": reviewed.username, "uid": reviewed.uid, "groups": reviewed.groups, "extra": reviewed.extra },
        "audiences": reviewed.audiences,
    })
}

/// Reads a request object. The type may be left out, as the path says it.
fn read<S: DeserializeOwned>(body: &[u8], kind: &str) -> Result<S, Refusal> {
    let envelope: Envelope<S> = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("{kind}: line {}, not such an object", error.line())))?;
    let fits = |given: &Option<String>, expected: &str| given.as_ref().is_none_or(|given| given == expected);
    if !fits(&envelope.kind, kind) || !fits(&envelope.api_version, "authentication.k8s.io/v1") {
        return Err(Refusal::bad_request(format!("the object provided is no authentication.k8s.io/v1 {kind}")));
    }
    Ok(envelope.spec)
}
