//! Both metadata documents: one truth, made of what is switched on (RFC 8414, OpenID Connect Discovery 1.0).
//!
//! Lists exactly what works (SCA-14, MD-06, MD-07); nothing comes from a request's headers (MD-18).

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::answer;
use crate::exchange::{Exchange, Generation};
use crate::identity::Scope;
use crate::issue::JWKS_MAX_AGE;
use crate::jose::Algorithm;
use crate::trust::SourceKind;
use crate::wire::listener::ConnectionInfo;

pub(super) async fn metadata(
    State(exchange): State<Arc<Exchange>>,
    Extension(connection): Extension<ConnectionInfo>,
    headers: HeaderMap,
) -> Response {
    let text = Value::Object(document(&exchange.generation(), connection.tls)).to_string();
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let etag: String = hash.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    answer::document(&headers, text, &format!("\"{etag}\""), JWKS_MAX_AGE.seconds())
}

/// The members, without empty lists (MD-04). Certificates of clients are asked for exactly where TLS is served.
fn document(generation: &Generation, tls: bool) -> Map<String, Value> {
    let issuer = generation.issuer();
    let mut methods = BTreeSet::new();
    let mut algorithms = BTreeSet::new();
    for source in generation.trust().sources() {
        if tls && matches!(source.settings.kind, SourceKind::Spiffe { .. }) {
            methods.insert("spiffe_x509");
        }
        methods.extend(match source.settings.kind {
            SourceKind::Spiffe { .. } => Some("spiffe_jwt"),
            SourceKind::Kubernetes { .. } | SourceKind::Oidc { .. } => Some("private_key_jwt"),
            SourceKind::People { .. } => None,
        });
        algorithms.extend(source.settings.algorithms.iter().map(|algorithm| algorithm.name()));
    }
    let scopes: BTreeSet<&str> =
        generation.policy().resources().flat_map(|resource| resource.scopes.iter()).map(Scope::as_str).collect();
    // RFC 9068 §2.1 wants RS256 in the list of what an issuer can sign; every resource may ask for it.
    let signing = [Algorithm::ES256.name(), Algorithm::RS256.name()];
    let members = json!({
        "issuer": issuer.as_str(),
        "token_endpoint": issuer.endpoint("/token"),
        "revocation_endpoint": issuer.endpoint("/revoke"),
        "jwks_uri": issuer.endpoint("/jwks"),
        "grant_types_supported": generation.grants().iter().map(|grant| grant.as_str()).collect::<Vec<_>>(),
        // C-11: what Kubernetes and SPIRE publish, and what cloud verifiers want; the same in both documents.
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": signing,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        // RFC 8414 §2: left out, they would say client_secret_basic.
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": issuer.endpoint("/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "scopes_supported": scopes,
        "dpop_signing_alg_values_supported": BTreeSet::from(Algorithm::ALL.map(Algorithm::name)),
    });
    let Value::Object(mut members) = members else { return Map::new() };
    if tls {
        // MTL-07: the normal endpoints ask for a certificate and need none, so there are no aliases.
        members.insert("tls_client_certificate_bound_access_tokens".to_owned(), Value::Bool(true));
    }
    members.into_iter().filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty())).collect()
}
