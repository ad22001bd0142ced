//! A refusal as a status with its details (GRP-02, GRP-03).
//!
//! Says what the same refusal says over HTTP, and no more.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::exchange::ErrorRef;
use crate::reason::{Reason, Refusal};
use crate::wire::render::{DPOP_NONCE, render_about};

/// The domain of our reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "countersign";

/// The status of a refusal, with its reference.
pub(super) fn refused(refusal: &Refusal, reference: &ErrorRef) -> Status {
    let rendered = render_about(refusal.reason(), refusal.is_about());
    if refusal.reason() == Reason::Internal {
        tracing::error!(reference = reference.as_str(), note = refusal.to_operator(), "a fault of ours");
    }
    let metadata = HashMap::from([("ref".to_owned(), reference.to_string())]);
    let mut details = ErrorDetails::with_error_info(refusal.reason().code().to_uppercase(), DOMAIN, metadata);
    if let Some(after) = refusal.retry_after() {
        details.set_retry_info(Some(after.to_duration()));
    }
    let said = format!("{} ref {reference}", refusal.to_caller());
    let mut status = Status::with_error_details(rendered.grpc, said, details);
    if let Some(Ok(nonce)) = refusal.nonce().map(str::parse) {
        status.metadata_mut().insert(DPOP_NONCE, nonce);
    }
    status
}

/// The end of a stream because the process ends.
pub(super) fn draining() -> Status {
    let details = ErrorDetails::with_error_info("DRAINING", DOMAIN, HashMap::new());
    Status::with_error_details(Code::Unavailable, "draining: this process ends, connect again", details)
}

/// The time that the caller gave, or that a call may have, is over.
pub(super) fn too_late() -> Status {
    Status::deadline_exceeded("No answer was ready in time.")
}

/// A call whose message ended in the middle: its sender is gone or has given up.
pub(super) fn cut_short() -> Status {
    Status::cancelled("The message ended before it was whole.")
}
