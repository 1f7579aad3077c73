//! The network over real sockets on loopback. All tests wait for events; a time limit only ends a
//! test that hangs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod direct;
mod happy_eyeballs;
mod hostile;
mod idle_timeout;
mod notifications;
mod persistent;
mod relayed;
mod upgrade;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tequio_core::types::NodeId;
use tequio_p2p::{Config, Event, Multiaddr, Network, PeerInfo, Protocol, spawn};
use tokio::sync::mpsc;

/// Far above the duration of any step, even on a busy machine: a process with a hundredth of a core
/// reads its sockets so rarely that the system drops datagrams, and 4 MiB over QUIC took 50 s.
const LIMIT: Duration = Duration::from_secs(300);
const REQUEST: Duration = Duration::from_secs(280);

/// A node that answers every request by a function, and exposes its other events.
struct Node {
    net: Network,
    events: mpsc::UnboundedReceiver<Event>,
}

/// A secret that is unique in this run.
fn secret() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut secret = [0x5a; 32];
    secret[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    secret
}

fn config() -> Config {
    Config::new(secret())
}

/// Answers with the request itself, up to the protocol's cap.
fn echo(protocol: Protocol, body: Vec<u8>) -> Option<Vec<u8>> {
    Some(body.into_iter().take(protocol.response_max()).collect())
}

impl Node {
    fn new(config: Config) -> Self {
        Self::answering(config, echo)
    }

    fn answering(
        config: Config,
        mut answer: impl FnMut(Protocol, Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let (net, mut events) = spawn(config).unwrap();
        let (tx, rx) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::InboundRequest { protocol, body, reply, .. } => {
                        if let Some(body) = answer(protocol, body) {
                            reply.send(body);
                        }
                    }
                    other => drop(tx.send(other)),
                }
            }
        });
        Self { net, events: rx }
    }

    fn id(&self) -> NodeId {
        self.net.local_id()
    }

    /// Listens and returns the address with the local peer id.
    async fn listen(&self, addr: &str) -> Multiaddr {
        let addr = within(self.net.listen(addr.parse().unwrap())).await.unwrap();
        tequio_p2p::identity::with_peer(addr, self.id())
    }

    /// Returns the next event that `pick` accepts; drops the others.
    async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        within(async {
            loop {
                if let Some(found) = pick(self.events.recv().await.expect("the network has ended"))
                {
                    return found;
                }
            }
        })
        .await
    }

    async fn request(
        &self,
        peer: NodeId,
        protocol: Protocol,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, tequio_p2p::RequestError> {
        within(self.net.request(peer, protocol, body, REQUEST)).await
    }
}

/// Waits until the node's entry of a peer satisfies the predicate. Identify has no event.
async fn until_peer(node: &Node, peer: NodeId, holds: impl Fn(&PeerInfo) -> bool) -> PeerInfo {
    within(async {
        loop {
            if let Some(info) = node.net.peer(peer).filter(&holds) {
                return info;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("still waiting")
}

/// Bytes that differ from one position to the next.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}
