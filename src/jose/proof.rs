//! A proof that its sender holds a key: a JWS that is checked by the public key in its own header (RFC 9449 §4.2).
//!
//! It proves the key and nothing else. It says nothing about who its sender is, and nothing here looks at its claims.

use super::json::parse_object;
use super::{
    Algorithm, Header, HeaderFault, JsonFault, KeyPurpose, Skipped, Thumbprint, UnverifiedClaims, VerificationKey,
    VerifiedClaims, open,
};
use crate::credential::CompactJws;

/// The `typ` of a proof, exactly. No other JWT has it, so none can be taken for a proof (RFC 8725 §3.11).
const TYP: &str = "dpop+jwt";

/// A proof whose signature was checked.
#[derive(Debug)]
pub struct OpenedProof {
    /// What it says.
    pub claims: VerifiedClaims,
    /// The key that its sender holds.
    pub key: Thumbprint,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
}

/// Why a proof does not prove a key. Its sender may hear all of it: the proof speaks of nobody but the sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// Header or claims are no JSON object.
    #[error("its header or its claims are not a JSON object: {0}")]
    Json(#[from] JsonFault),
    /// A header member that is missing, wrong or not taken.
    #[error("{0}")]
    Header(#[from] HeaderFault),
    /// It says that it is something else.
    #[error("its typ is not exactly dpop+jwt")]
    Typ,
    /// There is no key to check it by.
    #[error("header jwk is missing")]
    NoKey,
    /// The key may not be used.
    #[error("header jwk is not usable: {0}")]
    Key(Skipped),
    /// The key did not make the signature, or is for another algorithm.
    #[error("its signature was not made by the key in it")]
    Signature,
}

/// Checks a proof by the key that it carries. `kid` is not looked at: the key is there itself.
///
/// # Errors
/// [`ProofFault`].
pub fn open_proof(jws: &CompactJws) -> Result<OpenedProof, ProofFault> {
    let object = parse_object(jws.header())?;
    if object.text("typ") != Some(TYP) {
        return Err(ProofFault::Typ);
    }
    let header = Header::with_key(&object)?;
    let jwk = object.get("jwk").ok_or(ProofFault::NoKey)?;
    let key = VerificationKey::read(jwk, KeyPurpose::JwkSet).map_err(ProofFault::Key)?;
    let claims = UnverifiedClaims::read(jws)?;
    let claims = open(jws, &header, claims, &key).map_err(|_not_by_it| ProofFault::Signature)?;
    Ok(OpenedProof { claims, key: key.thumbprint().clone(), algorithm: header.algorithm })
}
