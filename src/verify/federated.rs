//! Tokens of federated platforms: clusters and other OIDC issuers, told apart by the source whose key verified (design §3).
//!
//! `iss` leads to sources and says nothing about their kind. An issuer that no source names causes no outbound call.

use std::sync::Arc;

use super::find_key::Opened;
use super::{Evidence, Verifier, kubernetes, oidc, refuse_claims};
use crate::identity::{CredentialKind, WorkloadIdentity};
use crate::jose::UnverifiedClaims;
use crate::reason::{Refusal, Unverified, quoted};
use crate::trust::{SourceKind, TrustView, TrustedSource};

/// The sources that name the token's `iss` among their issuers.
pub(super) fn route<'a>(trust: &'a TrustView, claims: &UnverifiedClaims) -> Result<&'a [Arc<TrustedSource>], Refusal> {
    let issuer = claims.unverified_issuer().unwrap_or_default();
    match trust.of_issuer(issuer) {
        [] => {
            let hint = if claims.unverified_subject().is_some_and(|sub| sub.starts_with("spiffe:")) {
                "sub is a SPIFFE ID: an SVID is sent with client_assertion_type …:jwt-spiffe"
            } else {
                "add it to a source's issuers, if it is one of yours"
            };
            let note = format!("issuer {} is not configured; nothing was fetched; {hint}", quoted(issuer));
            Err(Refusal::unverified(Unverified::SourceUnknown, note))
        }
        sources => Ok(sources),
    }
}

/// What a token of these sources would be: for the record, before a key has decided it.
pub(super) fn kind_of(sources: &[Arc<TrustedSource>]) -> CredentialKind {
    match sources.iter().all(|source| matches!(source.settings.kind, SourceKind::Oidc { .. })) {
        true => CredentialKind::Oidc,
        false => CredentialKind::Kubernetes,
    }
}

/// Judges the verified claims, as the kind of source whose key it was.
pub(super) fn accept(
    verifier: &Verifier<'_>,
    opened: &Opened,
    evidence: &Evidence,
) -> Result<WorkloadIdentity, Refusal> {
    check_issuer(opened)?;
    match &opened.source.settings.kind {
        SourceKind::Kubernetes { .. } => kubernetes::accept(verifier, opened, evidence),
        SourceKind::Oidc { claims, .. } => oidc::accept(verifier, opened, claims, evidence),
        SourceKind::Spiffe { .. } | SourceKind::People { .. } => {
            Err(Refusal::internal("a federated token was routed to a source that vouches for no such caller"))
        }
    }
}

/// `iss` is compared again, as a verified claim and with the source whose key it was (BCJ-04).
pub(super) fn check_issuer(opened: &Opened) -> Result<(), Refusal> {
    let issuer = opened.claims.text("iss").map_err(refuse_claims)?;
    match opened.source.settings.kind.issuers() {
        Some(issuers) if issuers.contains(issuer) => Ok(()),
        _ => Err(Refusal::internal("a token was routed to a source that does not have its issuer")),
    }
}
