//! Errors as clients see them: a status and `{"error": {"code", "message"}}`.

use crate::{
    node::mempool::{Rejected, verify::admission::NotAccepted},
    store::OutboxError,
};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Seconds after which a client may retry when the mempool had no room: a few blocks.
const BUSY_RETRY_S: u32 = 2;

/// Characters of an unknown `Host` that the error message repeats.
const HOST_SHOWN_CHARS_MAX: usize = 80;

/// An error of the API.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u32>,
}

impl ApiError {
    /// The request is invalid.
    pub fn bad(message: impl ToString) -> Self {
        Self::of(StatusCode::BAD_REQUEST, "BAD_REQUEST", message.to_string())
    }

    /// The router or an extractor refused the request before a handler received it.
    pub fn refused(status: StatusCode, message: &str) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => "NOT_FOUND",
            StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
            StatusCode::PAYLOAD_TOO_LARGE => "TOO_LARGE",
            _ => "BAD_REQUEST",
        };
        Self::of(status, code, message.to_owned())
    }

    /// The requested item does not exist.
    pub fn not_found(what: impl ToString) -> Self {
        Self::of(StatusCode::NOT_FOUND, "NOT_FOUND", format!("{} not found", what.to_string()))
    }

    /// A job that the ledger does not have.
    pub fn no_job(id: impl std::fmt::Display) -> Self {
        let message = format!(
            "job {id} not found: it is of another network, or this node is behind; `tequio job \
             list` shows the jobs of this node's ledger"
        );
        Self::of(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// The requested item existed, but was pruned.
    pub fn pruned(message: impl ToString) -> Self {
        Self::of(StatusCode::GONE, "PRUNED", message.to_string())
    }

    /// The request lacks the token.
    pub fn unauthorized() -> Self {
        let message = format!(
            "this needs the header `Authorization: Bearer TOKEN`, TOKEN as in {}",
            super::token::TOKEN_FILE
        );
        Self::of(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// The address exceeds its rate limit.
    pub fn limited() -> Self {
        let error =
            Self::of(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many requests".into());
        Self { retry_after_s: Some(1), ..error }
    }

    /// The `Host` is not a name of this node.
    pub fn host(host: &str) -> Self {
        // Repeats only a part of the client's text.
        let host: String = host.chars().take(HOST_SHOWN_CHARS_MAX).collect();
        let message = format!(
            "the Host header is {host:?}, but must be an IP address, localhost, or a name in the \
             node's `http_hosts` (--http-host, TEQUIO_HTTP_HOSTS)"
        );
        Self::of(StatusCode::MISDIRECTED_REQUEST, "HOST", message)
    }

    /// The ledger refuses the request.
    pub fn conflict(message: impl ToString) -> Self {
        Self::of(StatusCode::CONFLICT, "NOT_APPLIED", message.to_string())
    }

    /// The client's key belongs to another submission.
    pub fn key_reused(message: impl ToString) -> Self {
        Self::of(StatusCode::UNPROCESSABLE_ENTITY, "KEY_REUSED", message.to_string())
    }

    /// Too many transactions of this sender wait already; there is room for other senders.
    pub fn sender_full(message: impl ToString) -> Self {
        let error = Self::of(StatusCode::TOO_MANY_REQUESTS, "SENDER_FULL", message.to_string());
        Self { retry_after_s: Some(BUSY_RETRY_S), ..error }
    }

    /// No room now: the same request may succeed later.
    pub fn busy(message: impl ToString) -> Self {
        let error = Self::of(StatusCode::SERVICE_UNAVAILABLE, "BUSY", message.to_string());
        Self { retry_after_s: Some(BUSY_RETRY_S), ..error }
    }

    /// The disk is full.
    pub fn storage(message: impl ToString) -> Self {
        Self::of(StatusCode::INSUFFICIENT_STORAGE, "STORAGE", message.to_string())
    }

    /// An internal error.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "the API cannot answer");
        let message = "the node cannot answer; its log has the cause".into();
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
    }

    const fn of(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message, retry_after_s: None }
    }
}

impl From<NotAccepted> for ApiError {
    fn from(error: NotAccepted) -> Self {
        match error {
            NotAccepted::Rejected(Rejected::Full) => Self::busy(error),
            NotAccepted::Rejected(Rejected::SenderFull) => Self::sender_full(error),
            NotAccepted::Rejected(_) | NotAccepted::Invalid(_) => Self::conflict(error),
        }
    }
}

impl From<OutboxError> for ApiError {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Full => Self::busy(error),
            OutboxError::KeyReused(_) => Self::key_reused(error),
            OutboxError::Store(error) => Self::internal(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        let retry_after = self.retry_after_s.map(|s| [(header::RETRY_AFTER, s.to_string())]);
        (self.status, retry_after, Json(body)).into_response()
    }
}
