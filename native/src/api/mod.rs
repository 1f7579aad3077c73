//! The HTTP API that an operator and the operator's programs use to control their node. It listens
//! on localhost by default. Requests that change state need the token of the directory's
//! `api-token`. Every address has a rate limit and every body a cap. A `Host` name other than
//! localhost and the names that the operator allows is refused, so no web page can reach the API by
//! DNS rebinding.

mod error;
mod guard;
mod jobs;
mod listener;
mod proofs;
mod read;
mod seats;
mod submission;
mod view;

pub use guard::TOKEN_FILE;
#[cfg(test)]
pub use guard::{BURST, RATE_PER_SECOND};
pub use submission::FREE_BYTES_MIN;

use crate::{
    config::{HostName, HttpAddr},
    data::DATA_LEN_MAX,
    node::context::NodeContext,
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::header,
    middleware,
    response::IntoResponse,
    routing::{get, post},
    serve::ListenerExt as _,
};
use guard::{Guard, Token};
use std::{io::ErrorKind, net::SocketAddr, path::Path, sync::Arc};
use tequio_host::files;
use tokio::{net::TcpListener, sync::watch};

/// The OpenAPI description; a test compares it with the routes.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");
/// Largest request body, except for data sets, bytes.
pub const BODY_LEN_MAX: usize = 256 * 1024;

/// Shared state of the handlers.
#[derive(Clone)]
struct Api {
    context: Arc<NodeContext>,
    token: Arc<Token>,
}

/// The `Authorization` header of this program's own requests.
pub fn bearer(dir: &Path) -> anyhow::Result<String> {
    Ok(Token::read(&dir.join(TOKEN_FILE))?.bearer())
}

/// A running API server.
#[derive(Debug)]
pub struct Server {
    /// The address on which it listens.
    pub addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Opens the socket and serves. Creates the token file if it is missing.
    pub async fn start(
        dir: &Path,
        addr: &HttpAddr,
        hosts: Vec<HostName>,
        context: Arc<NodeContext>,
    ) -> anyhow::Result<Self> {
        let token = token(dir)?;
        let listener =
            TcpListener::bind(addr.as_str()).await.map_err(|error| cannot_listen(addr, error))?;
        let addr = listener.local_addr()?;
        let guard = Arc::new(Guard::new(context.clone(), hosts));
        let app = routes(Api { context, token: Arc::new(token) })
            .layer(middleware::from_fn_with_state(guard, guard::check))
            .into_make_service_with_connect_info::<SocketAddr>();
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            // axum gives handlers the client's address only from its own listeners and from tapped
            // ones.
            let listener = listener::Listener::new(listener).tap_io(|_| {});
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(until).await {
                tracing::error!(%error, "the HTTP API has ended");
            }
        });
        Ok(Self { addr, stop, task })
    }

    /// Accepts no new requests, and cuts off long ones.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let grace = std::time::Duration::from_secs(1);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(grace, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// The cause of a failed bind, with a remedy.
fn cannot_listen(addr: &HttpAddr, error: std::io::Error) -> anyhow::Error {
    let mend = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there: end it, or choose another port (0: any free one)"
        }
        ErrorKind::PermissionDenied => {
            "this user may not open the port: choose one of 1024 or above"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one of its own, or 127.0.0.1"
        }
        _ => "choose another address",
    };
    anyhow::Error::new(error).context(format!(
        "cannot serve HTTP on {addr}: {mend}, with --http or `http` in config.toml"
    ))
}

fn token(dir: &Path) -> anyhow::Result<Token> {
    let path = dir.join(TOKEN_FILE);
    if !path.exists() {
        files::write_atomic(
            &path,
            Token::spell(&*tequio_host::random::<32>()?).as_bytes(),
            files::PRIVATE,
        )?;
    }
    Token::read(&path)
}

fn routes(api: Api) -> Router {
    let data = DefaultBodyLimit::max(DATA_LEN_MAX);
    Router::new()
        .route("/v1/status", get(read::status))
        .route("/v1/peers", get(read::peers))
        .route("/v1/jobs", get(jobs::list).post(jobs::train).layer(data))
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .route("/v1/jobs/{id}/infer", post(jobs::infer).layer(data))
        .route("/v1/jobs/{id}/events", get(jobs::events))
        .route("/v1/jobs/{id}/proof", get(jobs::proof))
        .route("/v1/refs/{*name}", get(read::reference))
        .route("/v1/objects/{cid}", get(read::object))
        .route("/v1/accounts/{id}", get(read::account))
        .route("/v1/blocks/{height}", get(read::block))
        .route("/v1/checkpoint", get(proofs::checkpoint))
        .route("/v1/handovers", get(proofs::handovers))
        .route("/v1/events", get(read::events))
        .route("/v1/transactions", post(read::transact))
        .route("/v1/transactions/{id}", get(read::transaction))
        .route("/v1/openapi.json", get(openapi))
        .route("/v1/seat", get(seats::show))
        .route("/v1/seat/join", post(seats::join))
        .route("/v1/seat/bond", post(seats::bond))
        .route("/v1/seat/leave", post(seats::leave))
        .route("/v1/seat/keys", post(seats::rotate))
        .route("/v1/transfers", post(seats::transfer))
        .route("/v1/queue", get(read::queue))
        .route("/v1/queue/{number}", get(read::queued))
        .route("/metrics", get(read::metrics))
        .route("/healthz", get(read::health))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(api)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests {
    /// The routes above, as written in the source.
    fn routes() -> Vec<String> {
        let source = include_str!("mod.rs");
        let quoted =
            source.lines().filter_map(|l| l.trim().strip_prefix(".route(\"")?.split('"').next());
        quoted.map(|path| path.replace("{*name}", "{name}")).collect()
    }

    #[test]
    fn every_route_is_described() {
        let document: serde_json::Value = serde_json::from_str(super::OPENAPI).unwrap();
        let mut described: Vec<_> =
            document["paths"].as_object().unwrap().keys().cloned().collect();
        let mut routes = routes();
        described.sort();
        routes.sort();
        assert_eq!(described, routes);
    }
}
