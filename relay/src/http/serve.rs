//! Accepts connections, with TLS or without, and serves the router on them.
//!
//! Limits: concurrent connections, the time for a TLS handshake and for the head of a request
//! (which also ends idle connections), and the time during which a client reads nothing of an
//! answer. On shutdown running requests get [`GRACE`] to finish.

use super::write_timeout::WriteTimeout;
use crate::tls::Certificate;
use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tower::Layer;

const CONNECTIONS_MAX: usize = 1024;
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time during which a client may read nothing of an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Pause after a failed accept; the usual cause is too many open files.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// The client's address at the socket. Behind a reverse proxy it is the proxy's.
#[derive(Clone, Copy, Debug)]
pub struct ClientIp(pub IpAddr);

/// A running web server.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    secure: bool,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the socket and starts the server.
    pub async fn start(
        addr: SocketAddr,
        tls: Option<Arc<Certificate>>,
        router: Router,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let (addr, secure) = (listener.local_addr()?, tls.is_some());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(listener, tls, router, stopped));
        Ok(Self { addr, secure, stop, task })
    }

    /// The address, with the actual port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL: `http://…` or `https://…`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.addr)
    }

    /// Stops accepting, and lets running requests finish.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn run(
    listener: TcpListener,
    tls: Option<Arc<Certificate>>,
    router: Router,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT)
        .keep_alive_timeout(HEAD_TIMEOUT);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        // At the limit a connection is closed at once: the client may try again.
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let service =
            TowerToHyperService::new(Extension(ClientIp(peer.ip())).layer(router.clone()));
        let (builder, tls, watcher) = (builder.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let Some(io) = secured(socket, tls).await else { return };
            let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "HTTP connection");
            }
            drop(permit);
        });
    }
    drop(listener);
    let _ = timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
}

/// A connection with or without TLS.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

async fn secured(socket: TcpStream, tls: Option<Arc<Certificate>>) -> Option<Box<dyn Io>> {
    let _ = socket.set_nodelay(true);
    let socket = WriteTimeout::new(socket, WRITE_TIMEOUT);
    match tls {
        None => Some(Box::new(socket)),
        Some(certificate) => {
            match timeout(TLS_TIMEOUT, certificate.acceptor().accept(socket)).await {
                Ok(Ok(stream)) => Some(Box::new(stream)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "TLS handshake");
                    None
                }
                Err(_) => None,
            }
        }
    }
}
