//! Methods that are in the contract and not served yet.
//!
//! The one place that answers for them.

use axum::response::Response;
use tonic::Status;

use super::answer::failed;

pub(super) async fn introspect() -> Response {
    not_served("Introspect")
}

fn not_served(method: &str) -> Response {
    failed(&Status::unimplemented(format!("{method} is not served here.")))
}
