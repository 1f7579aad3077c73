//! Decides which transactions this node pushes, announces and requests, and to or from which peers.
//! It uses no sockets and no clock, so tests can run whole networks of it in memory.
//!
//! Few nodes receive the full transaction: the node to which a client submits it **pushes** it to
//! the leaders of the next [`PUSH_LEADERS`] blocks without a proposal. If it is not connected to
//! them, it pushes to other full nodes instead, [`PUSH_PEERS`] in total. One of those leaders puts
//! the transaction into a block, and the proposal carries it to all members. While the transaction
//! waits, the node pushes it to the following leaders.
//!
//! Everything else compensates for losses, and for nodes that stop or are Byzantine. A transaction
//! that still waits after some blocks is **announced** by id, repeatedly. The node that has it from
//! a client announces it to all its peers. Every other node that has it announces it to the next
//! leaders and to [`ANNOUNCE_FANOUT`] others, chosen anew each time. A node that lacks an announced
//! transaction **requests** it from one peer at a time; if that fails, from the next peer that has
//! announced it. So a transaction that has reached one correct node reaches all nodes to which
//! correct nodes are connected, even if its origin stops at once.
//!
//! Each node that receives it announces it again. So after the first announcement of all nodes, a
//! share *m* of the nodes with *m* = e^(-ANNOUNCE_FANOUT·(1-m)) still lacks it: 3 in 10,000, or 5
//! in 1,000 while a third of the nodes announce nothing (Kermarrec, Massoulié and Ganesh,
//! *Probabilistic Reliable Dissemination in Large-Scale Systems*, 2003). Each further announcement
//! reduces this share by the same factor. Inclusion in a block ends all of this.

use super::pool::ITEMS_MAX;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};
use tequio_core::{
    ledger::TransactionId,
    types::{Height, NodeId, TimeMs},
    wire::mempool::TRANSACTION_IDS_MAX,
};

/// Leaders of coming blocks to which a new transaction is pushed.
pub const PUSH_LEADERS: Height = 2;
/// Full nodes to which a new transaction is pushed, including those leaders; others only if there
/// are fewer leaders.
pub const PUSH_PEERS: usize = 2;
/// In a committee of at most this many seats, new transactions are pushed to all members.
pub const SMALL_COMMITTEE_MAX: usize = 7;
/// Full nodes to which a transaction received from a peer is announced.
pub const ANNOUNCE_FANOUT: usize = 8;

/// A transaction is announced after it has waited for this many blocks and this long, or for longer
/// if no blocks are made. The announcement is repeated after a pause while the transaction waits.
const ANNOUNCE_AFTER_BLOCKS: Height = 3;
const ANNOUNCE_AFTER_MS: TimeMs = 2_000;
const ANNOUNCE_LATEST_MS: TimeMs = 5_000;
const ANNOUNCE_REPEAT_MS: TimeMs = 10_000;
/// Pending requests: in total, those announced by peers without a seat, and those of one peer.
const REQUESTS_MAX: usize = 4096;
const NON_MEMBER_REQUESTS_MAX: usize = REQUESTS_MAX / 2;
const REQUESTS_PER_PEER_MAX: usize = 1024;
/// Further peers stored for a pending request, besides the requested one.
const ALTERNATIVES_MAX: usize = 4;
/// Requests for one transaction before it must be announced again.
const ATTEMPTS_MAX: u8 = 8;
/// Recent transaction ids that are not requested, waiting or included. Up to twice as many are
/// stored.
const RECENT_IDS_MIN: usize = 2 * ITEMS_MAX;

/// Origin of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This node, or a client. This node is responsible for its dissemination.
    Client,
    /// A full node pushed it, or sent it on request.
    Peer {
        /// The peer.
        peer: NodeId,
        /// The peer reaches no leader: this node pushes the transaction like its own.
        forward: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct AnnounceTimer {
    id: TransactionId,
    source: Source,
    since_ms: TimeMs,
    since: Height,
}

/// Nodes that have received a local transaction, and the last height whose leader is among them.
#[derive(Clone, Debug, Default)]
struct LocalTransaction {
    until: Height,
    sent_to: Vec<NodeId>,
}

#[derive(Clone, Debug)]
struct PendingRequest {
    peer: NodeId,
    is_member: bool,
    alternatives: Vec<NodeId>,
    attempts: u8,
}

/// Transactions that are due to be announced.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Announcements {
    /// To be announced to all peers.
    pub local: Vec<TransactionId>,
    /// To be announced to some peers, except the one from which it came.
    pub remote: Vec<(TransactionId, NodeId)>,
}

/// The state of dissemination at one node.
#[derive(Debug, Default)]
pub struct Dissemination {
    /// New transactions that are not pushed yet.
    fresh: Vec<TransactionId>,
    /// Transactions of clients.
    local: BTreeMap<TransactionId, LocalTransaction>,
    /// In the order in which they are due: for the first announcement, and for repeats.
    first_due: VecDeque<AnnounceTimer>,
    repeat_due: VecDeque<AnnounceTimer>,
    recent: RecentIds,
    requests: BTreeMap<TransactionId, PendingRequest>,
    requests_per_peer: BTreeMap<NodeId, usize>,
    non_member_requests: usize,
}

impl Dissemination {
    /// Called when a transaction is added to the pool.
    pub fn on_insert(&mut self, id: TransactionId, source: Source, height: Height, now_ms: TimeMs) {
        self.recent.insert(id);
        match source {
            Source::Client => {
                self.local.insert(id, LocalTransaction::default());
                self.fresh.push(id);
            }
            Source::Peer { forward: true, .. } => self.fresh.push(id),
            Source::Peer { forward: false, .. } => {}
        }
        self.first_due.push_back(AnnounceTimer { id, source, since_ms: now_ms, since: height });
    }

    /// Called when a transaction is in a final block. It is not requested any more.
    pub fn on_included(&mut self, id: TransactionId) {
        self.recent.insert(id);
        self.local.remove(&id);
    }

    /// Takes the new transactions that are to be pushed.
    pub fn take_fresh(&mut self) -> Vec<TransactionId> {
        std::mem::take(&mut self.fresh)
    }

    /// Records that these transactions were pushed to these nodes, including the leaders up to this
    /// height.
    pub fn mark_pushed(&mut self, ids: &[TransactionId], nodes: &BTreeSet<NodeId>, until: Height) {
        for id in ids {
            if let Some(local) = self.local.get_mut(id) {
                *local = LocalTransaction { until, sent_to: nodes.iter().copied().collect() };
            }
        }
    }

    /// Further pushes of local transactions for which no coming leader will soon be left. `tip` is
    /// the newest height that is final or has a proposal, and `leaders` are those of the blocks
    /// above it up to `until`.
    pub fn repeat_pushes(
        &mut self,
        tip: Height,
        leaders: &BTreeSet<NodeId>,
        until: Height,
        waits: impl Fn(&TransactionId) -> bool,
    ) -> Vec<(NodeId, Vec<TransactionId>)> {
        self.local.retain(|id, _| waits(id));
        let mut again: BTreeMap<NodeId, Vec<TransactionId>> = BTreeMap::new();
        for (id, local) in
            self.local.iter_mut().filter(|(_, local)| local.until < tip.saturating_add(2))
        {
            local.until = until;
            for leader in leaders {
                if !local.sent_to.contains(leader) {
                    local.sent_to.push(*leader);
                    again.entry(*leader).or_default().push(*id);
                }
            }
        }
        again.into_iter().collect()
    }

    /// Announcements that are due now, at most as many as fit into a message.
    pub fn due_announcements(
        &mut self,
        height: Height,
        now_ms: TimeMs,
        waits: impl Fn(&TransactionId) -> bool,
    ) -> Announcements {
        let waited_ms = |due: &AnnounceTimer| now_ms.saturating_sub(due.since_ms);
        let is_due = |due: &AnnounceTimer| {
            let blocks = height.saturating_sub(due.since);
            waited_ms(due) >= ANNOUNCE_LATEST_MS
                || (waited_ms(due) >= ANNOUNCE_AFTER_MS && blocks >= ANNOUNCE_AFTER_BLOCKS)
        };
        let mut announcements = Announcements::default();
        while announcements.local.len() + announcements.remote.len() < TRANSACTION_IDS_MAX {
            let first = self.first_due.pop_front_if(|due| is_due(due));
            let due = first.or_else(|| {
                self.repeat_due.pop_front_if(|due| waited_ms(due) >= ANNOUNCE_REPEAT_MS)
            });
            let Some(due) = due else { break };
            if !waits(&due.id) {
                continue;
            }
            match due.source {
                Source::Client => announcements.local.push(due.id),
                Source::Peer { peer, .. } => announcements.remote.push((due.id, peer)),
            }
            self.repeat_due.push_back(AnnounceTimer { since_ms: now_ms, ..due });
        }
        announcements
    }

    /// Handles an announcement of a peer. Returns the ids to request from it.
    pub fn on_announce(
        &mut self,
        from: NodeId,
        is_member: bool,
        ids: &[TransactionId],
    ) -> Vec<TransactionId> {
        let mut to_request = Vec::new();
        for id in ids {
            if self.recent.contains(id) {
                continue;
            }
            if let Some(request) = self.requests.get_mut(id) {
                if request.peer != from
                    && !request.alternatives.contains(&from)
                    && request.alternatives.len() < ALTERNATIVES_MAX
                {
                    request.alternatives.push(from);
                }
                continue;
            }
            let non_members = self.non_member_requests + usize::from(!is_member);
            let of_peer = self.requests_per_peer.get(&from).copied().unwrap_or(0);
            let is_full = self.requests.len() >= REQUESTS_MAX
                || of_peer >= REQUESTS_PER_PEER_MAX
                || (!is_member && non_members > NON_MEMBER_REQUESTS_MAX);
            if is_full {
                break;
            }
            *self.requests_per_peer.entry(from).or_default() += 1;
            self.non_member_requests = non_members;
            self.requests.insert(
                *id,
                PendingRequest { peer: from, is_member, alternatives: Vec::new(), attempts: 1 },
            );
            to_request.push(*id);
        }
        to_request
    }

    /// Handles a peer's response to a request, or its failure. Returns the next requests for ids
    /// that are still missing.
    pub fn on_response(
        &mut self,
        peer: NodeId,
        requested: &[TransactionId],
    ) -> Vec<(NodeId, Vec<TransactionId>)> {
        let has_given = requested.iter().any(|id| self.recent.contains(id));
        let mut next: BTreeMap<NodeId, Vec<TransactionId>> = BTreeMap::new();
        for id in requested {
            let Some(request) = self.requests.get_mut(id).filter(|request| request.peer == peer)
            else {
                continue;
            };
            release(&mut self.requests_per_peer, &peer);
            // Ids that did not fit into the response are requested again from the same peer, unless
            // another one has announced them.
            let again = has_given.then_some(peer);
            let others = (!request.alternatives.is_empty()).then(|| request.alternatives.remove(0));
            match others
                .or(again)
                .filter(|_| request.attempts < ATTEMPTS_MAX && !self.recent.contains(id))
            {
                Some(other) => {
                    (request.peer, request.attempts) = (other, request.attempts + 1);
                    *self.requests_per_peer.entry(other).or_default() += 1;
                    next.entry(other).or_default().push(*id);
                }
                None => {
                    self.non_member_requests -= usize::from(!request.is_member);
                    self.requests.remove(id);
                }
            }
        }
        next.into_iter().collect()
    }
}

fn release(requested: &mut BTreeMap<NodeId, usize>, peer: &NodeId) {
    if let Some(count) = requested.get_mut(peer) {
        *count -= 1;
        if *count == 0 {
            requested.remove(peer);
        }
    }
}

/// The newest ids. The oldest half is evicted at a time.
#[derive(Debug, Default)]
struct RecentIds {
    newer: HashSet<TransactionId>,
    older: HashSet<TransactionId>,
}

impl RecentIds {
    fn insert(&mut self, id: TransactionId) {
        if self.newer.len() >= RECENT_IDS_MIN {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(id);
    }

    fn contains(&self, id: &TransactionId) -> bool {
        self.newer.contains(id) || self.older.contains(id)
    }
}

/// Whether new transactions are pushed to all members, who then have a proposal's transactions
/// before it arrives.
pub fn is_small_committee(seats: usize) -> bool {
    seats <= SMALL_COMMITTEE_MAX
}

/// Peers to which new transactions are pushed: the connected ones among the preferred nodes
/// (leaders, or all members of a small committee), and others only up to [`PUSH_PEERS`].
pub fn push_targets(
    full_nodes: &[NodeId],
    leaders: impl Iterator<Item = NodeId>,
    order: impl Fn(&NodeId) -> u64,
) -> BTreeSet<NodeId> {
    let mut chosen: BTreeSet<_> = leaders.filter(|leader| full_nodes.contains(leader)).collect();
    let rest: Vec<_> = full_nodes.iter().filter(|peer| !chosen.contains(peer)).copied().collect();
    chosen.extend(sample(&rest, PUSH_PEERS.saturating_sub(chosen.len()), order));
    chosen
}

/// The first `count` peers by `order`.
pub fn sample(peers: &[NodeId], count: usize, order: impl Fn(&NodeId) -> u64) -> Vec<NodeId> {
    let mut peers = peers.to_vec();
    if count < peers.len() {
        peers.sort_by_cached_key(order);
        peers.truncate(count);
    }
    peers
}

/// A different order each time. Its hash keys are secret, so a peer cannot ensure that it is always
/// chosen, or never.
pub fn random_order() -> impl Fn(&NodeId) -> u64 {
    let random = RandomState::new();
    move |peer| random.hash_one(peer.0)
}

#[cfg(test)]
mod tests;
