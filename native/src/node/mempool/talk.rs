//! What this node says of waiting transactions, to whom, and what it asks for: no sockets and no
//! clock, so that whole networks of it can be tried in memory.
//!
//! A transaction goes in full to few: the node that a client brings it to **tells** it to the
//! leaders of the next [`LEADERS`] blocks that nobody has proposed yet, or to others where it is
//! not connected with them, [`EAGER`] together. One of those leaders puts it into a block, and with
//! the proposal it comes to everybody. While it waits on, the node tells the leaders that come
//! after.
//!
//! All else makes up for losses, and for nodes that stop or lie. What still waits after some blocks
//! is **offered** by name, again and again: by the node that has it from a client to all that it is
//! connected with, by every other node that has it to the next leaders and to [`FANOUT`] others,
//! chosen anew each time. Who lacks what is offered **asks** for it: one peer at a time, and the
//! next one that has offered it where that gives nothing. So a transaction that has reached one
//! correct node reaches all that correct nodes are connected with, though its origin stops at once.
//! Each node that learns of it offers it on, so after the first time that all offer, a share *m* of
//! the nodes with *m* = e^(-FANOUT·(1-m)) still lacks it: 3 in 10,000, or 5 in 1,000 while a
//! third of the nodes offer nothing (Kermarrec, Massoulié and Ganesh, *Probabilistic Reliable
//! Dissemination in Large-Scale Systems*, 2003); and of those, the next time, as many again. A
//! block that it is in ends all of this.

use super::pool::ITEMS_MAX;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
};
use tequio_core::{
    ledger::TransactionId,
    types::{Height, NodeId, TimeMs},
    wire::mempool::NAMES_MAX,
};

/// Leaders of coming blocks that are told of a new transaction.
pub const LEADERS: Height = 2;
/// Full nodes that are told of a new transaction, those leaders among them; others only where there
/// are fewer leaders.
pub const EAGER: usize = 2;
/// Where the committee has no more seats than these, all its members are told.
pub const SMALL: usize = 7;
/// Full nodes to which a transaction is offered that another one has told.
pub const FANOUT: usize = 8;

/// A transaction is offered when it has waited for so many blocks and so long, or, where no blocks
/// come, for longer; and then as long as it waits, each time after a pause.
const OFFER_BLOCKS: Height = 3;
const OFFER_MS: TimeMs = 2_000;
const OFFER_LATEST_MS: TimeMs = 5_000;
const OFFER_AGAIN_MS: TimeMs = 10_000;
/// Transactions that are asked for at a time, of them by the word of peers without a seat, and of
/// one peer.
const WANTED_MAX: usize = 4096;
const WANTED_OF_STRANGERS_MAX: usize = WANTED_MAX / 2;
const WANTED_PER_PEER_MAX: usize = 1024;
/// Peers that are remembered to have one of those, besides the one that is asked.
const OTHERS_MAX: usize = 4;
/// How often one transaction is asked for before it has to be offered again.
const ROUNDS_MAX: u8 = 8;
/// Transactions that are remembered, waiting or not, so that they are not asked for; fewer than
/// twice as many.
const LATELY_MIN: usize = 2 * ITEMS_MAX;

/// How a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is our own, or a client has brought it. We answer for its way.
    Client,
    /// A full node has told it, or given it when asked.
    Told {
        /// Who.
        peer: NodeId,
        /// That node reaches no leader: it is told on as if it were ours.
        pass_on: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Due {
    id: TransactionId,
    source: Source,
    since_ms: TimeMs,
    since: Height,
}

/// Who has been told of a transaction of ours, among them the leaders up to a height.
#[derive(Clone, Debug, Default)]
struct Ours {
    until: Height,
    told: Vec<NodeId>,
}

#[derive(Clone, Debug)]
struct Wanted {
    asked: NodeId,
    is_member: bool,
    others: Vec<NodeId>,
    rounds: u8,
}

/// What is due to be offered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// To all.
    pub ours: Vec<TransactionId>,
    /// To some, but not to the node that has told it.
    pub others: Vec<(TransactionId, NodeId)>,
}

/// What one node remembers of the talk.
#[derive(Debug, Default)]
pub struct Talk {
    /// To be told, not yet told.
    fresh: Vec<TransactionId>,
    /// What clients have brought.
    ours: BTreeMap<TransactionId, Ours>,
    /// In the order in which it will be offered: for the first time, and again.
    due: VecDeque<Due>,
    due_again: VecDeque<Due>,
    lately: Lately,
    wanted: BTreeMap<TransactionId, Wanted>,
    asked: BTreeMap<NodeId, usize>,
    wanted_of_strangers: usize,
}

impl Talk {
    /// A transaction waits from now on.
    pub fn arrived(&mut self, id: TransactionId, source: Source, height: Height, now_ms: TimeMs) {
        self.lately.insert(id);
        match source {
            Source::Client => {
                self.ours.insert(id, Ours::default());
                self.fresh.push(id);
            }
            Source::Told { pass_on: true, .. } => self.fresh.push(id),
            Source::Told { pass_on: false, .. } => {}
        }
        self.due.push_back(Due { id, source, since_ms: now_ms, since: height });
    }

    /// A transaction is in a final block: it is not asked for any more.
    pub fn settled(&mut self, id: TransactionId) {
        self.lately.insert(id);
        self.ours.remove(&id);
    }

    /// What is new and to be told.
    pub fn fresh(&mut self) -> Vec<TransactionId> {
        std::mem::take(&mut self.fresh)
    }

    /// These nodes, among them the leaders up to this height, have been told of these transactions.
    pub fn told(&mut self, ids: &[TransactionId], nodes: &BTreeSet<NodeId>, until: Height) {
        for id in ids {
            if let Some(ours) = self.ours.get_mut(id) {
                *ours = Ours { until, told: nodes.iter().copied().collect() };
            }
        }
    }

    /// Whom to tell of what waits on, and soon nobody who leads has been told of; `tip` is the
    /// newest height that is final or has a proposal, and `leaders` are those of the blocks
    /// above it up to `until`.
    pub fn again(
        &mut self,
        tip: Height,
        leaders: &BTreeSet<NodeId>,
        until: Height,
        waits: impl Fn(&TransactionId) -> bool,
    ) -> Vec<(NodeId, Vec<TransactionId>)> {
        self.ours.retain(|id, _| waits(id));
        let mut again: BTreeMap<NodeId, Vec<TransactionId>> = BTreeMap::new();
        for (id, ours) in
            self.ours.iter_mut().filter(|(_, ours)| ours.until < tip.saturating_add(2))
        {
            ours.until = until;
            for leader in leaders {
                if !ours.told.contains(leader) {
                    ours.told.push(*leader);
                    again.entry(*leader).or_default().push(*id);
                }
            }
        }
        again.into_iter().collect()
    }

    /// What is to be offered now; no more at once than fits into a message.
    pub fn offers(
        &mut self,
        height: Height,
        now_ms: TimeMs,
        waits: impl Fn(&TransactionId) -> bool,
    ) -> Offers {
        let waited_ms = |due: &Due| now_ms.saturating_sub(due.since_ms);
        let is_due = |due: &Due| {
            let blocks = height.saturating_sub(due.since);
            waited_ms(due) >= OFFER_LATEST_MS
                || (waited_ms(due) >= OFFER_MS && blocks >= OFFER_BLOCKS)
        };
        let mut offers = Offers::default();
        while offers.ours.len() + offers.others.len() < NAMES_MAX {
            let first = self.due.pop_front_if(|due| is_due(due));
            let due = first
                .or_else(|| self.due_again.pop_front_if(|due| waited_ms(due) >= OFFER_AGAIN_MS));
            let Some(due) = due else { break };
            if !waits(&due.id) {
                continue;
            }
            match due.source {
                Source::Client => offers.ours.push(due.id),
                Source::Told { peer, .. } => offers.others.push((due.id, peer)),
            }
            self.due_again.push_back(Due { since_ms: now_ms, ..due });
        }
        offers
    }

    /// A peer has these. Returns which of them to ask it for.
    pub fn offered(
        &mut self,
        from: NodeId,
        is_member: bool,
        names: &[TransactionId],
    ) -> Vec<TransactionId> {
        let mut ask = Vec::new();
        for id in names {
            if self.lately.contains(id) {
                continue;
            }
            if let Some(wanted) = self.wanted.get_mut(id) {
                if wanted.asked != from
                    && !wanted.others.contains(&from)
                    && wanted.others.len() < OTHERS_MAX
                {
                    wanted.others.push(from);
                }
                continue;
            }
            let strangers = self.wanted_of_strangers + usize::from(!is_member);
            let of_peer = self.asked.get(&from).copied().unwrap_or(0);
            let is_full = self.wanted.len() >= WANTED_MAX
                || of_peer >= WANTED_PER_PEER_MAX
                || (!is_member && strangers > WANTED_OF_STRANGERS_MAX);
            if is_full {
                break;
            }
            *self.asked.entry(from).or_default() += 1;
            self.wanted_of_strangers = strangers;
            self.wanted
                .insert(*id, Wanted { asked: from, is_member, others: Vec::new(), rounds: 1 });
            ask.push(*id);
        }
        ask
    }

    /// A peer that was asked for these has answered, or has not. Returns whom to ask for those that
    /// are still lacking.
    pub fn answered(
        &mut self,
        peer: NodeId,
        asked: &[TransactionId],
    ) -> Vec<(NodeId, Vec<TransactionId>)> {
        let has_given = asked.iter().any(|id| self.lately.contains(id));
        let mut next: BTreeMap<NodeId, Vec<TransactionId>> = BTreeMap::new();
        for id in asked {
            let Some(wanted) = self.wanted.get_mut(id).filter(|wanted| wanted.asked == peer) else {
                continue;
            };
            release(&mut self.asked, &peer);
            // What did not fit into the answer is asked of the same peer again, if nobody else has
            // it.
            let again = has_given.then_some(peer);
            let others = (!wanted.others.is_empty()).then(|| wanted.others.remove(0));
            match others
                .or(again)
                .filter(|_| wanted.rounds < ROUNDS_MAX && !self.lately.contains(id))
            {
                Some(other) => {
                    (wanted.asked, wanted.rounds) = (other, wanted.rounds + 1);
                    *self.asked.entry(other).or_default() += 1;
                    next.entry(other).or_default().push(*id);
                }
                None => {
                    self.wanted_of_strangers -= usize::from(!wanted.is_member);
                    self.wanted.remove(id);
                }
            }
        }
        next.into_iter().collect()
    }
}

fn release(asked: &mut BTreeMap<NodeId, usize>, peer: &NodeId) {
    if let Some(count) = asked.get_mut(peer) {
        *count -= 1;
        if *count == 0 {
            asked.remove(peer);
        }
    }
}

/// The newest names. The oldest half is forgotten at a time.
#[derive(Debug, Default)]
struct Lately {
    newer: HashSet<TransactionId>,
    older: HashSet<TransactionId>,
}

impl Lately {
    fn insert(&mut self, id: TransactionId) {
        if self.newer.len() >= LATELY_MIN {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(id);
    }

    fn contains(&self, id: &TransactionId) -> bool {
        self.newer.contains(id) || self.older.contains(id)
    }
}

/// Who is told of new transactions: the leaders that are connected, or all members of a small
/// committee, and others only until they are [`EAGER`].
pub fn eager(
    full_nodes: &[NodeId],
    leaders: impl Iterator<Item = NodeId>,
    chance: impl Fn(&NodeId) -> u64,
) -> BTreeSet<NodeId> {
    let mut chosen: BTreeSet<_> = leaders.filter(|leader| full_nodes.contains(leader)).collect();
    let rest: Vec<_> = full_nodes.iter().filter(|peer| !chosen.contains(peer)).copied().collect();
    chosen.extend(some(&rest, EAGER.saturating_sub(chosen.len()), chance));
    chosen
}

/// So many of them, those that chance puts first.
pub fn some(peers: &[NodeId], count: usize, chance: impl Fn(&NodeId) -> u64) -> Vec<NodeId> {
    let mut peers = peers.to_vec();
    if count < peers.len() {
        peers.sort_by_cached_key(chance);
        peers.truncate(count);
    }
    peers
}

/// Another order each time. Nobody else knows its keys: a peer cannot see to it that it is always
/// chosen, or never.
pub fn chance() -> impl Fn(&NodeId) -> u64 {
    let random = RandomState::new();
    move |peer| random.hash_one(peer.0)
}

#[cfg(test)]
mod tests;
