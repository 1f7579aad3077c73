//! Checks before every handler: the rate limit of each address, the `Host` header, and the token
//! for requests that change state.

use super::{error::ApiError, token::Token};
use crate::{config::HostName, node::telemetry::metrics::Metrics, store::Store};
use axum::{
    extract::{ConnectInfo, FromRef, FromRequestParts, Request, State},
    http::{StatusCode, Version, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};
use tequio_host::RateLimit;

/// Requests of one address per second.
pub const RATE_PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Largest burst of requests of one address.
pub const BURST: NonZeroU32 = NonZeroU32::new(300).unwrap();

/// Counts requests by address, and checks `Host` against the names of this node.
pub struct Guard {
    metrics: Arc<Metrics>,
    store: Arc<Store>,
    hosts: Vec<HostName>,
    rate: RateLimit,
}

impl Guard {
    /// A guard without any counted requests.
    pub fn new(metrics: Arc<Metrics>, store: Arc<Store>, hosts: Vec<HostName>) -> Self {
        Self { metrics, store, hosts, rate: RateLimit::start(RATE_PER_SECOND, BURST) }
    }
}

/// The middleware that runs the checks.
pub async fn check(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(addr): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    guard.metrics.http_requests.inc();
    if guard.rate.check(addr.ip()).is_err() {
        guard.metrics.http_limited.inc();
        return ApiError::limited().into_response();
    }
    if let Err(host) = check_host(&request, &guard.hosts) {
        return ApiError::host(&host).into_response();
    }
    let response = as_api_error(next.run(request).await).await;
    // If a write failed, it is the cause of any handler's error, and the node ends because of it.
    match guard.store.failures().borrow().clone() {
        Some(failure) if response.status() == StatusCode::INTERNAL_SERVER_ERROR => {
            ApiError::storage(failure).into_response()
        }
        _ => response,
    }
}

/// Turns a plain-text refusal of the router or an extractor (a query that does not parse, a body
/// that is too large, an unknown path) into an [`ApiError`].
async fn as_api_error(response: Response) -> Response {
    const TEXT_LEN_MAX: usize = 4096;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !status.is_client_error() || kind.is_some_and(|kind| !kind.starts_with("text/plain")) {
        return response;
    }
    let (head, body) = response.into_parts();
    let text = axum::body::to_bytes(body, TEXT_LEN_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let reason = status.canonical_reason().unwrap_or("refused");
    let mut response =
        ApiError::refused(status, if text.is_empty() { reason } else { &text }).into_response();
    if let Some(methods) = head.headers.get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, methods.clone());
    }
    response
}

/// Refuses a request whose `Host` may come from foreign DNS (rebinding), and returns that `Host`.
///
/// HTTP/1.0 requests need no `Host`: health probes of load balancers send none. DNS rebinding
/// attacks browsers, which use HTTP/1.1 or later and always send a `Host`.
fn check_host(request: &Request, names: &[HostName]) -> Result<(), String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    match (first.map(|host| host.to_str()), second) {
        (None, _) if request.version() <= Version::HTTP_10 => Ok(()),
        (Some(Ok(host)), None) if is_allowed(host, names) => Ok(()),
        (first, _) => Err(first.and_then(Result::ok).unwrap_or_default().to_owned()),
    }
}

/// Whether a `Host` is an IP address, `localhost`, or a name that the operator has allowed.
fn is_allowed(host: &str, names: &[HostName]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok()
        || names.iter().any(|allowed| allowed.is(name))
}

/// An extractor for handlers that change state. It succeeds only with the right token.
pub struct Authorized;

impl<S> FromRequestParts<S> for Authorized
where
    S: Send + Sync,
    Arc<Token>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        let token = Arc::<Token>::from_ref(state);
        match given.and_then(|h| h.strip_prefix("Bearer ")) {
            Some(given) if token.is(given.trim()) => Ok(Self),
            _ => Err(ApiError::unauthorized()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of this HTTP version, with these `Host` headers.
    fn request(version: Version, hosts: &[&str]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        *request.version_mut() = version;
        for host in hosts {
            request.headers_mut().append(header::HOST, host.parse().unwrap());
        }
        request
    }

    #[test]
    fn only_ip_addresses_localhost_and_allowed_names_are_accepted_as_host() {
        let names = ["node1".parse().unwrap(), "tequio.example".parse().unwrap()];
        let check = |host: &str, names: &[HostName]| {
            check_host(&request(Version::HTTP_11, &[host]), names).is_ok()
        };
        for good in [
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:4811",
            "LOCALHOST",
            "[::1]:4811",
            "[::1]",
            "10.1.2.3:1",
        ] {
            assert!(check(good, &[]) && check(good, &names), "{good}");
        }
        for named in ["node1", "node1:4811", "NODE1:1", "tequio.example", "tequio.example.:4811"] {
            assert!(!check(named, &[]) && check(named, &names), "{named}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:4811",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
            ":80",
            "node1.evil.example",
            "tequio.example.evil.example",
        ] {
            assert!(!check(bad, &names), "{bad}");
        }
    }

    #[test]
    fn only_http_1_0_requests_may_omit_the_host() {
        let check = |version, hosts: &[&str]| check_host(&request(version, hosts), &[]).is_ok();
        assert!(check(Version::HTTP_10, &[]) && check(Version::HTTP_10, &["127.0.0.1"]));
        assert!(!check(Version::HTTP_10, &["evil.example"]));
        assert!(!check(Version::HTTP_11, &[]) && !check(Version::HTTP_2, &[]));
        assert!(!check(Version::HTTP_11, &["127.0.0.1", "evil.example"]), "two hosts");
    }

    #[tokio::test]
    async fn plain_text_refusals_become_api_errors() {
        let plain = (StatusCode::BAD_REQUEST, "count: invalid digit").into_response();
        for (response, message) in
            [(plain, "count: invalid digit"), (StatusCode::NOT_FOUND.into_response(), "Not Found")]
        {
            let status = response.status();
            let response = as_api_error(response).await;
            assert_eq!(response.status(), status);
            let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["message"], message);
        }
        let own = as_api_error(ApiError::unauthorized().into_response()).await;
        let body = axum::body::to_bytes(own.into_body(), 4096).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("UNAUTHORIZED"), "as it was");
    }
}
