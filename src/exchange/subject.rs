//! For whom the caller acts.
//!
//! A subject's token never authenticates the caller.

use super::ExchangeRequest;
use crate::reason::{Denied, Refusal};
use crate::verify::Subject;

/// The verified subject of the request, if it has one.
///
/// # Errors
/// What is wrong with its token.
pub(super) fn verified(request: &ExchangeRequest) -> Result<Option<Subject>, Refusal> {
    if request.subject.is_none() && request.actor.is_none() {
        return Ok(None);
    }
    Err(Refusal::denied(Denied::DelegationDenied, "Acting for somebody else is not served here.", ""))
}
