//! The web server: the page, the checkpoint, `/.well-known/tequio.json`, health and metrics.
//!
//! | path | contents | CORS |
//! |---|---|---|
//! | `/.well-known/tequio.json` | the document of `well_known` | any origin |
//! | `/checkpoint.bin` | the file of `--checkpoint`; trusted by its hash only | any origin |
//! | `/healthz` | 200 while a full node is healthy, else 503 | |
//! | `/metrics` | OpenMetrics text | |
//! | all else | files of the page | the page's own origin |
//!
//! The document has the addresses for browsers, the chain, the checkpoint's path, and the STUN and
//! TURN servers with a fresh credential.
//!
//! Browsers that accept it get the compressed form (`.br`, `.gz`) of a file, if there is one.
//! `cache` decides what browsers may cache, and for how long. Every answer carries the
//! [`CONTENT_SECURITY_POLICY`]. Each client has a rate limit, each connection a time-out, and the
//! number of connections is bounded.

mod cache;
mod serve;
mod site;
mod well_known;
mod write_timeout;

pub use serve::{ClientIp, Server};
pub use site::{CHECKPOINT_PATH, CheckpointFile, Site};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY as CSP,
            CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tequio_core::ledger::genesis::FILE_LEN_MAX;
use tequio_host::{RateLimit, files};
use tower::Layer;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

/// The permissions of the page, and of any page that uses the package: its own scripts and workers,
/// WebAssembly, and connections to relays anywhere. The policy does not restrict WebRTC.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' \
                                           'wasm-unsafe-eval'; worker-src 'self' blob:; style-src \
                                           'self' 'unsafe-inline'; img-src 'self' data: blob:; \
                                           font-src 'self'; connect-src 'self' ws: wss: http: \
                                           https:; manifest-src 'self'; base-uri 'none'; \
                                           form-action 'none'; frame-ancestors 'none'";

/// Path of the document with the addresses.
pub const WELL_KNOWN_PATH: &str = "/.well-known/tequio.json";
/// Time limit for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// All routes, with limits and headers.
pub fn router(site: Arc<Site>, page: Option<&Path>, requests_per_s: u32) -> Router {
    let public = Router::new()
        .route(WELL_KNOWN_PATH, get(well_known::answer))
        .route(CHECKPOINT_PATH, get(checkpoint))
        .layer(middleware::from_fn(cache::with_etag))
        .layer(SetResponseHeaderLayer::overriding(
            ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ));
    let own = Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .with_state(site.clone());
    let routes = public.with_state(site.clone()).merge(own);
    let routes = match page {
        Some(dir) => {
            let files = ServeDir::new(dir).precompressed_br().precompressed_gzip();
            routes.fallback_service(middleware::from_fn(cache::cache_file).layer(files))
        }
        None => routes.fallback(no_page),
    };
    let header =
        |name, value| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    routes
        .layer(header(CACHE_CONTROL, "no-cache"))
        .layer(header(CSP, CONTENT_SECURITY_POLICY))
        .layer(header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(REFERRER_POLICY, "no-referrer"))
        .layer(header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(middleware::from_fn_with_state((site, crate::rate_limit(requests_per_s)), guard))
}

/// Limits each client's rate and each request's time, and counts the answers.
async fn guard(
    State((site, limiter)): State<(Arc<Site>, RateLimit)>,
    Extension(ClientIp(ip)): Extension<ClientIp>,
    request: Request,
    next: Next,
) -> Response {
    let response = match limiter.check(ip) {
        Ok(()) => {
            let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
            answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
        }
        Err(wait) => {
            let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)], "too many requests\n")
                .into_response()
        }
    };
    site.metrics.count_http(response.status().as_u16());
    response
}

async fn checkpoint(State(site): State<Arc<Site>>) -> Response {
    let Some(file) = site.checkpoint.clone() else {
        return (StatusCode::NOT_FOUND, "this relay has no checkpoint\n").into_response();
    };
    let read =
        tokio::task::spawn_blocking(move || files::read_capped(&file.path, FILE_LEN_MAX)).await;
    match read.map_err(std::io::Error::other).flatten() {
        Ok(bytes) => ([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot read the checkpoint");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn healthz(State(site): State<Arc<Site>>) -> Response {
    let (named, healthy) = site.forwarder.upstreams().count(Instant::now());
    let status = if healthy > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({"nodes": named, "nodesHealthy": healthy,
    "peers": site.network.peers().len()});
    (status, axum::Json(body)).into_response()
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let (_, healthy) = site.forwarder.upstreams().count(Instant::now());
    let text = site.metrics.render(&site.network, site.turn.as_deref(), healthy);
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

async fn no_page() -> Response {
    (
        StatusCode::NOT_FOUND,
        "this relay serves no page; its addresses are at /.well-known/tequio.json\n",
    )
        .into_response()
}
