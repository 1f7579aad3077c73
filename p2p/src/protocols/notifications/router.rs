//! Routes messages: from the application to the send queues of the peers, and from the peers to the
//! application, within the memory budgets.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use futures::channel::mpsc;
use libp2p::swarm::ConnectionId;
use tequio_core::types::NodeId;

use super::send_queue::SendQueues;
use crate::{
    budget::Budget,
    event::{MemoryPermit, Notification},
    protocol::NotificationProtocol,
};

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

/// The streams of received notifications, by protocol.
type Receivers = [mpsc::UnboundedReceiver<Notification>; NotificationProtocol::COUNT];

impl NotificationRouter {
    /// Returns the router and the streams of received notifications, which the budgets bound.
    pub fn new() -> (Arc<Self>, Receivers) {
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
        let [members, others] = &self.unread_budgets[channel.index()];
        if self.is_consensus_peer(peer) { members } else { others }
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
            send_queues.clear();
        }
    }

    /// Sets the connection that carries a peer's messages.
    pub fn route(&self, peer: &NodeId, connection: Option<ConnectionId>) {
        let send_queues = self.send_queues().get(peer).cloned();
        if let Some(send_queues) = send_queues {
            send_queues.route(connection);
        }
    }

    fn send_queues(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<SendQueues>>> {
        self.send_queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    #[test]
    fn other_peers_have_a_separate_budget_and_no_consensus_messages() {
        let (member, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let (router, _receivers) = NotificationRouter::new();
        router.set_consensus_peers([member]);
        for (channel, peer, is_accepted) in [
            (NotificationProtocol::Consensus, member, true),
            (NotificationProtocol::Consensus, other, false),
            (NotificationProtocol::Mempool, member, true),
            (NotificationProtocol::Mempool, other, true),
        ] {
            assert_eq!(router.accepts_from(channel, &peer), is_accepted, "{channel:?}");
        }
        let bytes = Protocol::Mempool.inbound_bytes_max();
        let all_of_others =
            router.unread_budget(NotificationProtocol::Mempool, &other).try_acquire(bytes);
        assert!(all_of_others.is_some());
        assert!(
            router.unread_budget(NotificationProtocol::Mempool, &other).try_acquire(1).is_none()
        );
        assert!(
            router
                .unread_budget(NotificationProtocol::Mempool, &member)
                .try_acquire(bytes)
                .is_some()
        );
    }
}
