//! `application/x-www-form-urlencoded`, read strictly (RFC 6749 Appendix B).
//!
//! A broken escape or a byte that is no UTF-8 is an error, never a replacement character (TOK-08).

use crate::reason::{Malformed, Refusal, quoted};

/// Most parameters of a form: the grants have about fifteen.
const MOST: usize = 64;

/// The names that may stand several times by RFC 8693 §2.1 and RFC 8707 §2; a repeat asks for two targets (RI-02).
const TARGETS: [&str; 2] = ["resource", "audience"];

/// The parameters of a request: each name once (TOK-06), apart from targets.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == MOST {
                return Err(malformed("A request has at most 64 parameters."));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            let decoded = decode(name).zip(decode(value));
            let (name, value) = decoded.ok_or_else(|| malformed("The form has a broken escape or is not UTF-8."))?;
            // RFC 6749 §3.2, for names that nobody knows too: another reader might take the other copy.
            if !TARGETS.contains(&name.as_str()) && parameters.iter().any(|(found, _)| *found == name) {
                return Err(malformed(&format!("Parameter {} stands more than once.", quoted(&name))));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter; an empty one counts as not sent (TOK-04).
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// A target parameter: a repeat asks for two targets (TOK-06, RI-02).
    pub(super) fn target(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (None | Some(""), None) => Ok(None),
            (value, None) => Ok(value),
            _ => Err(Refusal::malformed(Malformed::TargetAmbiguous, "A token is for one resource; name one.")),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// `+` is a space, `%xx` a byte.
fn decode(text: &[u8]) -> Option<String> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return String::from_utf8(text.to_vec()).ok();
    }
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

pub(super) fn malformed(sentence: &str) -> Refusal {
    Refusal::malformed(Malformed::MalformedRequest, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tok_08_escapes_are_read_exactly() {
        let form = Form::parse(b"scope=a+b%2Bc&x=%C3%A4&y&z=").unwrap();
        assert_eq!(form.value("scope"), Some("a b+c"));
        assert_eq!(form.value("x"), Some("ä"));
        assert_eq!(form.value("y"), None);
        for body in ["a=%zz", "a=%f", "a=%", "a=%ff", "%zz=a"] {
            assert!(Form::parse(body.as_bytes()).is_err(), "{body}");
        }
        let many = |count: usize| (0..count).map(|number| format!("p{number}=x&")).collect::<String>();
        assert!(Form::parse(many(64).as_bytes()).is_ok());
        assert!(Form::parse(many(65).as_bytes()).is_err());
    }

    #[test]
    fn tok_06_a_parameter_stands_once() {
        for body in ["a=b&a=b", "a=b&a=", "a&a=b", "a=b&%61=c", "grant_type=x&grant_type=x"] {
            assert!(Form::parse(body.as_bytes()).is_err(), "{body}");
        }
        let form = Form::parse(b"resource=a&resource=&audience=a").unwrap();
        assert!(form.target("resource").is_err());
        assert_eq!(form.target("audience").unwrap(), Some("a"));
    }
}
