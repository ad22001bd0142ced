//! Key sets (RFC 7517 §5): which keys they hold, and which of them may verify a token.
//!
//! One odd key never costs the others (JWK-08, BUN-03); an empty set is a set: everything by it is withdrawn (BUN-02).

use std::sync::Arc;

use super::json::{Value, parse_object};
use super::{Algorithm, Header, JsonFault, KeyPurpose, Skipped, VerificationKey};
use crate::identity::KeyId;

/// Most keys of one set. Real ones have two to ten.
const MOST_KEYS: usize = 500;

/// Most keys that share a key id and are tried: each costs a verification. A rotation that keeps the id has two.
const MOST_TRIED: usize = 4;

/// Why a document is not a key set at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Not a JSON object as we read it.
    #[error("not a JSON object: {0}")]
    Json(#[from] JsonFault),
    /// No array `keys`.
    #[error("there is no array \"keys\"")]
    NoKeys,
    /// Over 500 keys.
    #[error("over 500 keys")]
    TooMany,
}

/// The keys of one source.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<VerificationKey>>,
    skipped: Vec<Skipped>,
}

/// Whether it is an entry for X.509-SVIDs (SPIFFE Trust Domain and Bundle §4.2.2): it stands in the same list, and is no odd key.
fn is_certificate(entry: &Value, purpose: KeyPurpose) -> bool {
    let Value::Object(entry) = entry else { return false };
    purpose == KeyPurpose::SpiffeBundle && entry.text("use") == Some("x509-svid")
}

/// What a set has for a token's header.
#[derive(Debug)]
pub enum Candidates {
    /// Keys to try, in the order of the set. More than one only when they share a `kid` (JWK-12).
    Try(Vec<Arc<VerificationKey>>),
    /// The key id is in the set, and not for that algorithm.
    OtherAlgorithm,
    /// Nothing of that key id, or nothing that fits.
    Unknown,
    /// That many keys fit: more than one without a key id (JSV-04), or more than four of one.
    Ambiguous(usize),
}

impl KeySet {
    /// Reads a JWK Set or SPIFFE bundle document.
    ///
    /// # Errors
    /// [`KeySetFault`] when it is none at all. Single keys that cannot be used are passed over.
    pub fn parse(document: &[u8], purpose: KeyPurpose) -> Result<Self, KeySetFault> {
        let document = parse_object(document)?;
        let keys = document.array("keys").ok_or(KeySetFault::NoKeys)?;
        if keys.len() > MOST_KEYS {
            return Err(KeySetFault::TooMany);
        }
        let mut set = Self::default();
        for jwk in keys.iter().filter(|jwk| !is_certificate(jwk, purpose)) {
            match VerificationKey::read(jwk, purpose) {
                Ok(key) => set.keys.push(Arc::new(key)),
                Err(why) => set.skipped.push(why),
            }
        }
        Ok(set)
    }

    /// A set of these keys.
    pub fn of(keys: impl IntoIterator<Item = Arc<VerificationKey>>) -> Self {
        Self { keys: keys.into_iter().collect(), skipped: Vec::new() }
    }

    /// Its keys that are also in another set, under any id.
    #[must_use]
    pub fn common_with(&self, other: &Self) -> Self {
        let is_there =
            |key: &&Arc<VerificationKey>| other.keys.iter().any(|their| their.thumbprint() == key.thumbprint());
        Self::of(self.keys.iter().filter(is_there).cloned())
    }

    /// The usable keys.
    pub fn keys(&self) -> &[Arc<VerificationKey>] {
        &self.keys
    }

    /// Why the others were passed over.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Whether a key has that id.
    pub fn knows(&self, key_id: &KeyId) -> bool {
        self.keys.iter().any(|key| key.key_id() == Some(key_id))
    }

    /// The keys that may verify a token with that header.
    pub fn candidates(&self, header: &Header) -> Candidates {
        let fitting = |algorithm: Algorithm| move |key: &&Arc<VerificationKey>| key.is_for(algorithm);
        match &header.key_id {
            Some(key_id) => {
                let named: Vec<_> = self.keys.iter().filter(|key| key.key_id() == Some(key_id)).collect();
                let usable: Vec<_> = named.iter().copied().filter(fitting(header.algorithm)).cloned().collect();
                match usable.len() {
                    0 if named.is_empty() => Candidates::Unknown,
                    0 => Candidates::OtherAlgorithm,
                    1..=MOST_TRIED => Candidates::Try(usable),
                    count => Candidates::Ambiguous(count),
                }
            }
            None => {
                let usable: Vec<_> = self.keys.iter().filter(fitting(header.algorithm)).cloned().collect();
                match usable.len() {
                    0 => Candidates::Unknown,
                    1 => Candidates::Try(usable),
                    count => Candidates::Ambiguous(count),
                }
            }
        }
    }

    /// The set as a JWK Set document, for keeping last good keys. Public members only.
    pub fn to_document(&self) -> String {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.to_jwk()).collect();
        format!("{{\"keys\":[{}]}}", keys.join(","))
    }
}
