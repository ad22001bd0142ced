//! The compact serialisation of a JWS (RFC 7515 §7.1).
//!
//! Three canonical base64url parts, each token one spelling (JOSE-08, JOSE-09). Says nothing about what is inside them.

use std::fmt;

use aws_lc_rs::digest;
use base64ct::{Base64UrlUnpadded, Encoding};

use crate::secret::Secret;

/// The longest token that is looked at (LIM-02): real ones have 1 to 2 KiB.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Why text is not a signed JWT in compact form. Says what the shape shows, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCompact {
    /// Over 16 KiB.
    #[error("a token has at most 16 KiB")]
    TooLong,
    /// Starts like PEM.
    #[error("this is PEM, not a JWT")]
    Pem,
    /// Starts like JSON.
    #[error("this is JSON; only the compact form is taken")]
    Json,
    /// Five parts: encrypted.
    #[error("this is an encrypted JWT; only signed ones are taken")]
    Encrypted,
    /// Not three parts.
    #[error("a signed JWT has three parts with dots between")]
    Parts,
    /// A part is not canonical base64url without padding.
    #[error("each part of a JWT is base64url without padding, white space or spare bits")]
    Base64,
}

/// A JWS with its parts decoded. `Debug` shows no content.
pub struct CompactJws {
    text: Secret<String>,
    signed: usize,
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl CompactJws {
    /// Takes the text apart.
    ///
    /// # Errors
    /// [`NotCompact`], found before any JSON is read.
    pub fn parse(text: String) -> Result<Self, NotCompact> {
        Self::of(Secret::new("token", text))
    }

    /// The same of text that is kept as a secret already.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); the text is gone then.
    pub fn of(text: Secret<String>) -> Result<Self, NotCompact> {
        let whole = text.expose().as_str();
        if whole.len() > LONGEST_TOKEN {
            return Err(NotCompact::TooLong);
        }
        if whole.starts_with("-----BEGIN") {
            return Err(NotCompact::Pem);
        }
        if whole.starts_with(['{', '[']) {
            return Err(NotCompact::Json);
        }
        let parts: Vec<&str> = whole.split('.').take(6).collect();
        let (header, payload, signature) = match parts.as_slice() {
            [header, payload, signature] => (header, payload, signature),
            [_, _, _, _, _] => return Err(NotCompact::Encrypted),
            _ => return Err(NotCompact::Parts),
        };
        let decode = |part: &str| Base64UrlUnpadded::decode_vec(part).map_err(|_not_canonical| NotCompact::Base64);
        let signed = header.len() + 1 + payload.len();
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        Ok(Self { text, signed, header, payload, signature })
    }

    /// The text again.
    pub fn into_text(self) -> Secret<String> {
        self.text
    }

    /// The bytes that were signed (RFC 7515 §5.2).
    pub fn signing_input(&self) -> &[u8] {
        self.text.expose().as_bytes().get(..self.signed).unwrap_or_default()
    }

    /// The decoded header: JSON, if it is a JWS.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The decoded payload: JSON, if it is a JWT. Unverified.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The whole token, for who must be shown it to judge it: the cluster that issued it.
    pub const fn whole(&self) -> &Secret<String> {
        &self.text
    }

    /// SHA-256 of the signing input in hexadecimal: names the token without being one, whichever of its two
    /// signatures an ECDSA token carries.
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.signing_input());
        let digits = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }
}

impl fmt::Debug for CompactJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[JWS of {} bytes]", self.text.expose().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jose_08_and_09_only_one_spelling_is_read() {
        assert!(CompactJws::parse("e30.e30.AA".to_owned()).is_ok());
        for (text, why) in [
            ("e30.e30", NotCompact::Parts),
            ("e30.e30.AA.", NotCompact::Parts),
            ("e30.e30.AA.AA.AA", NotCompact::Encrypted),
            ("e30.e30.AA.AA.AA.AA", NotCompact::Parts),
            ("e30=.e30.AA", NotCompact::Base64),
            ("e30.e30.AB", NotCompact::Base64),
            ("e30.e30.A+", NotCompact::Base64),
            ("e30.e3\n0.AA", NotCompact::Base64),
            ("e30.e30.AA ", NotCompact::Base64),
            ("{\"payload\":\"\"}", NotCompact::Json),
            ("-----BEGIN CERTIFICATE-----", NotCompact::Pem),
        ] {
            assert_eq!(CompactJws::parse(text.to_owned()).err(), Some(why), "{text}");
        }
        assert_eq!(CompactJws::parse("a".repeat(LONGEST_TOKEN + 1)).err(), Some(NotCompact::TooLong));
    }

    #[test]
    fn debug_shows_no_content() {
        let jws = CompactJws::parse("e30.e30.AA".to_owned()).unwrap();
        assert_eq!(format!("{jws:?}"), "[JWS of 10 bytes]");
        assert_eq!(jws.signing_input(), b"e30.e30");
        assert_eq!(jws.fingerprint(), "e75e2f1bd181b1b0e32a20fa939f3f8a831a02658411db5e21f3b88082f594d6");
    }
}
