//! Reads the socket of a listener and delivers each datagram to its connection.
//!
//! STUN with a known USERNAME belongs to its connection (a browser tries several addresses), and
//! STUN with a new valid one creates a connection. All other datagrams are routed by source
//! address. The rest is dropped without an answer, as are requests that fail their integrity check,
//! requests of ended connections, and handshakes that `admission` refuses.

use super::{
    driver::{Driver, Ready},
    ice,
    muxer::Connection,
    routes::{self, Datagram, Link, RouteGuard, Routes},
    shared::{HANDSHAKE_TIMEOUT, Shared, Upgrade},
    socket::{Buffers, Received, Socket},
};
use crate::{Closed, Error, auth, budget::Budget};
use futures::FutureExt;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Pause after a failed read, so that a broken socket does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(1);

/// A new connection whose first STUN message is valid.
pub struct Incoming {
    pub remote: SocketAddr,
    pub upgrade: Upgrade,
}

/// The reading half of a listener.
pub struct Demultiplexer {
    pub socket: Arc<Socket>,
    pub bound: SocketAddr,
    pub shared: Arc<Shared>,
    pub routes: Arc<Mutex<Routes>>,
}

impl Demultiplexer {
    /// Reads until the receiver of `incoming` is gone.
    pub async fn run(self, incoming: impl Fn(Incoming) -> bool) {
        let mut buffers = Buffers::of_listener();
        let mut is_wanted = true;
        while is_wanted {
            let each =
                |received: Received<'_>| is_wanted = is_wanted && self.route(received, &incoming);
            if let Err(error) = self.socket.receive(&mut buffers, each).await {
                // ICMP errors of earlier sends surface here; each concerns one peer only.
                tracing::debug!(%error, "recvmsg");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }

    /// Delivers a datagram to its connection, and creates the connection if needed. Returns false
    /// if the receiver of new connections is gone.
    fn route(&self, received: Received<'_>, incoming: impl Fn(Incoming) -> bool) -> bool {
        let Received { source, at, data, .. } = received;
        if !ice::is_stun(data) {
            let links = routes::lock(&self.routes).by_address(source, data);
            links.iter().flatten().for_each(|link| link.deliver(received.into()));
            return true;
        }
        let Some(user) = ice::username(data) else { return true };
        let known = routes::lock(&self.routes).by_user(user);
        let link = match known {
            Some(link) => link,
            None => match self.accept(data, user, source, at) {
                None => return true,
                Some((link, upgrade)) => {
                    if !incoming(Incoming { remote: source, upgrade }) {
                        return false;
                    }
                    link
                }
            },
        };
        link.deliver(received.into());
        true
    }

    /// Creates a connection for a dialer, unless its request is invalid or the limits forbid it.
    fn accept(
        &self,
        data: &[u8],
        user: &str,
        source: SocketAddr,
        at: Instant,
    ) -> Option<(Arc<Link>, Upgrade)> {
        let Some(credentials) = ice::credentials(user) else {
            tracing::debug!(%source, "unusable STUN username");
            return None;
        };
        if routes::lock(&self.routes).is_retired(user, at) {
            tracing::debug!(%source, "STUN request of a connection that has ended");
            return None;
        }
        if !ice::is_authentic(data, &credentials.server_ufrag, &self.shared.crypto) {
            tracing::debug!(%source, "forged STUN request");
            return None;
        }
        let permit = match self.shared.admission.admit(source.ip(), at) {
            Ok(permit) => permit,
            Err(refused) => {
                tracing::debug!(%source, ?refused, "handshake not admitted");
                return None;
            }
        };
        let budget = Budget::new(self.shared.pool.clone());
        let (link, datagrams) = {
            let mut routes = routes::lock(&self.routes);
            if routes.connections() >= self.shared.config.max_connections {
                tracing::debug!(%source, "too many connections");
                return None;
            }
            routes.insert(user, budget.clone())
        };
        let route_guard = RouteGuard::new(&self.routes, &link);
        let (shared, socket, bound) = (self.shared.clone(), self.socket.clone(), self.bound);
        let upgrade = async move {
            let _permit = permit;
            let handshake = async {
                let made = Driver::accept(
                    &shared,
                    socket,
                    bound,
                    route_guard,
                    datagrams,
                    budget.clone(),
                    credentials,
                )?;
                let (connection, ready) = spawn(made);
                let (client, stream) = ready.await.map_err(|_| Closed::InHandshake)?;
                let server = shared.certificate.fingerprint();
                let max_unread = shared.config.max_unread_per_connection;
                let let_in = move || budget.authenticated(max_unread);
                let peer = auth::as_server(&shared.keys, stream, client, server, let_in).await?;
                Ok((peer, connection))
            };
            tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or(Err(Error::Timeout))
        };
        Some((link, upgrade.boxed()))
    }
}

/// Starts a driver; it ends when the connection is dropped.
pub fn spawn((driver, connection, ready): (Driver, Connection, Ready)) -> (Connection, Ready) {
    tokio::spawn(driver.run());
    (connection, ready)
}

/// Reads the socket of a dialer, which has one connection only, until that connection ends.
pub async fn read_for(socket: Arc<Socket>, remote: SocketAddr, datagrams: mpsc::Sender<Datagram>) {
    let mut buffers = Buffers::of_dialer();
    loop {
        let each = |received: Received<'_>| {
            if received.source == remote {
                let _ = datagrams.try_send(received.into());
            }
        };
        let received = tokio::select! {
            received = socket.receive(&mut buffers, each) => received,
            () = datagrams.closed() => return,
        };
        if let Err(error) = received {
            tracing::debug!(%error, "recvmsg");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
}
