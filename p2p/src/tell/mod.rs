//! One-way messages between members of a committee, over one long-lived substream a peer and direction.
//!
//! [`Hub::tell`] puts a message into the queue of each receiver, without a turn in the swarm's loop; the task of the
//! peer's best connection carries what waits there ([`writer`]). Nothing is acknowledged and what is lost stays lost: who
//! speaks says again what matters. A queue that is full loses its oldest message, because newer ones replace it.
//!
//! Read is only from peers that the application listens to ([`Hub::hear`]), each within a share of memory ([`reader`]).

pub mod reader;
pub mod writer;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    task::{Context, Poll, Waker},
};

use futures::channel::mpsc;
use libp2p::{StreamProtocol, swarm::ConnectionId};
use tequio_core::types::NodeId;

use crate::{event::Told, rpc::budget::Budget};

/// The libp2p protocol name.
pub const NAME: StreamProtocol = StreamProtocol::new("/tequio/consensus/2");
/// Longest message, bytes.
pub const LEN_MAX: usize = tequio_core::wire::consensus::REQUEST_LEN_MAX;
/// What may wait for one peer; beyond it the oldest is dropped.
const QUEUE_ITEMS_MAX: usize = 512;
const QUEUE_BYTES_MAX: usize = 12 * 1024 * 1024;
/// Messages that wait together go out together, up to this many bytes.
const BATCH_BYTES: usize = 16 * 1024;
/// Messages of one peer that the application has not yet taken; no more are read from it.
pub const PEER_ITEMS_MAX: usize = 256;
pub const PEER_BYTES_MAX: usize = 3 * 1024 * 1024;
/// The same for all peers. A third of the largest committee cannot fill it.
const ALL_ITEMS_MAX: usize = 32 * 1024;
const ALL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What all connections and handles share.
#[derive(Debug)]
pub struct Hub {
    outlets: Mutex<HashMap<NodeId, Arc<Outlet>>>,
    heard: RwLock<HashSet<NodeId>>,
    /// Shares of what is read and not yet taken.
    pub waiting: Arc<Budget>,
    pub told: mpsc::UnboundedSender<Told>,
}

impl Hub {
    /// Also the stream of what is told; the budget bounds it.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Told>) {
        let (told, receiver) = mpsc::unbounded();
        let waiting = Budget::new(ALL_ITEMS_MAX, ALL_BYTES_MAX);
        (Arc::new(Self { outlets: Mutex::default(), heard: RwLock::default(), waiting, told }), receiver)
    }

    /// Queues a message for those of the peers that are connected.
    pub fn tell(&self, peers: impl IntoIterator<Item = NodeId>, body: &Arc<[u8]>) {
        let outlets: Vec<_> = {
            let table = self.outlets();
            peers.into_iter().filter_map(|peer| table.get(&peer).cloned()).collect()
        };
        outlets.iter().for_each(|outlet| outlet.push(body.clone()));
    }

    /// From now on reads from these peers and from no others.
    pub fn hear(&self, peers: impl IntoIterator<Item = NodeId>) {
        *self.heard.write().unwrap_or_else(PoisonError::into_inner) = peers.into_iter().collect();
    }

    pub fn hears(&self, peer: &NodeId) -> bool {
        self.heard.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }

    /// A connection to this peer stands.
    pub fn connected(&self, peer: NodeId, outlet: &Arc<Outlet>) {
        self.outlets().entry(peer).or_insert_with(|| outlet.clone());
    }

    /// The last one has ended.
    pub fn disconnected(&self, peer: &NodeId) {
        if let Some(outlet) = self.outlets().remove(peer) {
            outlet.clear();
        }
    }

    /// Names the connection that carries a peer's messages.
    pub fn route(&self, peer: &NodeId, connection: Option<ConnectionId>) {
        let outlet = self.outlets().get(peer).cloned();
        if let Some(outlet) = outlet {
            outlet.route(connection);
        }
    }

    fn outlets(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Outlet>>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for one peer.
#[derive(Debug, Default)]
pub struct Outlet(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
    carrier: Option<ConnectionId>,
    /// Of connections that wait for messages, or to become the carrier.
    wakers: Vec<(ConnectionId, Waker)>,
}

impl Outlet {
    fn push(&self, body: Arc<[u8]>) {
        let waker = {
            let mut queue = self.queue();
            if body.is_empty() || body.len() > LEN_MAX {
                tracing::warn!(len = body.len(), "a message that nobody would take is not sent");
                return;
            }
            while queue.messages.len() >= QUEUE_ITEMS_MAX || queue.bytes + body.len() > QUEUE_BYTES_MAX {
                queue.pop();
            }
            queue.bytes += body.len();
            queue.messages.push_back(body);
            let carrier = queue.carrier;
            let position = queue.wakers.iter().position(|(id, _)| Some(*id) == carrier);
            position.map(|position| queue.wakers.swap_remove(position).1)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn route(&self, connection: Option<ConnectionId>) {
        let wakers = {
            let mut queue = self.queue();
            if queue.carrier == connection {
                return;
            }
            queue.carrier = connection;
            std::mem::take(&mut queue.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn clear(&self) {
        self.route(None);
        let mut queue = self.queue();
        (queue.messages, queue.bytes) = (VecDeque::new(), 0);
    }

    /// Whether this connection has something to carry; it is woken when that changes.
    pub fn poll_wanted(&self, connection: ConnectionId, cx: &mut Context<'_>) -> bool {
        let mut queue = self.queue();
        let wanted = queue.carrier == Some(connection) && !queue.messages.is_empty();
        if !wanted {
            queue.wait(connection, cx);
        }
        wanted
    }

    /// What waits, as much as goes out at once; `None` where another connection is to carry it.
    fn poll_batch(&self, connection: ConnectionId, cx: &mut Context<'_>) -> Poll<Option<Vec<Arc<[u8]>>>> {
        let mut queue = self.queue();
        if queue.carrier != Some(connection) {
            return Poll::Ready(None);
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = queue.messages.front() {
            bytes += next.len() + writer::HEAD_LEN;
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(queue.pop());
        }
        if batch.is_empty() {
            queue.wait(connection, cx);
            return Poll::Pending;
        }
        Poll::Ready(Some(batch))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Arc<[u8]>> {
        let body = self.messages.pop_front()?;
        self.bytes -= body.len();
        Some(body)
    }

    fn wait(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        match self.wakers.iter_mut().find(|(id, _)| *id == connection) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.wakers.push((connection, cx.waker().clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(n: usize, len: usize) -> Arc<[u8]> {
        let mut body = vec![0; len];
        body[..8].copy_from_slice(&(n as u64).to_le_bytes());
        body.into()
    }

    fn take(outlet: &Outlet, connection: ConnectionId) -> Poll<Option<Vec<Arc<[u8]>>>> {
        outlet.poll_batch(connection, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn both_bounds_drop_the_oldest() {
        let (outlet, id) = (Outlet::default(), ConnectionId::new_unchecked(1));
        outlet.route(Some(id));
        (0..QUEUE_ITEMS_MAX + 3).for_each(|n| outlet.push(body(n, 8)));
        assert_eq!(outlet.queue().messages.len(), QUEUE_ITEMS_MAX);
        assert_eq!(outlet.queue().messages.front(), Some(&body(3, 8)));
        let large = QUEUE_BYTES_MAX / 6 + 1;
        (0..9).for_each(|n| outlet.push(body(n, large)));
        let queue = outlet.queue();
        assert_eq!((queue.messages.len(), queue.bytes), (5, 5 * large));
        assert_eq!(queue.messages.front(), Some(&body(4, large)));
    }

    #[test]
    fn what_nobody_would_take_is_not_queued() {
        let outlet = Outlet::default();
        outlet.push(Arc::from([]));
        outlet.push(body(0, LEN_MAX + 1));
        assert!(outlet.queue().messages.is_empty());
        outlet.push(body(0, LEN_MAX));
        assert_eq!(outlet.queue().messages.len(), 1);
    }

    #[test]
    fn small_ones_go_together_and_only_the_carrier_takes_them() {
        let outlet = Outlet::default();
        let (first, second) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        outlet.route(Some(first));
        assert!(take(&outlet, first).is_pending());
        (0..5).for_each(|n| outlet.push(body(n, 5000)));
        assert_eq!(take(&outlet, second), Poll::Ready(None));
        assert_eq!(take(&outlet, first), Poll::Ready(Some((0..3).map(|n| body(n, 5000)).collect())));
        outlet.route(Some(second));
        assert_eq!(take(&outlet, first), Poll::Ready(None));
        assert_eq!(take(&outlet, second), Poll::Ready(Some(vec![body(3, 5000), body(4, 5000)])));
        outlet.push(body(9, 5000));
        outlet.clear();
        assert_eq!(take(&outlet, second), Poll::Ready(None));
        assert_eq!(outlet.queue().bytes, 0);
    }
}
