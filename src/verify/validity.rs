//! When a verified credential is valid (design §4 and §7).
//!
//! Leeway is for `nbf` and `iat`; an end is an end. What is about to end is refused as ended.

use crate::clock::{Lifetime, Timestamp};
use crate::jose::VerifiedClaims;
use crate::reason::{Refusal, Unaccepted};
use crate::trust::SourceSettings;

use super::refuse_claims;

/// A credential with less than this to live is refused: a token capped by it would be dead on arrival.
const LEAST_REMAINING: Lifetime = Lifetime::from_seconds(10);

/// When a credential was made and when it ends.
pub(super) struct Window {
    pub(super) issued_at: Option<Timestamp>,
    pub(super) ends_at: Timestamp,
}

/// Checks `exp`, `nbf`, `iat`, age and life. `earlier_end` is another end that counts if it comes first (`warnafter`).
pub(super) fn check(
    claims: &VerifiedClaims,
    earlier_end: Option<Timestamp>,
    source: &SourceSettings,
    at: Timestamp,
) -> Result<Window, Refusal> {
    let time = |name| claims.time(name).map_err(refuse_claims);
    let (expires, not_before, issued_at) = (time("exp")?, time("nbf")?, time("iat")?);
    let expires = expires.ok_or_else(|| refuse_claims(crate::jose::ClaimFault::Missing("exp")))?;
    let ends_at = earlier_end.map_or(expires, |end| end.min(expires));
    check_end(ends_at, at)?;
    for begins in [not_before, issued_at].into_iter().flatten() {
        check_begin(begins, source.leeway, at)?;
    }
    let (age, life) = match issued_at {
        Some(issued_at) => (at.since(issued_at), ends_at.since(issued_at)),
        None => (ends_at.since(at), ends_at.since(at)),
    };
    if issued_at.is_some() && age > source.max_age {
        let sentence = format!(
            "Your platform token was issued {age} ago; tokens older than {} are not accepted here.",
            source.max_age
        );
        return Err(Refusal::unaccepted(
            Unaccepted::TokenTooOld,
            sentence,
            "the application may be caching its token: read it again for each request",
        ));
    }
    let longest = if issued_at.is_some() { source.max_life } else { source.max_life.min(source.max_age) };
    if life > longest {
        let sentence = format!(
            "Your platform token is valid for {life}; tokens valid for longer than {longest} are not accepted here."
        );
        return Err(Refusal::unaccepted(
            Unaccepted::TokenLifetime,
            sentence,
            "use a projected volume with expirationSeconds of at most 3600, or a shorter SVID",
        ));
    }
    Ok(Window { issued_at, ends_at })
}

fn check_end(ends_at: Timestamp, at: Timestamp) -> Result<(), Refusal> {
    if at >= ends_at {
        let sentence = format!("Your platform token ended {} ago. Read it again for each request.", at.since(ends_at));
        return Err(Refusal::unaccepted(
            Unaccepted::TokenExpired,
            sentence,
            "the caller shows an old token: cached in memory, or its helper has died",
        ));
    }
    let left = ends_at.since(at);
    if left < LEAST_REMAINING {
        let sentence =
            format!("Your platform token ends in {left}; at least {LEAST_REMAINING} are needed. Read a fresh one.");
        return Err(Refusal::unaccepted(Unaccepted::TokenExpired, sentence, "")
            .comparing(format!("ends in {left}"), format!("in at least {LEAST_REMAINING}"))
            .mended_by("a fresh token"));
    }
    Ok(())
}

fn check_begin(begins: Timestamp, leeway: Lifetime, at: Timestamp) -> Result<(), Refusal> {
    if begins > at.plus(leeway) {
        let sentence = format!(
            "Your platform token is valid from {} in the future by our clock ({}).",
            begins.since(at),
            at.to_rfc3339()
        );
        return Err(Refusal::unaccepted(
            Unaccepted::TokenNotYetValid,
            sentence,
            "the clock of the issuer or of its node is ahead of ours",
        ));
    }
    Ok(())
}
