//! Claims, before and after the signature.
//!
//! The two are different types: unverified claims can only be peeked at for routing. Says nothing about whether claims are acceptable.

use super::JsonFault;
use super::json::{Object, Value, parse_object};
use crate::clock::Timestamp;
use crate::credential::CompactJws;

/// Most values of `aud` that are looked at (LIM-04).
const AUDIENCES: usize = 32;

/// A claim that is missing or of the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    /// The claim is not there.
    #[error("claim {0} is missing")]
    Missing(&'static str),
    /// The claim has a type or size that it may not have.
    #[error("claim {0} has the wrong type")]
    Type(&'static str),
}

/// Claims whose signature has not been checked. Good for finding the source, and for nothing else.
#[derive(Debug)]
pub struct UnverifiedClaims(Object);

impl UnverifiedClaims {
    /// Reads the payload of a JWS as a JSON object.
    ///
    /// # Errors
    /// [`JsonFault`].
    pub fn read(jws: &CompactJws) -> Result<Self, JsonFault> {
        parse_object(jws.payload()).map(Self)
    }

    /// `iss`, to find the source by. Believed by nobody.
    pub fn unverified_issuer(&self) -> Option<&str> {
        self.0.text("iss")
    }

    /// `sub`, to find the trust domain by. Believed by nobody.
    pub fn unverified_subject(&self) -> Option<&str> {
        self.0.text("sub")
    }

    pub(super) fn believe(self) -> VerifiedClaims {
        VerifiedClaims(self.0)
    }
}

/// Claims whose signature was verified. Made only by [`super::open`] and [`super::open_proof`].
#[derive(Debug)]
pub struct VerifiedClaims(Object);

impl VerifiedClaims {
    /// A claim that is a string.
    ///
    /// # Errors
    /// [`ClaimFault`].
    pub fn text(&self, name: &'static str) -> Result<&str, ClaimFault> {
        self.optional_text(name)?.ok_or(ClaimFault::Missing(name))
    }

    /// A claim that is a string, or absent.
    ///
    /// # Errors
    /// [`ClaimFault::Type`].
    pub fn optional_text(&self, name: &'static str) -> Result<Option<&str>, ClaimFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimFault::Type(name)),
        }
    }

    /// A claim that is an object, or absent.
    ///
    /// # Errors
    /// [`ClaimFault::Type`].
    pub fn optional_object(&self, name: &'static str) -> Result<Option<&Object>, ClaimFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(ClaimFault::Type(name)),
        }
    }

    /// A claim of any type.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Whether a claim with that name is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }

    /// `aud`: a string or an array of 1 to 32 strings (JOSE-13).
    ///
    /// # Errors
    /// [`ClaimFault`] for anything else.
    pub fn audiences(&self) -> Result<Vec<&str>, ClaimFault> {
        match self.0.get("aud") {
            None => Err(ClaimFault::Missing("aud")),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(values)) if (1..=AUDIENCES).contains(&values.len()) => values
                .iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text.as_str()),
                    _ => Err(ClaimFault::Type("aud")),
                })
                .collect(),
            Some(_) => Err(ClaimFault::Type("aud")),
        }
    }

    /// `exp`, `nbf` or `iat`: a number, perhaps with a fraction (JOSE-14), that is not negative.
    ///
    /// # Errors
    /// [`ClaimFault::Type`].
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, ClaimFault> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => numeric_date(number).map(Some).ok_or(ClaimFault::Type(name)),
            Some(_) => Err(ClaimFault::Type(name)),
        }
    }
}

/// A NumericDate (RFC 7519 §2). Far values end at [`Timestamp::MAX`]; negative ones are none.
pub fn numeric_date(number: &serde_json::Number) -> Option<Timestamp> {
    let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0)?;
    let latest = Timestamp::MAX.millis();
    // A float that is too large for the integer becomes the largest integer: `as` saturates.
    let millis = (seconds * 1000.0) as i64;
    Some(Timestamp::from_millis(millis.min(latest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> VerifiedClaims {
        VerifiedClaims(parse_object(text.as_bytes()).unwrap())
    }

    #[test]
    fn jose_13_shapes_of_aud() {
        assert_eq!(claims(r#"{"aud":"a"}"#).audiences(), Ok(vec!["a"]));
        assert_eq!(claims(r#"{"aud":["a"]}"#).audiences(), Ok(vec!["a"]));
        assert_eq!(claims("{}").audiences(), Err(ClaimFault::Missing("aud")));
        for text in [
            r#"{"aud":1}"#,
            r#"{"aud":{}}"#,
            r#"{"aud":[]}"#,
            r#"{"aud":null}"#,
            r#"{"aud":["a",1]}"#,
            r#"{"aud":[["a"]]}"#,
        ] {
            assert_eq!(claims(text).audiences(), Err(ClaimFault::Type("aud")), "{text}");
        }
        let many = |count: usize| format!(r#"{{"aud":[{}]}}"#, vec!["\"a\""; count].join(","));
        assert!(claims(&many(32)).audiences().is_ok());
        assert!(claims(&many(33)).audiences().is_err());
    }

    #[test]
    fn jose_14_shapes_of_times() {
        let exp = |text: &str| claims(&format!(r#"{{"exp":{text}}}"#)).time("exp");
        assert_eq!(exp("10.5"), Ok(Some(Timestamp::from_millis(10_500))));
        assert_eq!(exp("1e300"), Ok(Some(Timestamp::MAX)));
        assert_eq!(exp("9e18"), Ok(Some(Timestamp::MAX)));
        for text in ["\"123\"", "true", "-1", "null", "[]"] {
            assert_eq!(exp(text), Err(ClaimFault::Type("exp")), "{text}");
        }
    }
}
