//! What became known of a credential on the way to its decision.
//!
//! For the decision record alone: nothing here is a proof, and what was merely shown is named so.

use crate::identity::{CredentialKind, KeyId, SourceName};
use crate::jose::{Algorithm, Thumbprint};

/// Filled as facts become known, and kept whatever the outcome. Never holds token material.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What the caller declared.
    pub kind: Option<CredentialKind>,
    /// SHA-256 of what was signed; of an X.509-SVID, of the whole certificate.
    pub fingerprint: Option<String>,
    /// `iss` as shown, unverified.
    pub shown_issuer: Option<String>,
    /// `sub` as shown, unverified.
    pub shown_subject: Option<String>,
    /// `kid` as shown, unverified.
    pub shown_key_id: Option<String>,
    /// The source whose key verified the signature.
    pub source: Option<SourceName>,
    /// The key that verified it.
    pub key_id: Option<KeyId>,
    /// Its thumbprint.
    pub key: Option<Thumbprint>,
    /// The algorithm that it was verified with.
    pub algorithm: Option<Algorithm>,
    /// SHA-256 of the certificate of the X.509 authority that vouched for it, in hexadecimal.
    pub authority: Option<String>,
}
