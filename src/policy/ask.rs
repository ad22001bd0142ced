//! What a caller asks for.
//!
//! Parsed and bounded by the door; nothing here says that it may have it.

use crate::clock::Lifetime;
use crate::identity::{ScopeSet, SpiffeId};
use crate::reason::{Malformed, Refusal};

/// The wishes of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// `resource`: the audience value of a resource (RFC 8707).
    pub resource: Option<String>,
    /// `audience`: the audience value or the name of a resource.
    pub audience: Option<String>,
    /// `scope`; `None` means all that are granted.
    pub scopes: Option<ScopeSet>,
    /// `client_id`, if sent.
    pub client_id: Option<String>,
    /// The longest life that is wanted: it shortens and never lengthens.
    pub max_lifetime: Option<Lifetime>,
    /// Whom the caller must be, where that is known from before: the identity that a stream began with.
    pub same_as: Option<SpiffeId>,
}

impl Ask {
    /// A text of an ask within its bound; an empty one counts as not sent (TOK-04).
    ///
    /// # Errors
    /// `malformed_request` over 2,048 bytes.
    pub fn text(name: &str, value: &str) -> Result<Option<String>, Refusal> {
        match value.len() {
            0 => Ok(None),
            1..=2048 => Ok(Some(value.to_owned())),
            _ => {
                let sentence = format!("Parameter {name} has at most 2048 bytes.");
                Err(Refusal::malformed(Malformed::MalformedRequest, sentence))
            }
        }
    }
}
