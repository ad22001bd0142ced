//! The header of a JWS, before anything is believed.
//!
//! Names and locations of keys in it are refused, never followed (JOSE-06); an extension that we do not know is refused (JOSE-04).

use super::json::{Object, Value, parse_object};
use super::{Algorithm, JsonFault};
use crate::credential::CompactJws;
use crate::identity::KeyId;
use crate::reason::quoted;

/// What a header may say that matters to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`, one of the nine.
    pub algorithm: Algorithm,
    /// `kid`, compared and never interpreted.
    pub key_id: Option<KeyId>,
    typ: Option<String>,
}

/// Why a header is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Not a JSON object as we read it.
    #[error("the header is not a JSON object: {0}")]
    Json(#[from] JsonFault),
    /// A member of the wrong type.
    #[error("header {0} has the wrong type")]
    Type(&'static str),
    /// `alg` is missing or not one of the nine.
    #[error("algorithm {0} is not taken")]
    Algorithm(String),
    /// A member that changes what the signature means or where the key comes from.
    #[error("header {0} is not taken")]
    Member(&'static str),
}

/// Refused wherever they stand: JOSE-04, -05, -06, -10, -24, JSV-05.
const REFUSED: [&str; 12] = ["crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "enc", "zip", "epk", "p2c"];

impl Header {
    /// Reads the header of a JWS.
    ///
    /// # Errors
    /// [`HeaderFault`]; nothing about keys or claims has been looked at then.
    pub fn read(jws: &CompactJws) -> Result<Self, HeaderFault> {
        Self::without(&REFUSED, &parse_object(jws.header())?)
    }

    /// A header that carries its key, as a proof of possession does (RFC 9449 §4.2): nothing else of the refused is taken.
    pub(super) fn with_key(object: &Object) -> Result<Self, HeaderFault> {
        let others: Vec<&'static str> = REFUSED.into_iter().filter(|member| *member != "jwk").collect();
        Self::without(&others, object)
    }

    fn without(refused: &[&'static str], object: &Object) -> Result<Self, HeaderFault> {
        if let Some(member) = refused.iter().find(|member| object.has(member)) {
            return Err(HeaderFault::Member(member));
        }
        let text = |member: &'static str| match object.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(HeaderFault::Type(member)),
        };
        if text("cty")?.is_some_and(|content| media_type(content) == "application/jwt") {
            return Err(HeaderFault::Member("cty"));
        }
        let algorithm = text("alg")?.unwrap_or_default();
        let algorithm = Algorithm::from_name(algorithm).ok_or_else(|| HeaderFault::Algorithm(quoted(algorithm)))?;
        let key_id = text("kid")?.map(KeyId::parse).transpose().map_err(|_not_an_id| HeaderFault::Type("kid"))?;
        Ok(Self { algorithm, key_id, typ: text("typ")?.map(media_type) })
    }

    /// The declared type as a media type in lower case: `application/at+jwt`.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// Whether the type is absent or one of `allowed`, compared as media types (JOSE-12).
    pub fn typ_is_one_of(&self, allowed: &[&str]) -> bool {
        self.typ().is_none_or(|typ| allowed.iter().any(|name| media_type(name) == typ))
    }
}

/// RFC 7515 §4.1.9: without case, `application/` added when there is no slash.
fn media_type(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if lower.contains('/') { lower } else { format!("application/{lower}") }
}
