//! The server of the HTTP API: its socket, its routes, and the handles of the node that each group
//! of routes uses.

use super::{
    guard::{self, Guard},
    jobs, listener,
    proofs::{self, ProofsApi},
    read::{self, ReadApi},
    seats::{self, SeatsApi},
    submission::JobsApi,
    token::{self, Token},
};
use crate::{
    config::{HostName, HttpAddr},
    data::DATA_LEN_MAX,
    node::Node,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef},
    http::header,
    middleware,
    response::IntoResponse,
    routing::{MethodRouter, get, post},
    serve::ListenerExt as _,
};
use std::{io::ErrorKind, net::SocketAddr, path::Path, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// The OpenAPI description; a test compares it with the routes.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");
/// Largest request body, except for data sets, bytes.
pub const BODY_LEN_MAX: usize = 256 * 1024;

/// Shared state of the handlers.
#[derive(Clone)]
struct Api {
    read: Arc<ReadApi>,
    jobs: Arc<JobsApi>,
    seats: Arc<SeatsApi>,
    proofs: Arc<ProofsApi>,
    token: Arc<Token>,
}

impl Api {
    fn new(node: &Node, token: Token) -> Self {
        Self {
            read: Arc::new(ReadApi {
                chain: node.chain.clone(),
                store: node.store.clone(),
                network: node.network.clone(),
                mempool: node.mempool.clone(),
                admission: node.admission.clone(),
                coordinators: node.coordinators.clone(),
                outbox: node.outbox.clone(),
                sync_status: node.sync_status.clone(),
                metrics: node.metrics.clone(),
                events: node.events.clone(),
            }),
            jobs: Arc::new(JobsApi {
                chain: node.chain.clone(),
                store: node.store.clone(),
                jobs: node.jobs.clone(),
                objects: node.objects.clone(),
                outbox: node.outbox.clone(),
            }),
            seats: Arc::new(SeatsApi {
                chain: node.chain.clone(),
                stored_keys: node.stored_keys.clone(),
                outbox: node.outbox.clone(),
                replica: node.replica.clone(),
            }),
            proofs: Arc::new(ProofsApi {
                chain: node.chain.clone(),
                store: node.store.clone(),
                checkpoint: node.checkpoint.clone(),
            }),
            token: Arc::new(token),
        }
    }
}

impl FromRef<Api> for Arc<ReadApi> {
    fn from_ref(api: &Api) -> Self {
        api.read.clone()
    }
}

impl FromRef<Api> for Arc<JobsApi> {
    fn from_ref(api: &Api) -> Self {
        api.jobs.clone()
    }
}

impl FromRef<Api> for Arc<SeatsApi> {
    fn from_ref(api: &Api) -> Self {
        api.seats.clone()
    }
}

impl FromRef<Api> for Arc<ProofsApi> {
    fn from_ref(api: &Api) -> Self {
        api.proofs.clone()
    }
}

impl FromRef<Api> for Arc<Token> {
    fn from_ref(api: &Api) -> Self {
        api.token.clone()
    }
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
        node: &Node,
    ) -> anyhow::Result<Self> {
        let token = token::load_or_create(dir)?;
        let listener =
            TcpListener::bind(addr.as_str()).await.map_err(|error| cannot_listen(addr, error))?;
        let addr = listener.local_addr()?;
        let guard = Arc::new(Guard::new(node.metrics.clone(), node.store.clone(), hosts));
        let app = router(Api::new(node, token))
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
    let remedy = match error.kind() {
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
        "cannot serve HTTP on {addr}: {remedy}, with --http or `http` in config.toml"
    ))
}

/// Every route: its path and its handlers.
fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    let data = DefaultBodyLimit::max(DATA_LEN_MAX);
    vec![
        ("/v1/status", get(read::status)),
        ("/v1/peers", get(read::peers)),
        ("/v1/jobs", get(jobs::list).post(jobs::train).layer(data)),
        ("/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel)),
        ("/v1/jobs/{id}/infer", post(jobs::infer).layer(data)),
        ("/v1/jobs/{id}/events", get(jobs::events)),
        ("/v1/jobs/{id}/proof", get(jobs::proof)),
        ("/v1/refs/{*name}", get(read::reference)),
        ("/v1/objects/{cid}", get(read::object)),
        ("/v1/accounts/{id}", get(read::account)),
        ("/v1/blocks/{height}", get(read::block)),
        ("/v1/checkpoint", get(proofs::checkpoint)),
        ("/v1/handovers", get(proofs::handovers)),
        ("/v1/events", get(read::events)),
        ("/v1/transactions", post(read::transact)),
        ("/v1/transactions/{id}", get(read::transaction)),
        ("/v1/openapi.json", get(openapi)),
        ("/v1/seat", get(seats::show)),
        ("/v1/seat/join", post(seats::join)),
        ("/v1/seat/bond", post(seats::bond)),
        ("/v1/seat/leave", post(seats::leave)),
        ("/v1/seat/keys", post(seats::rotate)),
        ("/v1/transfers", post(seats::transfer)),
        ("/v1/queue", get(read::queue)),
        ("/v1/queue/{number}", get(read::queued)),
        ("/metrics", get(read::metrics)),
        ("/healthz", get(read::health)),
    ]
}

fn router(api: Api) -> Router {
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, handlers)| router.route(path, handlers));
    router.layer(DefaultBodyLimit::max(BODY_LEN_MAX)).with_state(api)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_route_is_described() {
        let document: serde_json::Value = serde_json::from_str(super::OPENAPI).unwrap();
        let mut described: Vec<_> =
            document["paths"].as_object().unwrap().keys().cloned().collect();
        let mut routes: Vec<String> =
            super::routes().iter().map(|(path, _)| path.replace("{*name}", "{name}")).collect();
        described.sort();
        routes.sort();
        assert_eq!(described, routes);
    }
}
