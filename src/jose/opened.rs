//! The check of a signature: unverified claims in, verified claims out.
//!
//! The algorithm is pinned to the key (BCJ-02). Nothing here looks at a claim.

use super::{Header, UnverifiedClaims, VerificationKey, VerifiedClaims};
use crate::credential::CompactJws;

/// The key does not verify the signature, or is not for that algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct SignatureInvalid;

/// Checks the signature over the bytes that were received and hands out the claims as verified.
///
/// # Errors
/// [`SignatureInvalid`], with the claims given back so that another key can be tried.
pub fn open(
    jws: &CompactJws,
    header: &Header,
    claims: UnverifiedClaims,
    key: &VerificationKey,
) -> Result<VerifiedClaims, (SignatureInvalid, UnverifiedClaims)> {
    if key.verifies(header.algorithm, jws.signing_input(), jws.signature()) {
        Ok(claims.believe())
    } else {
        Err((SignatureInvalid, claims))
    }
}
