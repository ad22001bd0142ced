//! Which key the caller proved to hold on this request.
//!
//! Decides nothing about who the caller is, and never takes a key that was only named.

use super::ExchangeRequest;
use crate::reason::{Denied, Refusal};
use crate::verify::Binding;

/// The key: that of a DPoP proof, else the certificate of the connection.
///
/// # Errors
/// `proof_invalid`.
pub(super) fn proven(request: &ExchangeRequest) -> Result<Option<Binding>, Refusal> {
    match request.proof {
        None => Ok(None),
        Some(_) => Err(Refusal::denied(Denied::ProofInvalid, "Proofs of possession are not served here.", "")),
    }
}
