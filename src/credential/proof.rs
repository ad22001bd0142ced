//! A proof of possession as it was shown (DPoP, RFC 9449).
//!
//! Parsed and bounded; whether it proves anything is judged later.

use super::{CompactJws, NotCompact};

/// Bytes of a proof: one with the longest RSA key has about 4 KiB.
const LONGEST: usize = 8 * 1024;

/// A proof of possession beside a credential, with what it must speak of.
#[derive(Debug)]
pub struct Proof {
    /// The proof.
    pub jws: CompactJws,
    /// The paths of our endpoints that it may be made for: where it arrived.
    pub endpoints: &'static [&'static str],
}

/// Why text is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAProof {
    /// Over 8 KiB.
    #[error("a proof has at most 8 KiB")]
    TooLong,
    /// It is no JWS.
    #[error(transparent)]
    NotCompact(#[from] NotCompact),
}

impl Proof {
    /// Takes the text apart.
    ///
    /// # Errors
    /// [`NotAProof`], found before any JSON is read.
    pub fn parse(text: &str, endpoints: &'static [&'static str]) -> Result<Self, NotAProof> {
        if text.len() > LONGEST {
            return Err(NotAProof::TooLong);
        }
        Ok(Self { jws: CompactJws::parse(text.to_owned())?, endpoints })
    }
}
