//! Decides what the values are that resources, rules and tests have in common.
//!
//! Must never change a value: it is taken as it is written, or refused.

use super::{Desk, parsed};
use crate::config::field::Field;
use crate::config::ledger::Said;
use crate::config::place::PlaceId;
use crate::config::raw::Texts;
use crate::config::similar;
use crate::identity::{AttributeName, Scope, ScopeSet};
use crate::reason::quoted;

/// Bytes of a rule's or owner's text.
const MAX_TEXT: usize = 200;
/// Bytes of an attribute's value.
const MAX_VALUE: usize = 255;

/// A sentence of the operator's: shown, never compared.
pub(super) fn words(what: &str, text: &str) -> Result<String, Said> {
    if text.trim().is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(Said::new(format!("{what} has 1 to {MAX_TEXT} bytes on one line")));
    }
    Ok(text.to_owned())
}

/// A list of scopes, at least one.
pub(super) fn scopes(desk: Desk<'_>, list: &Texts) -> Field<ScopeSet> {
    let made = list.try_each(desk.ledger, parsed("a scope", Scope::parse));
    // A set beyond its limit is the grammar's to refuse, as text is read.
    desk.not_empty(made, "scope").try_map(desk.ledger, |scopes| {
        let text: Vec<&str> = scopes.iter().map(|(scope, _)| scope.as_str()).collect();
        ScopeSet::parse(&text.join(" ")).map_err(|error| Said::new(format!("these scopes are not taken: {error}")))
    })
}

/// The name of an attribute, written as a key.
pub(super) fn attribute(desk: Desk<'_>, key: &str, at: PlaceId) -> Option<AttributeName> {
    AttributeName::parse(key).map_or_else(
        |error| {
            let meant = similar::nearest(key, ["source", "group", "path", "everyone"]);
            let hint = meant.map_or_else(|| error.to_string(), |meant| format!("did you mean `{meant}`?"));
            desk.ledger.problem(at, Said::new(format!("{} is not the name of an attribute", quoted(key))).hint(hint));
            None
        },
        Some,
    )
}

/// The value of an attribute, compared whole.
pub(super) fn attribute_value(text: &str) -> Result<String, Said> {
    if text.is_empty() || text.len() > MAX_VALUE || text.chars().any(|c| c.is_control()) {
        return Err(Said::new(format!("{} is not the value of an attribute", quoted(text))));
    }
    Ok(text.to_owned())
}
