//! Tokens of people, for whom a workload may act (design §3).
//!
//! A person is a subject and never a caller: nothing here makes a [`super::VerifiedIdentity`], and whether the workload may act is not asked.

use super::find_key::open_with;
use super::{
    Evidence, Subject, SubjectToken, Verifier, audience, facts, federated, oidc, refuse_claims, shown, validity,
};
use crate::credential::CompactJws;
use crate::identity::{Confirmation, VerifiedSubject};
use crate::jose::VerifiedClaims;
use crate::reason::{Refusal, Unaccepted, Unverified, quoted};

/// Bytes of a `sub` (OpenID Connect Core 1.0 §2).
const LONGEST_SUB: usize = 255;
/// The types of a person's token: an ID token has none or `JWT`, an access token of the issuer may have its own (RFC 9068 §2.1).
const TYPES: &[&str] = &["JWT", "at+jwt"];

/// Verifies the token of a person: shape, issuer, key, signature, audience, validity and `sub`.
///
/// Waits and asks outside only as [`Verifier::verify`] does. Never says that the caller may act for the person.
///
/// # Errors
/// The first check that does not hold; `source_unknown` when no `subjects` have its issuer.
pub async fn verify(
    verifier: &Verifier<'_>,
    jws: &CompactJws,
    evidence: &mut Evidence,
) -> Result<SubjectToken, Refusal> {
    let (header, claims) = shown(jws, TYPES, evidence)?;
    let issuer = claims.unverified_issuer().unwrap_or_default().to_owned();
    let issuers = verifier.trust.people_of_issuer(&issuer);
    if issuers.is_empty() {
        let note = format!("issuer {} is not one of subjects; nothing was fetched", quoted(&issuer));
        return Err(Refusal::unverified(Unverified::SourceUnknown, note));
    }
    let opened = open_with(issuers, jws, &header, claims, verifier.at, evidence).await?;
    federated::check_issuer(&opened)?;
    let (source, claims) = (&opened.source.settings, &opened.claims);
    oidc::refuse_foreign_spiffe_id(claims)?;
    let sub = claims.text("sub").map_err(refuse_claims)?;
    if !is_sub(sub) {
        let note = format!("sub {} is not 1 to {LONGEST_SUB} printable ASCII characters", quoted(sub));
        return Err(Refusal::unverified(Unverified::SubjectInvalid, note));
    }
    if claims.has("act") {
        return Err(Refusal::unaccepted(
            Unaccepted::ClaimsInvalid,
            "This token says that somebody acts for the person already. A token of the person alone is needed.",
            "an actor of another issuer means nothing here, and is not left out either",
        ));
    }
    audience::check(claims, source, verifier)?;
    let window = validity::check(claims, None, &opened.source, verifier.at)?;
    let may_act = claims.optional_object("may_act").map_err(refuse_claims)?.cloned();
    let who = VerifiedSubject::Person { source: source.name.clone(), sub: sub.to_owned() };
    let subject = Subject {
        who,
        acted_by: Vec::new(),
        // Those of another issuer mean nothing here.
        scopes: None,
        ends: window.ends_at,
        addressed_to: None,
        may_act,
        confirmation: bound_to(claims)?,
        rests_on: Vec::new(),
    };
    let facts = facts(claims, evidence, &window)?;
    Ok(SubjectToken { subject, id: facts.id, issued_at: facts.issued_at, workload: None })
}

/// The key that the token is bound to (RFC 7800 §3.1): whoever cannot prove it has found the token, or stolen it.
fn bound_to(claims: &VerifiedClaims) -> Result<Option<Confirmation>, Refusal> {
    let Some(cnf) = claims.optional_object("cnf").map_err(refuse_claims)? else { return Ok(None) };
    match (cnf.text("jkt"), cnf.text("x5t#S256"), cnf.names().count()) {
        (Some(thumbprint), None, 1) => Ok(Some(Confirmation::Key(thumbprint.to_owned()))),
        (None, Some(thumbprint), 1) => Ok(Some(Confirmation::Certificate(thumbprint.to_owned()))),
        _ => Err(Refusal::unaccepted(
            Unaccepted::ClaimsInvalid,
            "This token is bound to a key in a way that is not known here.",
            "cnf with jkt or x5t#S256 alone is taken",
        )),
    }
}

/// In our tokens the name of the subjects comes first, and has no bar: whatever follows the first one is the person's.
fn is_sub(sub: &str) -> bool {
    (1..=LONGEST_SUB).contains(&sub.len())
        && sub.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        && !sub.starts_with(' ')
        && !sub.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_is_printable_ascii_without_spaces_around() {
        for good in ["a", "auth0|5f7c", "10769150350006150715113082367", "Ada Lovelace", &"x".repeat(255)] {
            assert!(is_sub(good), "{good}");
        }
        for bad in ["", " a", "a ", "a\nb", "a\u{7f}", "zoë", "a\u{202e}b", &"x".repeat(256)] {
            assert!(!is_sub(bad), "{bad:?}");
        }
    }
}
