//! What stands before every handler: the rate of each address, the `Host` header, and the token for what changes
//! state.

use super::{Api, error::ApiError};
use crate::{files, node::context::Context};
use anyhow::Context as _;
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::Path,
    sync::Arc,
};

/// Name of the file with the token, in a node's directory.
pub const TOKEN_FILE: &str = "api-token";
const TOKEN_LEN_MAX: usize = 256;
/// Requests of one address in a second.
const RATE_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Requests of one address at once.
const BURST: NonZeroU32 = NonZeroU32::new(300).unwrap();
/// Addresses above which idle ones are forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// Counts requests by address.
pub struct Guard {
    context: Arc<Context>,
    limiter: DefaultKeyedRateLimiter<IpAddr>,
}

impl Guard {
    /// Nobody has asked yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, limiter: RateLimiter::keyed(Quota::per_second(RATE_PER_SECOND).allow_burst(BURST)) }
    }
}

/// The middleware.
pub async fn check(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(addr): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    guard.context.metrics.http_requests.inc();
    if guard.limiter.len() > ADDRESSES_MAX {
        guard.limiter.retain_recent();
    }
    if guard.limiter.check_key(&addr.ip()).is_err() {
        guard.context.metrics.http_limited.inc();
        return ApiError::limited().into_response();
    }
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    if !host.is_some_and(is_literal) {
        return ApiError::host().into_response();
    }
    next.run(request).await
}

/// Whether a `Host` cannot have been chosen by somebody's DNS.
fn is_literal(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// What proves that a caller may change state. Its text is never shown.
pub struct Token(String);

impl Token {
    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("cannot read {}", path.display());
        let bytes = files::read_capped(path, TOKEN_LEN_MAX).with_context(place)?;
        let text = String::from_utf8(bytes).with_context(place)?.trim().to_owned();
        anyhow::ensure!(text.len() >= 16, "{}: the token is too short", path.display());
        Ok(Self(text))
    }

    /// Random bytes as text.
    pub fn spell(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// For the header of this program's own requests.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Compares in a time that says nothing about where the difference is.
    fn is(&self, other: &str) -> bool {
        let differences = self.0.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
        self.0.len() == other.len() && std::hint::black_box(differences) == 0
    }
}

/// An argument of handlers that change state: there only if the token is right.
pub struct Authorized;

impl FromRequestParts<Api> for Authorized {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        match given.and_then(|h| h.strip_prefix("Bearer ")) {
            Some(token) if api.token.is(token.trim()) => Ok(Self),
            _ => Err(ApiError::unauthorized()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_no_dns_can_choose() {
        for good in ["127.0.0.1", "127.0.0.1:80", "localhost:4811", "LOCALHOST", "[::1]:4811", "[::1]", "10.1.2.3:1"] {
            assert!(is_literal(good), "{good}");
        }
        for bad in
            ["", "evil.example", "evil.example:4811", "127.0.0.1.evil.example", "localhost.evil.example:1", ":80"]
        {
            assert!(!is_literal(bad), "{bad}");
        }
    }

    #[test]
    fn the_token_is_compared_as_a_whole() {
        let token = Token("0123456789abcdef".into());
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdee"] {
            assert!(!token.is(wrong), "{wrong}");
        }
    }
}
