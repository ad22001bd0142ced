//! Why a request was refused: the one closed list.
//!
//! A `Refusal` never carries token material, and its family decides what the caller may hear: a reason that was found
//! before the signature was verified has no words of its own for the caller (`standards.md` TOK-24).

mod refusal;

use std::fmt;

pub use refusal::{Comparison, Refusal};

/// The request itself is wrong; nothing about trust was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A parameter is missing, repeated or unreadable.
    MalformedRequest,
    /// More bytes than a request may have.
    RequestTooLarge,
    /// More than one way to authenticate in one request (C-01).
    CredentialAmbiguous,
    /// A grant type that is not served.
    GrantUnsupported,
    /// No target named, and no resource is the default for this caller.
    TargetMissing,
    /// More than one target named.
    TargetAmbiguous,
}

/// No credential could be read; the shape of the request alone shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misshapen {
    /// The request authenticates nobody.
    CredentialMissing,
    /// A way to authenticate that is not taken.
    AssertionTypeUnsupported,
    /// Not a signed JWT in compact form.
    CredentialMalformed,
}

/// The credential was not verified. The caller hears one generic sentence for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unverified {
    /// The issuer or trust domain is not configured.
    SourceUnknown,
    /// No key of the source has that key id.
    KeyUnknown,
    /// No key id, and more than one key fits.
    KeyAmbiguous,
    /// An algorithm or header that is not taken, or one that the key is not for.
    AlgorithmRefused,
    /// The key does not verify the signature.
    SignatureInvalid,
    /// The subject is not one that the source may name.
    SubjectInvalid,
}

/// The credential is genuine, and not acceptable. The caller may hear its own claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unaccepted {
    /// Made for somebody else.
    AudienceMismatch,
    /// Made for us but for a character.
    AudienceNearMiss,
    /// At or past its end, or too close to it.
    TokenExpired,
    /// Not valid yet.
    TokenNotYetValid,
    /// Issued too long ago.
    TokenTooOld,
    /// Valid for longer than is accepted.
    TokenLifetime,
    /// A legacy or stretched service-account token.
    TokenLegacy,
    /// A claim is missing, of the wrong type, or contradicts another.
    ClaimsInvalid,
    /// `client_id` names somebody else.
    ClientIdMismatch,
    /// Single use, and used.
    AlreadyUsed,
    /// The platform says that the workload is gone.
    NotAlive,
    /// Revoked by its owner or by an operator.
    Revoked,
}

/// Verified, and not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// No rule gives this caller that resource.
    NotGranted,
    /// No resource has that name or audience.
    TargetDenied,
    /// That scope is not granted, or breaks the grammar.
    ScopeDenied,
    /// The resource wants a bound token.
    BindingRequired,
    /// Acting for that subject is not allowed.
    DelegationDenied,
    /// The proof of possession does not hold.
    ProofInvalid,
    /// The proof lacks our nonce.
    ProofNonceNeeded,
}

/// Ours or a dependency's: the caller may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unavailable {
    /// Too many requests of this identity.
    RateLimited,
    /// The keys of the source could not be fetched.
    KeysUnreachable,
    /// The last good keys are older than is accepted.
    KeysStale,
    /// The key is unknown and may not be asked for yet.
    KeysRefreshing,
    /// The liveness check could not be made.
    LivenessUnavailable,
    /// The store of claims and revocations did not answer.
    StoreUnavailable,
    /// The decision could not be recorded.
    AuditUnavailable,
    /// Too much at once.
    Overloaded,
}

/// Which token of a request a reason is about: the same reasons, other words on the wire (CA-14, TX-03).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum About {
    /// The credential that authenticates the caller, or the request as a whole.
    #[default]
    Caller,
    /// A subject or actor token of a token exchange.
    Subject,
    /// The assertion of an assertion grant.
    Assertion,
}

/// The reason of a refusal, sorted by what may be said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request is wrong.
    Malformed(Malformed),
    /// No credential could be read.
    Misshapen(Misshapen),
    /// Not verified.
    Unverified(Unverified),
    /// Verified, not accepted.
    Unaccepted(Unaccepted),
    /// Verified, not allowed.
    Denied(Denied),
    /// Ours or a dependency's; retry.
    Unavailable(Unavailable),
    /// A fault of ours.
    Internal,
}

impl Reason {
    /// Every reason there is, in the order of the table.
    pub const ALL: [Self; 43] = [
        Self::Malformed(Malformed::MalformedRequest),
        Self::Malformed(Malformed::RequestTooLarge),
        Self::Malformed(Malformed::CredentialAmbiguous),
        Self::Malformed(Malformed::GrantUnsupported),
        Self::Malformed(Malformed::TargetMissing),
        Self::Malformed(Malformed::TargetAmbiguous),
        Self::Misshapen(Misshapen::CredentialMissing),
        Self::Misshapen(Misshapen::AssertionTypeUnsupported),
        Self::Misshapen(Misshapen::CredentialMalformed),
        Self::Unverified(Unverified::SourceUnknown),
        Self::Unverified(Unverified::KeyUnknown),
        Self::Unverified(Unverified::KeyAmbiguous),
        Self::Unverified(Unverified::AlgorithmRefused),
        Self::Unverified(Unverified::SignatureInvalid),
        Self::Unverified(Unverified::SubjectInvalid),
        Self::Unaccepted(Unaccepted::AudienceMismatch),
        Self::Unaccepted(Unaccepted::AudienceNearMiss),
        Self::Unaccepted(Unaccepted::TokenExpired),
        Self::Unaccepted(Unaccepted::TokenNotYetValid),
        Self::Unaccepted(Unaccepted::TokenTooOld),
        Self::Unaccepted(Unaccepted::TokenLifetime),
        Self::Unaccepted(Unaccepted::TokenLegacy),
        Self::Unaccepted(Unaccepted::ClaimsInvalid),
        Self::Unaccepted(Unaccepted::ClientIdMismatch),
        Self::Unaccepted(Unaccepted::AlreadyUsed),
        Self::Unaccepted(Unaccepted::NotAlive),
        Self::Unaccepted(Unaccepted::Revoked),
        Self::Denied(Denied::NotGranted),
        Self::Denied(Denied::TargetDenied),
        Self::Denied(Denied::ScopeDenied),
        Self::Denied(Denied::BindingRequired),
        Self::Denied(Denied::DelegationDenied),
        Self::Denied(Denied::ProofInvalid),
        Self::Denied(Denied::ProofNonceNeeded),
        Self::Unavailable(Unavailable::RateLimited),
        Self::Unavailable(Unavailable::KeysUnreachable),
        Self::Unavailable(Unavailable::KeysStale),
        Self::Unavailable(Unavailable::KeysRefreshing),
        Self::Unavailable(Unavailable::LivenessUnavailable),
        Self::Unavailable(Unavailable::StoreUnavailable),
        Self::Unavailable(Unavailable::AuditUnavailable),
        Self::Unavailable(Unavailable::Overloaded),
        Self::Internal,
    ];

    /// The stable word for it: the same in records, metrics, logs, test names and gRPC details.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed(Malformed::MalformedRequest) => "malformed_request",
            Self::Malformed(Malformed::RequestTooLarge) => "request_too_large",
            Self::Malformed(Malformed::CredentialAmbiguous) => "credential_ambiguous",
            Self::Malformed(Malformed::GrantUnsupported) => "grant_unsupported",
            Self::Malformed(Malformed::TargetMissing) => "target_missing",
            Self::Malformed(Malformed::TargetAmbiguous) => "target_ambiguous",
            Self::Misshapen(Misshapen::CredentialMissing) => "credential_missing",
            Self::Misshapen(Misshapen::AssertionTypeUnsupported) => "assertion_type_unsupported",
            Self::Misshapen(Misshapen::CredentialMalformed) => "credential_malformed",
            Self::Unverified(Unverified::SourceUnknown) => "source_unknown",
            Self::Unverified(Unverified::KeyUnknown) => "key_unknown",
            Self::Unverified(Unverified::KeyAmbiguous) => "key_ambiguous",
            Self::Unverified(Unverified::AlgorithmRefused) => "algorithm_refused",
            Self::Unverified(Unverified::SignatureInvalid) => "signature_invalid",
            Self::Unverified(Unverified::SubjectInvalid) => "subject_invalid",
            Self::Unaccepted(Unaccepted::AudienceMismatch) => "audience_mismatch",
            Self::Unaccepted(Unaccepted::AudienceNearMiss) => "audience_near_miss",
            Self::Unaccepted(Unaccepted::TokenExpired) => "token_expired",
            Self::Unaccepted(Unaccepted::TokenNotYetValid) => "token_not_yet_valid",
            Self::Unaccepted(Unaccepted::TokenTooOld) => "token_too_old",
            Self::Unaccepted(Unaccepted::TokenLifetime) => "token_lifetime",
            Self::Unaccepted(Unaccepted::TokenLegacy) => "token_legacy",
            Self::Unaccepted(Unaccepted::ClaimsInvalid) => "claims_invalid",
            Self::Unaccepted(Unaccepted::ClientIdMismatch) => "client_id_mismatch",
            Self::Unaccepted(Unaccepted::AlreadyUsed) => "already_used",
            Self::Unaccepted(Unaccepted::NotAlive) => "not_alive",
            Self::Unaccepted(Unaccepted::Revoked) => "revoked",
            Self::Denied(Denied::NotGranted) => "not_granted",
            Self::Denied(Denied::TargetDenied) => "target_denied",
            Self::Denied(Denied::ScopeDenied) => "scope_denied",
            Self::Denied(Denied::BindingRequired) => "binding_required",
            Self::Denied(Denied::DelegationDenied) => "delegation_denied",
            Self::Denied(Denied::ProofInvalid) => "proof_invalid",
            Self::Denied(Denied::ProofNonceNeeded) => "proof_nonce_needed",
            Self::Unavailable(Unavailable::RateLimited) => "rate_limited",
            Self::Unavailable(Unavailable::KeysUnreachable) => "keys_unreachable",
            Self::Unavailable(Unavailable::KeysStale) => "keys_stale",
            Self::Unavailable(Unavailable::KeysRefreshing) => "keys_refreshing",
            Self::Unavailable(Unavailable::LivenessUnavailable) => "liveness_unavailable",
            Self::Unavailable(Unavailable::StoreUnavailable) => "store_unavailable",
            Self::Unavailable(Unavailable::AuditUnavailable) => "audit_unavailable",
            Self::Unavailable(Unavailable::Overloaded) => "overloaded",
            Self::Internal => "internal",
        }
    }

    /// The reason with that code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Text from outside, made safe to show: in quotes, control and invisible characters escaped, at most 128 characters.
pub fn quoted(text: &str) -> String {
    const LIMIT: usize = 128;
    let mut shown = String::from("\"");
    for (count, character) in text.chars().enumerate() {
        if count == LIMIT {
            shown.push('…');
            break;
        }
        match character {
            ' '..='~' if character != '"' && character != '\\' => shown.push(character),
            other => shown.extend(other.escape_default()),
        }
    }
    shown.push('"');
    shown
}

/// The first ten of a list, joined by "or", and how many more there are: what is told does not grow with a configuration.
pub fn any_of<T: fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 10;
    let mut values = values.into_iter();
    let shown: Vec<String> = values.by_ref().take(SHOWN).map(|value| value.to_string()).collect();
    match values.count() {
        0 => shown.join(" or "),
        more => format!("{} or one of {more} more", shown.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_does_not_grow_with_a_list_or_with_what_came_in() {
        assert_eq!(any_of(["a", "b"]), "a or b");
        assert_eq!(any_of(1..=12), "1 or 2 or 3 or 4 or 5 or 6 or 7 or 8 or 9 or 10 or one of 2 more");
        let long = "ä".repeat(5_000);
        let refusal = Refusal::denied(Denied::ScopeDenied, &*long, &*long).comparing(&*long, &*long).mended_by(&*long);
        let comparison = refusal.comparison().unwrap();
        let told = [refusal.to_caller(), refusal.to_operator(), &comparison.got, &comparison.want];
        for text in told.into_iter().chain(refusal.remedy()) {
            assert_eq!(text.chars().count(), 1_025);
        }
    }

    #[test]
    fn every_reason_has_its_own_code() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|reason| Reason::from_code(reason.code()) == Some(*reason)));
    }

    #[test]
    fn outside_text_cannot_break_a_line() {
        assert_eq!(quoted("a\nb\u{200b}\"c\\"), r#""a\nb\u{200b}\"c\\""#);
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), 131);
    }
}
