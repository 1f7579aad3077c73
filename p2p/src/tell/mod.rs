//! One-way messages, over one long-lived substream a peer, channel and direction.
//!
//! [`Hub::tell`] puts a message into the queue of each receiver, without a turn in the swarm's
//! loop; the task of the peer's best connection carries what waits there ([`writer`]). Nothing is
//! acknowledged and what is lost stays lost: who speaks says again what matters. A queue that is
//! full loses its oldest message, because newer ones replace it.
//!
//! Consensus is read only from peers that the application listens to ([`Hub::hear`]), the mempool's
//! talk from everybody, and each peer within a share of memory ([`reader`]). For what strangers say
//! there is memory of its own, so that they cannot use up what members of the committee need.

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
    event::{Share, Told},
    protocol::Channel,
    rpc::budget::Budget,
};

const MIB: usize = 1024 * 1024;
/// Messages that wait together go out together, up to this many bytes.
const BATCH_BYTES: usize = 16 * 1024;

impl Channel {
    /// What may wait for one peer, messages and bytes; beyond it the oldest is dropped.
    const fn queue_max(self) -> (usize, usize) {
        match self {
            Channel::Consensus => (512, 12 * MIB),
            Channel::Mempool => (128, 2 * MIB),
        }
    }

    /// Messages and bytes of one peer that the application has not yet taken; no more are read from
    /// it.
    pub(crate) const fn peer_max(self) -> (usize, usize) {
        match self {
            Channel::Consensus => (256, 3 * MIB),
            Channel::Mempool => (64, MIB),
        }
    }
}

/// What all connections and handles share.
#[derive(Debug)]
pub struct Hub {
    outlets: Mutex<HashMap<NodeId, Arc<Outlets>>>,
    heard: RwLock<HashSet<NodeId>>,
    /// Shares of what is read and not yet taken: of peers that are listened to, and of others.
    waiting: [[Arc<Budget>; 2]; Channel::COUNT],
    told: [mpsc::UnboundedSender<Told>; Channel::COUNT],
}

impl Hub {
    /// Also the streams of what is told; the budgets bound them.
    pub fn new() -> (Arc<Self>, [mpsc::UnboundedReceiver<Told>; Channel::COUNT]) {
        let (consensus, consensus_receiver) = mpsc::unbounded();
        let (mempool, mempool_receiver) = mpsc::unbounded();
        let budget = |channel: Channel| {
            Budget::new(
                channel.protocol().inbound_items_max(),
                channel.protocol().inbound_bytes_max(),
            )
        };
        let waiting = Channel::ALL.map(|channel| [budget(channel), budget(channel)]);
        let told = [consensus, mempool];
        let hub = Self { outlets: Mutex::default(), heard: RwLock::default(), waiting, told };
        (Arc::new(hub), [consensus_receiver, mempool_receiver])
    }

    /// Queues a message for those of the peers that are connected.
    pub fn tell(
        &self,
        channel: Channel,
        peers: impl IntoIterator<Item = NodeId>,
        body: &Arc<[u8]>,
    ) {
        let outlets: Vec<_> = {
            let table = self.outlets();
            peers.into_iter().filter_map(|peer| table.get(&peer).cloned()).collect()
        };
        outlets.iter().for_each(|outlets| outlets.of(channel).push(body.clone()));
    }

    /// From now on these peers are listened to, and no others.
    pub fn hear(&self, peers: impl IntoIterator<Item = NodeId>) {
        *self.heard.write().unwrap_or_else(PoisonError::into_inner) = peers.into_iter().collect();
    }

    /// Whether what this peer says on a channel is read.
    pub fn hears(&self, channel: Channel, peer: &NodeId) -> bool {
        channel == Channel::Mempool || self.is_member(peer)
    }

    /// The memory for what all peers like this one have said and nobody has taken yet.
    pub fn waiting(&self, channel: Channel, peer: &NodeId) -> &Arc<Budget> {
        let [members, strangers] = &self.waiting[channel.index()];
        if self.is_member(peer) { members } else { strangers }
    }

    /// Hands a message to the application; false if it is gone.
    pub fn hand_over(&self, channel: Channel, peer: NodeId, body: Vec<u8>, share: Share) -> bool {
        self.told[channel.index()].unbounded_send(Told { peer, body, share }).is_ok()
    }

    fn is_member(&self, peer: &NodeId) -> bool {
        self.heard.read().unwrap_or_else(PoisonError::into_inner).contains(peer)
    }

    /// A connection to this peer stands.
    pub fn connected(&self, peer: NodeId, outlets: &Arc<Outlets>) {
        self.outlets().entry(peer).or_insert_with(|| outlets.clone());
    }

    /// The last one has ended.
    pub fn disconnected(&self, peer: &NodeId) {
        if let Some(outlets) = self.outlets().remove(peer) {
            outlets.0.iter().for_each(|outlet| outlet.clear());
        }
    }

    /// Names the connection that carries a peer's messages.
    pub fn route(&self, peer: &NodeId, connection: Option<ConnectionId>) {
        let outlets = self.outlets().get(peer).cloned();
        if let Some(outlets) = outlets {
            outlets.0.iter().for_each(|outlet| outlet.route(connection));
        }
    }

    fn outlets(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<Outlets>>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for one peer, by channel.
#[derive(Debug)]
pub struct Outlets([Arc<Outlet>; Channel::COUNT]);

impl Outlets {
    pub fn of(&self, channel: Channel) -> &Arc<Outlet> {
        &self.0[channel.index()]
    }
}

impl Default for Outlets {
    fn default() -> Self {
        Self(Channel::ALL.map(|channel| Arc::new(Outlet::new(channel))))
    }
}

/// What waits for one peer on one channel.
#[derive(Debug)]
pub struct Outlet {
    channel: Channel,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
    carrier: Option<ConnectionId>,
    /// Of connections that wait for messages, or to become the carrier.
    wakers: Vec<(ConnectionId, Waker)>,
}

impl Outlet {
    pub fn new(channel: Channel) -> Self {
        Self { channel, queue: Mutex::default() }
    }

    fn push(&self, body: Arc<[u8]>) {
        let (items_max, bytes_max) = self.channel.queue_max();
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
    fn poll_batch(
        &self,
        connection: ConnectionId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Vec<Arc<[u8]>>>> {
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
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
    use crate::protocol::Protocol;

    const LEN_MAX: usize = Channel::Consensus.len_max();
    const QUEUE_ITEMS_MAX: usize = Channel::Consensus.queue_max().0;
    const QUEUE_BYTES_MAX: usize = Channel::Consensus.queue_max().1;

    fn consensus() -> Outlet {
        Outlet::new(Channel::Consensus)
    }

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
        let (outlet, id) = (consensus(), ConnectionId::new_unchecked(1));
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
        let outlet = consensus();
        outlet.push(Arc::from([]));
        outlet.push(body(0, LEN_MAX + 1));
        assert!(outlet.queue().messages.is_empty());
        outlet.push(body(0, LEN_MAX));
        assert_eq!(outlet.queue().messages.len(), 1);
    }

    #[test]
    fn strangers_have_memory_of_their_own_and_no_say_in_consensus() {
        let (member, stranger) = (NodeId([1; 32]), NodeId([2; 32]));
        let (hub, _tells) = Hub::new();
        hub.hear([member]);
        for (channel, peer, is_heard) in [
            (Channel::Consensus, member, true),
            (Channel::Consensus, stranger, false),
            (Channel::Mempool, member, true),
            (Channel::Mempool, stranger, true),
        ] {
            assert_eq!(hub.hears(channel, &peer), is_heard, "{channel:?}");
        }
        let bytes = Protocol::Mempool.inbound_bytes_max();
        let all_of_strangers = hub.waiting(Channel::Mempool, &stranger).take(bytes);
        assert!(all_of_strangers.is_some());
        assert!(hub.waiting(Channel::Mempool, &stranger).take(1).is_none());
        assert!(hub.waiting(Channel::Mempool, &member).take(bytes).is_some());
    }

    #[test]
    fn small_ones_go_together_and_only_the_carrier_takes_them() {
        let outlet = consensus();
        let (first, second) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        outlet.route(Some(first));
        assert!(take(&outlet, first).is_pending());
        (0..5).for_each(|n| outlet.push(body(n, 5000)));
        assert_eq!(take(&outlet, second), Poll::Ready(None));
        assert_eq!(
            take(&outlet, first),
            Poll::Ready(Some((0..3).map(|n| body(n, 5000)).collect()))
        );
        outlet.route(Some(second));
        assert_eq!(take(&outlet, first), Poll::Ready(None));
        assert_eq!(take(&outlet, second), Poll::Ready(Some(vec![body(3, 5000), body(4, 5000)])));
        outlet.push(body(9, 5000));
        outlet.clear();
        assert_eq!(take(&outlet, second), Poll::Ready(None));
        assert_eq!(outlet.queue().bytes, 0);
    }
}
