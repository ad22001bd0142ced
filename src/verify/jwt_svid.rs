//! JWT-SVIDs (SPIFFE JWT-SVID, draft-ietf-oauth-spiffe-client-auth-02 §3.1).
//!
//! The bundle is the one of the trust domain in `sub`, never pooled (JSV-10). `iss` is never looked at.

use std::sync::Arc;

use super::find_key::Opened;
use super::{Evidence, Verifier, audience, facts, refuse_claims, validity};
use crate::identity::{
    Assurance, AttributeName, Attributes, CredentialKind, PathTemplate, SpiffeId, TrustDomain, WorkloadIdentity,
};
use crate::jose::UnverifiedClaims;
use crate::reason::{Refusal, Unverified, quoted};
use crate::trust::{SourceKind, TrustView, TrustedSource};

/// The sources of the trust domain that `sub` names.
pub(super) fn route<'a>(trust: &'a TrustView, claims: &UnverifiedClaims) -> Result<&'a [Arc<TrustedSource>], Refusal> {
    let id = subject(claims.unverified_subject().unwrap_or_default())?;
    match trust.of_trust_domain(&id.trust_domain()) {
        [] => {
            let note = format!("trust domain {} is not configured; nothing was fetched", id.trust_domain());
            Err(Refusal::unverified(Unverified::SourceUnknown, note))
        }
        sources => Ok(sources),
    }
}

/// Judges the verified claims.
pub(super) fn accept(
    verifier: &Verifier<'_>,
    opened: &Opened,
    evidence: &Evidence,
) -> Result<WorkloadIdentity, Refusal> {
    let (source, claims) = (&opened.source.settings, &opened.claims);
    let id = subject(claims.text("sub").map_err(refuse_claims)?)?;
    let SourceKind::Spiffe { trust_domain, paths, .. } = &source.kind else {
        return Err(Refusal::internal("a JWT-SVID was routed to a source that is no trust domain"));
    };
    if !id.is_member_of(trust_domain) {
        return Err(Refusal::internal("a JWT-SVID was routed to another trust domain's source"));
    }
    audience::check(claims, source, verifier)?;
    let window = validity::check(claims, None, &opened.source, verifier.at)?;
    let attributes = attributes(&id, trust_domain, paths);
    Ok(WorkloadIdentity {
        id,
        source: source.name.clone(),
        kind: CredentialKind::JwtSvid,
        attributes,
        credential: facts(claims, evidence, &window)?,
        assurance: Assurance::Bearer,
    })
}

/// What the source's `paths` name in a SPIFFE ID, and its trust domain.
pub(super) fn attributes(id: &SpiffeId, trust_domain: &TrustDomain, paths: &[PathTemplate]) -> Attributes {
    let mut attributes = Attributes::default();
    for (name, value) in paths.iter().find_map(|path| path.read(id)).into_iter().flatten() {
        attributes.insert(name.clone(), value);
    }
    // Last: what we know is never what a path says.
    if let Ok(name) = AttributeName::parse("trust_domain") {
        attributes.insert(name, trust_domain.as_str());
    }
    attributes
}

fn subject(text: &str) -> Result<SpiffeId, Refusal> {
    SpiffeId::parse(text).map_err(|why| {
        Refusal::unverified(Unverified::SubjectInvalid, format!("sub {} is no SPIFFE ID: {why}", quoted(text)))
    })
}
