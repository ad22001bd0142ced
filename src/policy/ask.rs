//! What a caller asks for.
//!
//! Parsed and bounded by the door; nothing here says that it may have it.

use crate::identity::ScopeSet;

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
}
