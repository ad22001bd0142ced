//! Tokens as they may be shown: their claims, and not the signature.

use crate::credential::CompactJws;
use crate::secret::Secret;

/// The start of a token, its length, and that there is more.
pub(super) fn masked(token: &str) -> String {
    let start: String = token.chars().take(12).collect();
    format!("{start}… ({} characters, masked)", token.len())
}

/// The claims of a token of ours, for people; the signature has been left out and is not checked here.
pub(super) fn claims(token: &Secret<String>) -> Option<serde_json::Value> {
    let jws = CompactJws::parse(token.expose().clone()).ok()?;
    serde_json::from_slice(jws.payload()).ok()
}
