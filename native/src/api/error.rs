//! Errors as callers see them: a status and `{"error": {"code", "message"}}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An error of the API.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// The caller's fault.
    pub fn bad(message: impl ToString) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "BAD_REQUEST", message: message.to_string() }
    }

    /// Not here.
    pub fn not_found(what: impl ToString) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "NOT_FOUND", message: format!("{} not found", what.to_string()) }
    }

    /// Without the token.
    pub fn unauthorized() -> Self {
        let message = format!("this needs the header `Authorization: Bearer TOKEN`, TOKEN as in {}", super::TOKEN_FILE);
        Self { status: StatusCode::UNAUTHORIZED, code: "UNAUTHORIZED", message }
    }

    /// Too often.
    pub fn limited() -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, code: "RATE_LIMITED", message: "too many requests".into() }
    }

    /// By a name that is not ours.
    pub fn host() -> Self {
        let message = "the Host header must be an IP address or localhost".into();
        Self { status: StatusCode::MISDIRECTED_REQUEST, code: "HOST", message }
    }

    /// The ledger does not take it.
    pub fn conflict(message: impl ToString) -> Self {
        Self { status: StatusCode::CONFLICT, code: "NOT_APPLIED", message: message.to_string() }
    }

    /// Ours.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the API cannot answer");
        let message = "the node cannot answer; its log says why".into();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "INTERNAL", message }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}
