//! One-way messages, over one long-lived substream per peer, protocol and direction.
//!
//! [`NotificationRouter::notify`] puts a message into the queue of each recipient, without waiting
//! for the swarm's loop. The task of the peer's best connection sends the queued messages
//! ([`writer`]). Nothing is acknowledged, and lost messages stay lost: the sender retransmits what
//! matters. A full queue drops its oldest message, because newer ones replace it.
//!
//! Consensus messages are read only from the consensus peers
//! ([`NotificationRouter::set_consensus_peers`]), mempool messages from all peers, and each peer
//! has a share of memory ([`reader`]). Other peers have a separate memory budget, so that they
//! cannot use up what committee members need.

pub mod reader;
pub mod writer;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    task::{Context, Poll, Waker},
};

use futures::channel::mpsc;
use libp2p::swarm::ConnectionId;
use tequio_core::types::NodeId;

use crate::{
    event::{MemoryPermit, Notification},
    protocol::NotificationProtocol,
    rpc::budget::Budget,
};

const MIB: usize = 1024 * 1024;
/// Queued messages are sent together, up to this many bytes.
const BATCH_BYTES: usize = 16 * 1024;

impl NotificationProtocol {
    /// Limits of one peer's send queue, in messages and bytes; beyond them the oldest message is
    /// dropped.
    const fn send_queue_max(self) -> (usize, usize) {
        match self {
            NotificationProtocol::Consensus => (512, 12 * MIB),
            NotificationProtocol::Mempool => (128, 2 * MIB),
        }
    }

    /// Messages and bytes of one peer that the application has not yet taken; beyond them reading
    /// from the peer pauses.
    pub(crate) const fn unread_max_per_peer(self) -> (usize, usize) {
        match self {
            NotificationProtocol::Consensus => (256, 3 * MIB),
            NotificationProtocol::Mempool => (64, MIB),
        }
    }
}

/// Notification state that all connections and handles share.
#[derive(Debug)]
pub struct NotificationRouter {
    send_queues: Mutex<HashMap<NodeId, Arc<SendQueues>>>,
    consensus_peers: RwLock<HashSet<NodeId>>,
    /// Budgets of messages that were read and not yet taken: of consensus peers, and of other
    /// peers.
    unread_budgets: [[Arc<Budget>; 2]; NotificationProtocol::COUNT],
    senders: [mpsc::UnboundedSender<Notification>; NotificationProtocol::COUNT],
}

impl NotificationRouter {
    /// Returns the router and the streams of received notifications, which the budgets bound.
    pub fn new() -> (Arc<Self>, [mpsc::UnboundedReceiver<Notification>; NotificationProtocol::COUNT])
    {
        let (consensus, consensus_receiver) = mpsc::unbounded();
        let (mempool, mempool_receiver) = mpsc::unbounded();
        let budget = |channel: NotificationProtocol| {
            Budget::new(
                channel.protocol().inbound_items_max(),
                channel.protocol().inbound_bytes_max(),
            )
        };
        let unread_budgets =
            NotificationProtocol::ALL.map(|channel| [budget(channel), budget(channel)]);
        let senders = [consensus, mempool];
        let router = Self {
            send_queues: Mutex::default(),
            consensus_peers: RwLock::default(),
            unread_budgets,
            senders,
        };
        (Arc::new(router), [consensus_receiver, mempool_receiver])
    }

    /// Queues a message for those of the peers that are connected.
    pub fn notify(
        &self,
        channel: NotificationProtocol,
        peers: impl IntoIterator<Item = NodeId>,
        body: &Arc<[u8]>,
    ) {
        let send_queues: Vec<_> = {
            let table = self.send_queues();
            peers.into_iter().filter_map(|peer| table.get(&peer).cloned()).collect()
        };
        send_queues.iter().for_each(|send_queues| send_queues.of(channel).push(body.clone()));
    }

    /// Replaces the set of consensus peers.
    pub fn set_consensus_peers(&self, peers: impl IntoIterator<Item = NodeId>) {
        *self.consensus_peers.write().unwrap_or_else(PoisonError::into_inner) =
            peers.into_iter().collect();
    }

    /// Whether notifications of this protocol are read from this peer.
    pub fn accepts_from(&self, channel: NotificationProtocol, peer: &NodeId) -> bool {
        channel == NotificationProtocol::Mempool || self.is_consensus_peer(peer)
    }

    /// The common budget of all peers of this peer's class for notifications that were read and not
    /// yet taken.
    pub fn unread_budget(&self, channel: NotificationProtocol, peer: &NodeId) -> &Arc<Budget> {
        let [members, strangers] = &self.unread_budgets[channel.index()];
        if self.is_consensus_peer(peer) { members } else { strangers }
    }

    /// Delivers a message to the application; returns false if its stream is gone.
    pub fn deliver(
        &self,
        channel: NotificationProtocol,
        peer: NodeId,
        body: Vec<u8>,
        share: MemoryPermit,
    ) -> bool {
        self.senders[channel.index()]
            .unbounded_send(Notification { peer, body, permit: share })
            .is_ok()
    }

    fn is_consensus_peer(&self, peer: &NodeId) -> bool {
        self.consensus_peers.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }

    /// Handles the first connection to a peer.
    pub fn connected(&self, peer: NodeId, send_queues: &Arc<SendQueues>) {
        self.send_queues().entry(peer).or_insert_with(|| send_queues.clone());
    }

    /// Handles the end of the last connection to a peer.
    pub fn disconnected(&self, peer: &NodeId) {
        if let Some(send_queues) = self.send_queues().remove(peer) {
            send_queues.0.iter().for_each(|send_queue| send_queue.clear());
        }
    }

    /// Sets the connection that carries a peer's messages.
    pub fn route(&self, peer: &NodeId, connection: Option<ConnectionId>) {
        let send_queues = self.send_queues().get(peer).cloned();
        if let Some(send_queues) = send_queues {
            send_queues.0.iter().for_each(|send_queue| send_queue.route(connection));
        }
    }

    fn send_queues(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<SendQueues>>> {
        self.send_queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The send queues of one peer, by protocol.
#[derive(Debug)]
pub struct SendQueues([Arc<SendQueue>; NotificationProtocol::COUNT]);

impl SendQueues {
    pub fn of(&self, channel: NotificationProtocol) -> &Arc<SendQueue> {
        &self.0[channel.index()]
    }
}

impl Default for SendQueues {
    fn default() -> Self {
        Self(NotificationProtocol::ALL.map(|channel| Arc::new(SendQueue::new(channel))))
    }
}

/// The send queue of one peer and protocol.
#[derive(Debug)]
pub struct SendQueue {
    channel: NotificationProtocol,
    queue: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
    active_connection: Option<ConnectionId>,
    /// Wakers of connections that wait for messages, or to become the active connection.
    wakers: Vec<(ConnectionId, Waker)>,
}

impl SendQueue {
    pub fn new(channel: NotificationProtocol) -> Self {
        Self { channel, queue: Mutex::default() }
    }

    fn push(&self, body: Arc<[u8]>) {
        let (items_max, bytes_max) = self.channel.send_queue_max();
        let waker = {
            let mut queue = self.queue();
            if body.is_empty() || body.len() > self.channel.len_max() {
                tracing::warn!(len = body.len(), "a message that nobody would take is not sent");
                return;
            }
            while queue.messages.len() >= items_max || queue.bytes + body.len() > bytes_max {
                queue.pop();
            }
            queue.bytes += body.len();
            queue.messages.push_back(body);
            let carrier = queue.active_connection;
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
            if queue.active_connection == connection {
                return;
            }
            queue.active_connection = connection;
            std::mem::take(&mut queue.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn clear(&self) {
        self.route(None);
        let mut queue = self.queue();
        (queue.messages, queue.bytes) = (VecDeque::new(), 0);
    }

    /// Whether this connection has messages to send; it is woken when that changes.
    pub fn poll_has_messages(&self, connection: ConnectionId, cx: &mut Context<'_>) -> bool {
        let mut queue = self.queue();
        let wanted = queue.active_connection == Some(connection) && !queue.messages.is_empty();
        if !wanted {
            queue.register_waker(connection, cx);
        }
        wanted
    }

    /// Returns the next batch of queued messages; `None` if another connection is the active one.
    fn poll_batch(
        &self,
        connection: ConnectionId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Vec<Arc<[u8]>>>> {
        let mut queue = self.queue();
        if queue.active_connection != Some(connection) {
            return Poll::Ready(None);
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = queue.messages.front() {
            bytes += next.len() + writer::HEADER_LEN;
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            batch.extend(queue.pop());
        }
        if batch.is_empty() {
            queue.register_waker(connection, cx);
            return Poll::Pending;
        }
        Poll::Ready(Some(batch))
    }

    fn queue(&self) -> MutexGuard<'_, QueueState> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn pop(&mut self) -> Option<Arc<[u8]>> {
        let body = self.messages.pop_front()?;
        self.bytes -= body.len();
        Some(body)
    }

    fn register_waker(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        match self.wakers.iter_mut().find(|(id, _)| *id == connection) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.wakers.push((connection, cx.waker().clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    const LEN_MAX: usize = NotificationProtocol::Consensus.len_max();
    const QUEUE_ITEMS_MAX: usize = NotificationProtocol::Consensus.send_queue_max().0;
    const QUEUE_BYTES_MAX: usize = NotificationProtocol::Consensus.send_queue_max().1;

    fn consensus() -> SendQueue {
        SendQueue::new(NotificationProtocol::Consensus)
    }

    fn body(n: usize, len: usize) -> Arc<[u8]> {
        let mut body = vec![0; len];
        body[..8].copy_from_slice(&(n as u64).to_le_bytes());
        body.into()
    }

    fn take(send_queue: &SendQueue, connection: ConnectionId) -> Poll<Option<Vec<Arc<[u8]>>>> {
        send_queue.poll_batch(connection, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn both_bounds_drop_the_oldest() {
        let (send_queue, id) = (consensus(), ConnectionId::new_unchecked(1));
        send_queue.route(Some(id));
        (0..QUEUE_ITEMS_MAX + 3).for_each(|n| send_queue.push(body(n, 8)));
        assert_eq!(send_queue.queue().messages.len(), QUEUE_ITEMS_MAX);
        assert_eq!(send_queue.queue().messages.front(), Some(&body(3, 8)));
        let large = QUEUE_BYTES_MAX / 6 + 1;
        (0..9).for_each(|n| send_queue.push(body(n, large)));
        let queue = send_queue.queue();
        assert_eq!((queue.messages.len(), queue.bytes), (5, 5 * large));
        assert_eq!(queue.messages.front(), Some(&body(4, large)));
    }

    #[test]
    fn what_nobody_would_take_is_not_queued() {
        let send_queue = consensus();
        send_queue.push(Arc::from([]));
        send_queue.push(body(0, LEN_MAX + 1));
        assert!(send_queue.queue().messages.is_empty());
        send_queue.push(body(0, LEN_MAX));
        assert_eq!(send_queue.queue().messages.len(), 1);
    }

    #[test]
    fn other_peers_have_a_separate_budget_and_no_consensus_messages() {
        let (member, stranger) = (NodeId([1; 32]), NodeId([2; 32]));
        let (router, _receivers) = NotificationRouter::new();
        router.set_consensus_peers([member]);
        for (channel, peer, is_accepted) in [
            (NotificationProtocol::Consensus, member, true),
            (NotificationProtocol::Consensus, stranger, false),
            (NotificationProtocol::Mempool, member, true),
            (NotificationProtocol::Mempool, stranger, true),
        ] {
            assert_eq!(router.accepts_from(channel, &peer), is_accepted, "{channel:?}");
        }
        let bytes = Protocol::Mempool.inbound_bytes_max();
        let all_of_strangers =
            router.unread_budget(NotificationProtocol::Mempool, &stranger).try_acquire(bytes);
        assert!(all_of_strangers.is_some());
        assert!(
            router.unread_budget(NotificationProtocol::Mempool, &stranger).try_acquire(1).is_none()
        );
        assert!(
            router
                .unread_budget(NotificationProtocol::Mempool, &member)
                .try_acquire(bytes)
                .is_some()
        );
    }

    #[test]
    fn small_ones_go_together_and_only_the_carrier_takes_them() {
        let send_queue = consensus();
        let (first, second) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        send_queue.route(Some(first));
        assert!(take(&send_queue, first).is_pending());
        (0..5).for_each(|n| send_queue.push(body(n, 5000)));
        assert_eq!(take(&send_queue, second), Poll::Ready(None));
        assert_eq!(
            take(&send_queue, first),
            Poll::Ready(Some((0..3).map(|n| body(n, 5000)).collect()))
        );
        send_queue.route(Some(second));
        assert_eq!(take(&send_queue, first), Poll::Ready(None));
        assert_eq!(
            take(&send_queue, second),
            Poll::Ready(Some(vec![body(3, 5000), body(4, 5000)]))
        );
        send_queue.push(body(9, 5000));
        send_queue.clear();
        assert_eq!(take(&send_queue, second), Poll::Ready(None));
        assert_eq!(send_queue.queue().bytes, 0);
    }
}
