//! The one table from a reason to the wire (design §6).
//!
//! One exhaustive match: a new reason does not compile until it has its row. Decides nothing else about an answer.

use tonic::Code;

use crate::reason::{About, Denied, Malformed, Misshapen, Reason, Unaccepted, Unavailable, Unverified};

/// The header and the metadata that carry the nonce for the next proof (RFC 9449 §8).
pub(super) const DPOP_NONCE: &str = "dpop-nonce";

/// How a reason looks in OAuth over HTTP, and over gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The value of `error`.
    pub error: &'static str,
    /// The HTTP status, before the rule for `Authorization` headers.
    pub status: u16,
    /// The status over gRPC.
    pub grpc: Code,
}

const fn row(error: &'static str, status: u16, grpc: Code) -> Rendered {
    Rendered { error, status, grpc }
}

/// The row of a reason, for the token of the request that it is about: what is wrong with a subject token is `invalid_request`
/// (TX-03), what is wrong with an assertion `invalid_grant` (CA-14).
pub const fn render_about(reason: Reason, about: About) -> Rendered {
    match (about, reason) {
        (About::Subject, Reason::Misshapen(_) | Reason::Unverified(_) | Reason::Unaccepted(_)) => {
            row("invalid_request", 400, Code::InvalidArgument)
        }
        (About::Assertion, Reason::Misshapen(_) | Reason::Unverified(_) | Reason::Unaccepted(_)) => {
            row("invalid_grant", 400, Code::InvalidArgument)
        }
        _ => render(reason),
    }
}

/// The row of a reason.
pub const fn render(reason: Reason) -> Rendered {
    match reason {
        Reason::Malformed(Malformed::MalformedRequest | Malformed::CredentialAmbiguous) => {
            row("invalid_request", 400, Code::InvalidArgument)
        }
        Reason::Malformed(Malformed::RequestTooLarge) => row("invalid_request", 413, Code::InvalidArgument),
        Reason::Malformed(Malformed::GrantUnsupported) => row("unsupported_grant_type", 400, Code::InvalidArgument),
        Reason::Malformed(Malformed::TargetMissing | Malformed::TargetAmbiguous) => {
            row("invalid_target", 400, Code::InvalidArgument)
        }
        Reason::Misshapen(
            Misshapen::CredentialMissing | Misshapen::AssertionTypeUnsupported | Misshapen::CredentialMalformed,
        )
        | Reason::Unverified(
            Unverified::SourceUnknown
            | Unverified::KeyUnknown
            | Unverified::KeyAmbiguous
            | Unverified::AlgorithmRefused
            | Unverified::SignatureInvalid
            | Unverified::SubjectInvalid,
        )
        | Reason::Unaccepted(
            Unaccepted::AudienceMismatch
            | Unaccepted::AudienceNearMiss
            | Unaccepted::TokenExpired
            | Unaccepted::TokenNotYetValid
            | Unaccepted::TokenTooOld
            | Unaccepted::TokenLifetime
            | Unaccepted::TokenLegacy
            | Unaccepted::ClaimsInvalid
            | Unaccepted::ClientIdMismatch
            | Unaccepted::AlreadyUsed
            | Unaccepted::NotAlive
            | Unaccepted::Revoked,
        ) => row("invalid_client", 400, Code::Unauthenticated),
        Reason::Denied(Denied::NotGranted) => row("unauthorized_client", 400, Code::PermissionDenied),
        Reason::Denied(Denied::TargetDenied) => row("invalid_target", 400, Code::PermissionDenied),
        Reason::Denied(Denied::ScopeDenied) => row("invalid_scope", 400, Code::PermissionDenied),
        Reason::Denied(Denied::BindingRequired | Denied::DelegationDenied) => {
            row("invalid_request", 400, Code::FailedPrecondition)
        }
        Reason::Denied(Denied::ProofInvalid) => row("invalid_dpop_proof", 400, Code::Unauthenticated),
        Reason::Denied(Denied::ProofNonceNeeded) => row("use_dpop_nonce", 400, Code::Unauthenticated),
        Reason::Unavailable(Unavailable::RateLimited) => row("temporarily_unavailable", 429, Code::ResourceExhausted),
        Reason::Unavailable(
            Unavailable::KeysUnreachable
            | Unavailable::KeysStale
            | Unavailable::KeysRefreshing
            | Unavailable::LivenessUnavailable
            | Unavailable::StoreUnavailable
            | Unavailable::AuditUnavailable
            | Unavailable::Overloaded,
        ) => row("temporarily_unavailable", 503, Code::Unavailable),
        Reason::Internal => row("server_error", 500, Code::Internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_as_it_is_published() {
        let table: Vec<String> = Reason::ALL
            .into_iter()
            .map(|reason| {
                let Rendered { error, status, grpc } = render(reason);
                format!("{} {error} {status} {grpc:?}", reason.code())
            })
            .collect();
        let published = include_str!("render_table.txt");
        assert_eq!(table.join("\n"), published.trim_end());
    }
}
