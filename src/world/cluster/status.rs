//! The `Status` objects in which an API server refuses.
//!
//! Never a word of the token that was shown.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// A refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<(String, String)>,
}

impl Refusal {
    /// The credential is no good.
    pub(super) fn unauthorized() -> Self {
        Self {
            code: StatusCode::UNAUTHORIZED,
            reason: "Unauthorized",
            message: String::from("Unauthorized"),
            details: None,
        }
    }

    /// The caller may not do that.
    pub(super) fn forbidden(user: &str, what: &str) -> Self {
        Self {
            code: StatusCode::FORBIDDEN,
            reason: "Forbidden",
            message: format!("forbidden: User \"{user}\" cannot {what}"),
            details: None,
        }
    }

    /// There is no such object.
    pub(super) fn not_found(plural: &str, name: &str) -> Self {
        let message = format!("{plural} \"{name}\" not found");
        let details = Some((plural.to_owned(), name.to_owned()));
        Self { code: StatusCode::NOT_FOUND, reason: "NotFound", message, details }
    }

    /// Another object stands in the way.
    pub(super) fn conflict(message: String) -> Self {
        Self { code: StatusCode::CONFLICT, reason: "Conflict", message, details: None }
    }

    /// A field breaks a rule.
    pub(super) fn invalid(message: String) -> Self {
        Self { code: StatusCode::UNPROCESSABLE_ENTITY, reason: "Invalid", message, details: None }
    }

    /// The body is no such request.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.into(), details: None }
    }

    /// The server's own fault.
    pub(super) fn internal(message: String) -> Self {
        Self { code: StatusCode::INTERNAL_SERVER_ERROR, reason: "InternalError", message, details: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
            "details": self.details.map_or(json!({}), |(kind, name)| json!({ "kind": kind, "name": name })),
        });
        (self.code, Json(status)).into_response()
    }
}
