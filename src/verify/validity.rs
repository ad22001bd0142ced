//! When a verified credential is valid (design §4 and §7).
//!
//! Leeway is for `nbf` and `iat`; an end is an end. What is about to end is refused as ended.

use crate::clock::{Lifetime, Timestamp};
use crate::jose::VerifiedClaims;
use crate::reason::{Refusal, Unaccepted};
use crate::trust::TrustedSource;

use super::refuse_claims;

/// A credential with less than this to live is refused: a token capped by it would be dead on arrival.
const LEAST_REMAINING: Lifetime = Lifetime::from_seconds(10);

/// When a credential was made and when it ends.
pub(super) struct Window {
    pub(super) issued_at: Option<Timestamp>,
    pub(super) ends_at: Timestamp,
}

/// When a credential says that it is valid.
pub(super) struct Times {
    pub(super) expires: Timestamp,
    pub(super) not_before: Option<Timestamp>,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) of: &'static Wording,
}

/// How its owner is told of it.
pub(super) struct Wording {
    name: &'static str,
    plural: &'static str,
    fresh: &'static str,
    cached: &'static str,
    shorter: &'static str,
}

const TOKEN: Wording = Wording {
    name: "Your platform token",
    plural: "tokens",
    fresh: "Read it again for each request.",
    cached: "the application may be caching its token: read it again for each request",
    shorter: "use a projected volume with expirationSeconds of at most 3600, or a shorter SVID",
};

/// Of an X.509-SVID.
pub(super) const CERTIFICATE: Wording = Wording {
    name: "Your certificate",
    plural: "certificates",
    fresh: "Open a new connection with a fresh one.",
    cached: "the application may keep a connection or a certificate for too long: follow the Workload API",
    shorter: "shorten the life of X.509-SVIDs at the trust domain, or raise max_life",
};

/// Checks `exp`, `nbf`, `iat`, age and life. `earlier_end` is another end that counts if it comes first (`warnafter`).
pub(super) fn check(
    claims: &VerifiedClaims,
    earlier_end: Option<Timestamp>,
    source: &TrustedSource,
    at: Timestamp,
) -> Result<Window, Refusal> {
    let time = |name| claims.time(name).map_err(refuse_claims);
    let (expires, not_before, issued_at) = (time("exp")?, time("nbf")?, time("iat")?);
    let expires = expires.ok_or_else(|| refuse_claims(crate::jose::ClaimFault::Missing("exp")))?;
    let expires = earlier_end.map_or(expires, |end| end.min(expires));
    judge(&Times { expires, not_before, issued_at, of: &TOKEN }, source, at)
}

/// The same of times that are known.
pub(super) fn judge(times: &Times, trusted: &TrustedSource, at: Timestamp) -> Result<Window, Refusal> {
    let source = &trusted.settings;
    let Times { expires: ends_at, not_before, issued_at, of } = *times;
    check_end(ends_at, of, at)?;
    for begins in [not_before, issued_at].into_iter().flatten() {
        check_begin(begins, of, trusted, at)?;
    }
    let (age, life) = match issued_at {
        Some(issued_at) => (at.since(issued_at), ends_at.since(issued_at)),
        None => (ends_at.since(at), ends_at.since(at)),
    };
    let Wording { name, plural, .. } = of;
    if issued_at.is_some() && age > source.max_age {
        let sentence =
            format!("{name} was issued {age} ago; {plural} older than {} are not accepted here.", source.max_age);
        return Err(Refusal::unaccepted(Unaccepted::TokenTooOld, sentence, of.cached));
    }
    let longest = if issued_at.is_some() { source.max_life } else { source.max_life.min(source.max_age) };
    if life > longest {
        let sentence =
            format!("{name} is valid for {life}; {plural} valid for longer than {longest} are not accepted here.");
        return Err(Refusal::unaccepted(Unaccepted::TokenLifetime, sentence, of.shorter));
    }
    Ok(Window { issued_at, ends_at })
}

fn check_end(ends_at: Timestamp, of: &Wording, at: Timestamp) -> Result<(), Refusal> {
    if at >= ends_at {
        let sentence = format!("{} ended {} ago. {}", of.name, at.since(ends_at), of.fresh);
        return Err(Refusal::unaccepted(
            Unaccepted::TokenExpired,
            sentence,
            "the caller shows an old token: cached in memory, or its helper has died",
        ));
    }
    let left = ends_at.since(at);
    if left < LEAST_REMAINING {
        let sentence = format!("{} ends in {left}; at least {LEAST_REMAINING} are needed. {}", of.name, of.fresh);
        return Err(Refusal::unaccepted(Unaccepted::TokenExpired, sentence, "")
            .comparing(format!("ends in {left}"), format!("in at least {LEAST_REMAINING}"))
            .mended_by("a fresh token"));
    }
    Ok(())
}

fn check_begin(begins: Timestamp, of: &Wording, source: &TrustedSource, at: Timestamp) -> Result<(), Refusal> {
    if begins > at.plus(source.settings.leeway) {
        let sentence =
            format!("{} is valid from {} in the future by our clock ({}).", of.name, begins.since(at), at.to_rfc3339());
        return Err(Refusal::unaccepted(Unaccepted::TokenNotYetValid, sentence, which_clock(source)));
    }
    Ok(())
}

/// For the operator: what the source's last answer said of its clock.
fn which_clock(source: &TrustedSource) -> String {
    let (name, leeway) = (&source.settings.name, source.settings.leeway);
    match source.skew_seconds() {
        None => format!("the clock of {name} or of its node is ahead of ours"),
        Some(skew) if skew.abs() > leeway.seconds() => {
            format!(
                "by its last answer the clock of {name} is {skew:+} s to ours, and the leeway is {leeway}: one of the two is wrong"
            )
        }
        Some(skew) => format!(
            "by its last answer the clock of {name} is {skew:+} s to ours, which is allowed: the caller's own node is ahead, or the time was made up"
        ),
    }
}
