//! The chain as this node knows it: the newest final block with its state, the jobs of the ledger,
//! and the leaders of the next blocks.

use super::machine::now_ms;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tequio_core::{
    codec::BoundedVec,
    ledger::{
        Entry, Params, State, StateChange,
        committee::CommitteeRecord,
        epoch,
        job::{Job, JobId},
        leader, leader_seed,
    },
    types::{ChainId, Digest, Height, NodeId},
    wire::light::FinalHeader,
};
use tokio::sync::watch;

/// Longest block intervals after which a head is stale.
const STALE_INTERVALS: u64 = 3;

/// Heights that can have a proposal before the first of them is final.
const HEIGHTS_IN_FLIGHT: Height = 2;

/// The head of the chain.
#[derive(Clone, Debug)]
pub struct Tip {
    /// The newest final header.
    pub header: FinalHeader,
    /// Digest of the header.
    pub digest: Digest,
    /// The state after the block.
    pub state: State,
}

impl Tip {
    /// The tip after a final block.
    pub fn new(header: FinalHeader, state: State) -> Self {
        Self { digest: header.header.digest(), header, state }
    }

    /// The height of the block.
    pub fn height(&self) -> Height {
        self.header.header.height
    }
}

/// A view of the chain from one node. Clones share the newest block. Only the consensus driver
/// publishes blocks.
#[derive(Clone, Debug)]
pub struct ChainView {
    /// This node.
    pub node: NodeId,
    /// The chain of the node's network.
    pub id: ChainId,
    /// Parameters of the chain.
    pub params: Params,
    live: Arc<Live>,
}

#[derive(Debug)]
struct Live {
    tip: watch::Sender<Arc<Tip>>,
    /// The newest height for which this node has accepted a proposal.
    highest_proposed: AtomicU64,
    /// Latency of the newest block, see [`ChainView::block_latency_ms`].
    latest_block_ms: AtomicU64,
    jobs: RwLock<BTreeMap<JobId, Job>>,
}

impl ChainView {
    /// The view of a node that starts with this tip.
    pub fn new(node: NodeId, params: Params, tip: Arc<Tip>) -> Self {
        let live = Live {
            highest_proposed: AtomicU64::default(),
            latest_block_ms: AtomicU64::default(),
            jobs: RwLock::new(jobs_of(&tip)),
            tip: watch::channel(tip.clone()).0,
        };
        Self { node, id: tip.header.header.chain, params, live: Arc::new(live) }
    }

    /// The committee that decides the next block.
    pub fn committee(&self) -> CommitteeRecord {
        let tip = self.tip();
        let record = tip.state.committee(epoch::at_height(&self.params, tip.height() + 1)).cloned();
        // Every verified state contains this committee.
        record.unwrap_or(CommitteeRecord { epoch: 0, formed_ms: 0, seats: BoundedVec::new() })
    }

    /// Number of seats of that committee.
    pub fn committee_len(&self) -> usize {
        let tip = self.tip();
        tip.state
            .committee(epoch::at_height(&self.params, tip.height() + 1))
            .map_or(0, |record| record.seats.len())
    }

    /// This node's seat in that committee.
    pub fn seat(&self) -> Option<usize> {
        self.committee().seat_of(&self.node)
    }

    /// Whether a node has a seat in that committee.
    pub fn committee_has(&self, node: &NodeId) -> bool {
        let tip = self.tip();
        let record = tip.state.committee(epoch::at_height(&self.params, tip.height() + 1));
        record.is_some_and(|record| record.seats.iter().any(|seat| seat.node == *node))
    }

    /// Leaders of the first views of the next blocks, within the leader term and the epoch.
    pub fn upcoming_leaders(&self, count: Height) -> Vec<(Height, NodeId)> {
        let tip = self.tip();
        let Ok(seed) = leader_seed::next(&tip.header.header) else { return Vec::new() };
        let next = tip.height() + 1;
        let within_term = (next..next + count)
            .take_while(|h| *h == next || !leader_seed::ends_leader_term(&self.params, h - 1));
        let leader = |height| {
            let record = tip.state.committee(epoch::at_height(&self.params, height))?;
            let seat = leader::leader_among(&record.seats, &seed, height, 0);
            record.seats.get(seat).map(|seat| (height, seat.node))
        };
        within_term.map_while(leader).collect()
    }

    /// Proposers of the next blocks: as [`Self::upcoming_leaders`], but without the heights that
    /// already have a proposal, if other leaders are known. A node without a seat receives no
    /// proposals, and blocks late, so it gets additional leaders.
    pub fn upcoming_proposers(&self, count: Height) -> Vec<(Height, NodeId)> {
        if self.seat().is_none() {
            return self.upcoming_leaders(count + HEIGHTS_IN_FLIGHT);
        }
        let tip = self.tip().height();
        let proposed = self.proposed_height(tip);
        let mut leaders = self.upcoming_leaders(count + (proposed - tip).min(HEIGHTS_IN_FLIGHT));
        if leaders.last().is_some_and(|(height, _)| *height > proposed) {
            leaders.retain(|(height, _)| *height > proposed);
        }
        leaders.truncate(count as usize);
        leaders
    }

    /// The newest height to whose block no transaction can be added any more, as far as this node
    /// knows.
    pub fn proposed_height(&self, tip: Height) -> Height {
        self.live.highest_proposed.load(Ordering::Relaxed).max(tip)
    }

    /// Records that a proposal of this height was accepted.
    pub fn record_proposal(&self, height: Height) {
        self.live.highest_proposed.fetch_max(height, Ordering::Relaxed);
    }

    /// Time from the timestamp of the newest block until it was final here, milliseconds. This is
    /// the block latency if clocks agree; for a block received by sync it is longer.
    pub fn block_latency_ms(&self) -> u64 {
        self.live.latest_block_ms.load(Ordering::Relaxed)
    }

    /// Peers whose consensus messages are accepted: the committee, and the members that may get a
    /// seat at the next epoch boundary.
    pub fn consensus_peers(&self) -> BTreeSet<NodeId> {
        let tip = self.tip();
        self.committee()
            .seats
            .iter()
            .map(|seat| seat.node)
            .chain(tip.state.member_set().iter().copied())
            .collect()
    }

    /// The head of the chain.
    pub fn tip(&self) -> Arc<Tip> {
        self.live.tip.borrow().clone()
    }

    /// Age of the newest final block, milliseconds.
    pub fn head_age_ms(&self) -> u64 {
        now_ms().saturating_sub(self.live.tip.borrow().header.header.time_ms)
    }

    /// Whether no block has become final for so long that there seems to be no quorum, or this node
    /// is cut off from it. Reads then continue, and writes are queued.
    pub fn is_reduced(&self) -> bool {
        self.head_age_ms() > self.params.block_interval_ms_max.saturating_mul(STALE_INTERVALS)
    }

    /// Notifies of each new tip.
    pub fn watch_tip(&self) -> watch::Receiver<Arc<Tip>> {
        self.live.tip.subscribe()
    }

    /// Publishes a final block that is already on disk.
    pub fn advance(&self, tip: Arc<Tip>, changes: &[StateChange]) {
        self.live
            .latest_block_ms
            .store(now_ms().saturating_sub(tip.header.header.time_ms), Ordering::Relaxed);
        {
            let mut jobs = self.live.jobs.write().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                if let Entry::Job(id, job) = change.entry() {
                    jobs.insert(*id, Job::clone(job));
                }
            }
        }
        self.live.tip.send_replace(tip);
    }

    /// Publishes a fetched final state that is already on disk.
    pub fn adopt(&self, tip: Arc<Tip>) {
        *self.live.jobs.write().unwrap_or_else(PoisonError::into_inner) = jobs_of(&tip);
        self.live.tip.send_replace(tip);
    }

    /// All jobs in the ledger.
    pub fn jobs(&self) -> Vec<(JobId, Job)> {
        let jobs = self.live.jobs.read().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().map(|(id, job)| (*id, job.clone())).collect()
    }

    /// A job in the ledger.
    pub fn job(&self, id: &JobId) -> Option<Job> {
        self.live.jobs.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

fn jobs_of(tip: &Tip) -> BTreeMap<JobId, Job> {
    tip.state.jobs().map(|(id, job)| (*id, job.clone())).collect()
}

#[cfg(test)]
mod tests {
    use crate::node::fixture::Fixture;

    #[test]
    fn leaders_of_proposed_heights_are_not_upcoming_proposers() {
        let fixture = Fixture::of(4);
        let chain = &fixture.chain;
        let leaders = chain.upcoming_leaders(5);
        assert_eq!(leaders.iter().map(|(height, _)| *height).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(chain.upcoming_proposers(2), leaders[..2]);
        chain.record_proposal(1);
        assert_eq!(chain.upcoming_proposers(2), leaders[1..3]);
        chain.record_proposal(2);
        chain.record_proposal(1);
        assert_eq!(chain.upcoming_proposers(2), leaders[2..4]);
        // If no other leaders are known, leaders of proposed heights are better than none.
        chain.record_proposal(100);
        assert_eq!(chain.upcoming_proposers(2), leaders[..2]);
    }

    #[test]
    fn a_node_without_a_seat_considers_more_leaders() {
        let fixture = Fixture::without_seat(4);
        assert_eq!(fixture.chain.upcoming_proposers(2), fixture.chain.upcoming_leaders(4));
    }
}
