//! Which key the caller proved to hold on this request.
//!
//! Decides nothing about who the caller is, and never takes a key that was only named.

use super::ExchangeRequest;
use crate::clock::Timestamp;
use crate::reason::{Denied, Refusal};
use crate::verify::{Binding, certificate_binding};

/// The key: that of a DPoP proof, else the certificate of the connection.
///
/// # Errors
/// `proof_invalid`.
pub(super) fn proven(request: &ExchangeRequest, at: Timestamp) -> Result<Option<Binding>, Refusal> {
    match request.proof {
        None => Ok(request.peer.as_ref().and_then(|chain| certificate_binding(chain, at))),
        Some(_) => Err(Refusal::denied(Denied::ProofInvalid, "Proofs of possession are not served here.", "")),
    }
}
