//! Tokens of other OIDC issuers: CI systems and clouds (design §7).
//!
//! Knows no platform: the source lists the claims that count, and its template makes the identity. Nothing is escaped or cut to fit.

use std::collections::BTreeSet;

use super::find_key::Opened;
use super::{Evidence, Verifier, audience, facts, refuse_claims, validity};
use crate::identity::{Assurance, AttributeName, Attributes, CredentialKind, SpiffeIdError, WorkloadIdentity};
use crate::jose::{Value, VerifiedClaims};
use crate::reason::{Refusal, Unaccepted, Unverified, quoted};

/// Bytes of a claim that becomes an attribute: names of branches and environments have at most 255 characters, and most have ten.
const LONGEST: usize = 253;

/// Judges the verified claims.
pub(super) fn accept(
    verifier: &Verifier<'_>,
    opened: &Opened,
    listed: &BTreeSet<AttributeName>,
    evidence: &Evidence,
) -> Result<WorkloadIdentity, Refusal> {
    let (source, claims) = (&opened.source.settings, &opened.claims);
    refuse_foreign_spiffe_id(claims)?;
    audience::check(claims, source, verifier)?;
    let window = validity::check(claims, None, &opened.source, verifier.at)?;
    let attributes = attributes(claims, listed)?;
    let template = source
        .identity_template(verifier.identity_domain)
        .ok_or_else(|| Refusal::internal("an oidc source has no identity template"))?;
    let id = template.render(&attributes).map_err(|why| {
        let missing = template.names().find(|name| attributes.get(name).is_none());
        subject_invalid(&why_not(&why, missing, &template.to_string()))
    })?;
    Ok(WorkloadIdentity {
        id,
        source: source.name.clone(),
        kind: CredentialKind::Oidc,
        attributes,
        credential: facts(claims, evidence, &window)?,
        assurance: Assurance::Bearer,
    })
}

/// `sub` is the issuer's own text and makes no identity, unless it is listed; one that looks like ours is refused (design §3).
pub(super) fn refuse_foreign_spiffe_id(claims: &VerifiedClaims) -> Result<(), Refusal> {
    let sub = claims.text("sub").map_err(refuse_claims)?;
    if sub.trim_start().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:")) {
        return Err(subject_invalid(&format!(
            "sub {} begins like a SPIFFE ID, and this issuer gives none",
            quoted(sub)
        )));
    }
    Ok(())
}

/// What the token says under the listed names. What is not there, is null or empty is missing, and matches nothing.
fn attributes(claims: &VerifiedClaims, listed: &BTreeSet<AttributeName>) -> Result<Attributes, Refusal> {
    let mut attributes = Attributes::default();
    for name in listed {
        let text = match claims.get(name.as_str()) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
            Some(_) => return Err(unusable(name, "is neither text, a whole number nor a boolean")),
        };
        if text.len() > LONGEST {
            return Err(unusable(name, &format!("has more than {LONGEST} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(unusable(name, "has control characters"));
        }
        if !text.is_empty() {
            attributes.insert(name.clone(), text);
        }
    }
    Ok(attributes)
}

fn unusable(name: &AttributeName, why: &str) -> Refusal {
    Refusal::unaccepted(
        Unaccepted::ClaimsInvalid,
        format!("Your platform token is not usable here: claim {name} {why}."),
        "the source lists this claim; if no rule needs it, take it off the list",
    )
}

fn why_not(why: &SpiffeIdError, missing: Option<&AttributeName>, template: &str) -> String {
    match missing {
        Some(name) => format!("the token has no {name}, and {template} needs it"),
        None => {
            format!("the claims do not fit into {template}: {why}; names with slashes are no path segment, ids are")
        }
    }
}

fn subject_invalid(note: &str) -> Refusal {
    Refusal::unverified(Unverified::SubjectInvalid, note)
}
