//! JSON from outside, read strictly.
//!
//! A repeated name is refused at every level, whatever its spelling (JOSE-07); depth and counts are bounded (JOSE-20).
//! serde_json alone would fill a struct from an array and let a repeated name pass.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroize;

/// Deepest nesting: real tokens and key sets have four levels.
const DEPTH: usize = 16;
/// Most members of one object: real tokens have about twenty.
const MEMBERS: usize = 256;
/// Most elements of one array: the longest real one is a key set's `keys`.
const ELEMENTS: usize = 4096;

/// Text that is not JSON as we read it. Carries the parser's words, which never quote the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonFault(String);

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

/// A JSON object without repeated names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(BTreeMap<String, Value>);

impl Object {
    /// The member with that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The member, if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The member, if it is an object.
    pub fn object(&self, name: &str) -> Option<&Object> {
        match self.0.get(name) {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// The member, if it is an array.
    pub fn array(&self, name: &str) -> Option<&[Value]> {
        match self.0.get(name) {
            Some(Value::Array(values)) => Some(values),
            _ => None,
        }
    }

    /// Whether there is such a member, `null` included.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Overwrites every string, so that an object with private members can be a [`crate::secret::Secret`].
impl Zeroize for Object {
    fn zeroize(&mut self) {
        self.0.values_mut().for_each(Value::zeroize);
    }
}

impl Zeroize for Value {
    fn zeroize(&mut self) {
        match self {
            Self::String(text) => text.zeroize(),
            Self::Array(values) => values.iter_mut().for_each(Self::zeroize),
            Self::Object(object) => object.zeroize(),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

/// Reads one object and nothing after it.
///
/// # Errors
/// [`JsonFault`] for other JSON, repeated names, too deep or too many members, or no JSON at all.
pub fn parse_object(bytes: &[u8]) -> Result<Object, JsonFault> {
    let fault = |error: serde_json::Error| JsonFault(format!("{error}"));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: DEPTH }.deserialize(&mut reader).map_err(fault)?;
    reader.end().map_err(fault)?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(JsonFault("a JSON object is needed".to_owned())),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(inner)? {
            if values.len() == ELEMENTS {
                return Err(A::Error::custom("too many elements"));
            }
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.len() == MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse_object(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn objects_with_secrets_are_overwritten() {
        let mut object = parse_object(br#"{"d":"secret","a":["secret",{"b":"secret"}],"n":1}"#).unwrap();
        object.zeroize();
        assert!(!format!("{object:?}").contains("secret"));
    }

    #[test]
    fn jose_07_a_name_stands_once() {
        assert!(refused(r#"{"sub":"a","sub":"b"}"#).contains("twice"));
        assert!(refused(r#"{"sub":"a","\u0073ub":"b"}"#).contains("twice"));
        assert!(refused(r#"{"x":{"y":[{"z":1,"z":1}]}}"#).contains("twice"));
    }

    #[test]
    fn jose_11_and_20_only_bounded_utf8_objects() {
        assert!(refused(r#"["a"]"#).contains("object"));
        assert!(refused(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).contains("deep"));
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse_object(nested(DEPTH - 1).as_bytes()).is_ok());
        assert!(parse_object(nested(DEPTH).as_bytes()).is_err());
        let wide =
            |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        assert!(parse_object(wide(MEMBERS).as_bytes()).is_ok());
        assert!(parse_object(wide(MEMBERS + 1).as_bytes()).is_err());
        for text in ["{}x", "{} {}", "\u{feff}{}", r#"{"a":"\ud800"}"#, "{\"a\":\"\n\"}", "{\"a\":NaN}", ""] {
            assert!(parse_object(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse_object(b"{\"a\":\"\xff\"}").is_err());
    }
}
