//! Which key the caller proved to hold on this request.
//!
//! Decides nothing about who the caller is, and never takes a key that was only named.

use super::claims::Claims;
use super::{ExchangeRequest, Generation};
use crate::clock::Timestamp;
use crate::reason::{Denied, Refusal};
use crate::verify::{Binding, Nonces, ProvenKey, certificate_binding};

/// What was proved.
#[derive(Debug, Default)]
pub(super) struct Proven {
    /// The key: that of a DPoP proof, else the certificate of the connection.
    pub(super) binding: Option<Binding>,
    proof: Option<ProvenKey>,
}

impl Proven {
    /// Judges the proof and the connection's certificate.
    ///
    /// # Errors
    /// `proof_invalid`, `proof_nonce_needed`.
    pub(super) fn of(
        request: &ExchangeRequest,
        generation: &Generation,
        nonces: &Nonces,
        at: Timestamp,
    ) -> Result<Self, Refusal> {
        let Some(proof) = &request.proof else {
            let certificate = request.peer.as_ref().and_then(|chain| certificate_binding(chain, at));
            return Ok(Self { binding: certificate, proof: None });
        };
        let proof = generation.verifier(at).proof(proof, generation.asks_for_nonces().then_some(nonces))?;
        Ok(Self { binding: Some(proof.binding.clone()), proof: Some(proof) })
    }

    /// A proof is good once (DPO-05): for its key, whichever endpoint it names.
    pub(super) fn claim(&self, claims: &mut Claims) {
        let Some(proof) = &self.proof else { return };
        let sentence = "The DPoP proof is not usable: it was used before. Make one for each request.";
        let note = "a proof that was sent again looks the same as a stolen one";
        let taken = Refusal::denied(Denied::ProofInvalid, sentence, note).mended_by("a proof with a jti of its own");
        claims.once(&["proof", proof.binding.confirmation.value(), &proof.id], proof.until, taken);
    }

    /// The nonce to use from now on, where the one in the proof is being replaced.
    pub(super) fn next_nonce(&self, nonces: &Nonces, at: Timestamp) -> Option<String> {
        self.proof.as_ref().filter(|proof| proof.needs_next_nonce).map(|_| nonces.at(at))
    }
}
