//! `application/x-www-form-urlencoded`, read strictly (RFC 6749 Appendix B).
//!
//! A broken escape or a byte that is no UTF-8 is an error, never a replacement character (TOK-08).

use crate::reason::{Malformed, Refusal};

/// Most parameters of a form: the grants have about fifteen.
const MOST: usize = 64;

/// The parameters of a request: each name once, empty values left out (TOK-04, TOK-06).
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let malformed = |sentence: &str| Refusal::malformed(Malformed::MalformedRequest, sentence);
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == MOST {
                return Err(malformed("A request has at most 64 parameters."));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            let decoded = decode(name).zip(decode(value));
            let (name, value) = decoded.ok_or_else(|| malformed("The form has a broken escape or is not UTF-8."))?;
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// A parameter that may stand once. A repeat is an error, also when one of the copies is empty.
    pub(super) fn once(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        self.single(name).map_err(|Repeated| {
            Refusal::malformed(Malformed::MalformedRequest, format!("Parameter {name} stands more than once."))
        })
    }

    /// A target parameter: a repeat asks for two targets (TOK-06, RI-02).
    pub(super) fn target(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        self.single(name).map_err(|Repeated| {
            Refusal::malformed(Malformed::TargetAmbiguous, "A token is for one resource; name one.")
        })
    }

    fn single(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut found = self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        match (found.next(), found.next()) {
            (None | Some(""), None) => Ok(None),
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated),
        }
    }
}

/// A name stands more than once.
struct Repeated;

/// `+` is a space, `%xx` a byte.
fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? * 16 + hex(rest.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tok_08_escapes_are_read_exactly() {
        let form = Form::parse(b"scope=a+b%2Bc&x=%C3%A4&y&z=").unwrap();
        assert_eq!(form.once("scope").unwrap(), Some("a b+c"));
        assert_eq!(form.once("x").unwrap(), Some("ä"));
        assert_eq!(form.once("y").unwrap(), None);
        for body in ["a=%zz", "a=%f", "a=%", "a=%ff", "%zz=a"] {
            assert!(Form::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Form::parse("a=b&".repeat(64).as_bytes()).is_ok());
        assert!(Form::parse("a=b&".repeat(65).as_bytes()).is_err());
    }

    #[test]
    fn tok_06_a_parameter_stands_once() {
        assert!(Form::parse(b"a=b&a=b").unwrap().once("a").is_err());
        assert!(Form::parse(b"a=b&a=").unwrap().once("a").is_err());
    }
}
