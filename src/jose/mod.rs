//! Signed JSON: keys, headers, claims, opening and sealing. The only place that names jsonwebtoken and the crypto of signatures.
//!
//! Never reads a clock, never picks a key by what a token's header carries (a proof of possession alone is checked by its own, which it proves), never trusts a payload before its signature.

mod algorithm;
mod claims;
mod header;
mod json;
mod key_set;
mod key_text;
mod opened;
mod proof;
mod signing_key;
mod verification_key;

pub use algorithm::Algorithm;
pub use claims::{ClaimFault, UnverifiedClaims, VerifiedClaims, numeric_date};
pub use header::{Header, HeaderFault};
pub use json::{JsonFault, Object, Value, parse_object};
pub use key_set::{Candidates, KeySet, KeySetFault};
pub use key_text::PublicJwk;
pub use opened::{SignatureInvalid, open};
pub use proof::{OpenedProof, ProofFault, open_proof};
pub use signing_key::{KeyFault, Sealed, SigningKey};
pub use verification_key::{KeyPurpose, Skipped, Thumbprint, VerificationKey};

#[cfg(test)]
mod tests;
