//! State shared by the parts of a node: keys, store, network, the newest final state, waiting
//! transactions, known jobs.

use super::{
    coordinator::Coordinators,
    events::EventLog,
    jobs::Reports,
    machine::{Inbox, now_ms},
    mempool::{Mempool, Rejected, Source},
    metrics::Metrics,
    signature_batcher::SignatureBatcher,
    snapshot_cache::SnapshotCache,
    state_sync::SyncStatus,
    write_outbox::WriteOutbox,
};
use crate::{keys::Keys, store::Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use tequio_core::{
    codec::BoundedVec,
    consensus::Input,
    crypto::{KeyCache, KeyLookup as KeyPoints, KeyPoint, NodeKey},
    ledger::{
        Entry, Params, SignedTransaction, State, StateChange, VerifiedSignatureCache,
        committee::CommitteeRecord,
        epoch,
        job::{Job, JobId},
        leader, leader_seed,
        transaction::{InvalidTransaction, TransactionBatch},
    },
    types::{ChainId, Digest, Height, NodeId, Unverified, Verified},
    wire::light::FinalHeader,
};
use tequio_p2p::Network;
use tokio::sync::watch;

/// A key cache for several threads. None of them blocks the others while it decompresses a point.
#[derive(Debug, Default)]
pub struct SharedKeyCache(Mutex<KeyCache>);

impl KeyPoints for &SharedKeyCache {
    fn point(&mut self, key: &NodeId) -> Option<KeyPoint> {
        // Each change is one assignment, so a panic leaves no partial change.
        let cached = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cached().get(key);
        found.or_else(|| {
            let point = KeyPoint::of(key)?;
            cached().insert(key, point);
            Some(point)
        })
    }
}

/// Longest block intervals after which a head is stale (DESIGN rule 9).
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

/// Shared by all parts of one node.
#[derive(Debug)]
pub struct NodeContext {
    /// The node's keys.
    pub keys: Keys,
    /// The node's identity.
    pub id: NodeId,
    /// The chain of the node's network.
    pub chain: ChainId,
    /// Parameters of the chain.
    pub params: Params,
    /// The checkpoint file from which light nodes start.
    pub checkpoint: Vec<u8>,
    /// The store on disk.
    pub store: Store,
    /// The network of peers.
    pub network: Network,
    /// Waiting transactions.
    pub mempool: Mempool,
    /// Events for people.
    pub events: EventLog,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Progress reports of coordinators.
    pub reports: Reports,
    /// The coordinators of this node's own jobs.
    pub coordinators: Coordinators,
    /// States that other nodes may fetch whole.
    pub snapshots: SnapshotCache,
    /// Progress of catching up.
    pub sync_status: SyncStatus,
    /// Number of blocks behind the head from which a whole state is fetched instead.
    pub snapshot_when_behind: Height,
    /// The outbox of queued writes.
    pub outbox: WriteOutbox,
    /// The keys in the keystore. Rotation adds keys of the seat.
    pub stored_keys: Mutex<Keys>,
    /// Path of the keystore.
    pub keystore: PathBuf,
    /// The consensus replica.
    pub replica: Inbox<Input>,
    /// Checks the transactions of clients.
    pub signature_batcher: SignatureBatcher,
    /// Cached keys of transaction senders.
    pub key_cache: SharedKeyCache,
    /// Held while a transaction gets its nonce and signature.
    pub signing_lock: Mutex<()>,
    /// Held while the account is opened.
    pub registration_lock: tokio::sync::Mutex<()>,
    tip: watch::Sender<Arc<Tip>>,
    /// The newest height for which this node has accepted a proposal.
    highest_proposed: AtomicU64,
    /// Latency of the newest block, see [`Self::block_latency_ms`].
    latest_block_ms: AtomicU64,
    jobs: RwLock<BTreeMap<JobId, Job>>,
}

/// Why a transaction is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The transaction is invalid whatever the state.
    #[error("{0}")]
    Invalid(#[from] InvalidTransaction),
    /// The transaction does not fit the state, or the mempool has no room.
    #[error("{0}")]
    Rejected(#[from] Rejected),
}

/// The parts of a [`NodeContext`].
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ContextParts {
    pub keys: Keys,
    pub params: Params,
    pub checkpoint: Vec<u8>,
    pub store: Store,
    pub network: Network,
    pub tip: Tip,
    pub snapshot_when_behind: Height,
    pub keystore: PathBuf,
    pub replica: Inbox<Input>,
}

impl NodeContext {
    /// Assembles the context.
    pub fn new(parts: ContextParts) -> Self {
        let ContextParts {
            keys,
            params,
            checkpoint,
            store,
            network,
            tip,
            snapshot_when_behind,
            keystore,
            replica,
        } = parts;
        let tip = Arc::new(tip);
        let snapshots = SnapshotCache::default();
        snapshots.add_tip(&tip, true);
        let jobs = tip.state.jobs().map(|(id, job)| (*id, job.clone())).collect();
        Self {
            id: keys.id(),
            chain: tip.header.header.chain,
            params,
            checkpoint,
            store,
            network,
            mempool: Mempool::default(),
            events: EventLog::default(),
            metrics: Metrics::default(),
            reports: Reports::default(),
            coordinators: Coordinators::default(),
            snapshots,
            sync_status: SyncStatus::default(),
            snapshot_when_behind,
            outbox: WriteOutbox::default(),
            stored_keys: Mutex::new(keys.clone()),
            keystore,
            replica,
            keys,
            signature_batcher: SignatureBatcher::default(),
            key_cache: SharedKeyCache::default(),
            signing_lock: Mutex::default(),
            registration_lock: tokio::sync::Mutex::default(),
            tip: watch::channel(tip).0,
            highest_proposed: AtomicU64::default(),
            latest_block_ms: AtomicU64::default(),
            jobs: RwLock::new(jobs),
        }
    }

    /// The committee that decides the next block.
    pub fn committee(&self) -> CommitteeRecord {
        let tip = self.tip();
        let record = tip.state.committee(epoch::at_height(&self.params, tip.height() + 1)).cloned();
        // Every verified state has it.
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
        self.committee().seat_of(&self.id)
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
        self.highest_proposed.load(Ordering::Relaxed).max(tip)
    }

    /// Records that a proposal of this height was accepted.
    pub fn record_proposal(&self, height: Height) {
        self.highest_proposed.fetch_max(height, Ordering::Relaxed);
    }

    /// Time from the timestamp of the newest block until it was final here, milliseconds. This is
    /// the block latency if clocks agree; for a block received by sync it is longer.
    pub fn block_latency_ms(&self) -> u64 {
        self.latest_block_ms.load(Ordering::Relaxed)
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

    /// The key that signs transactions.
    pub fn node_key(&self) -> &NodeKey {
        &self.keys.node
    }

    /// The head of the chain.
    pub fn tip(&self) -> Arc<Tip> {
        self.tip.borrow().clone()
    }

    /// Age of the newest final block, milliseconds.
    pub fn head_age_ms(&self) -> u64 {
        now_ms().saturating_sub(self.tip.borrow().header.header.time_ms)
    }

    /// Whether no block has become final for so long that there seems to be no quorum, or this node
    /// is cut off from it (DESIGN rule 9). Reads then continue, and writes are queued.
    pub fn is_reduced(&self) -> bool {
        self.head_age_ms() > self.params.block_interval_ms_max.saturating_mul(STALE_INTERVALS)
    }

    /// Notifies of each new tip.
    pub fn watch_tip(&self) -> watch::Receiver<Arc<Tip>> {
        self.tip.subscribe()
    }

    /// Publishes a final block that is already on disk.
    pub fn advance(&self, tip: Tip, changes: &[StateChange]) {
        self.latest_block_ms
            .store(now_ms().saturating_sub(tip.header.header.time_ms), Ordering::Relaxed);
        {
            let mut jobs = self.jobs.write().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                if let Entry::Job(id, job) = change.entry() {
                    jobs.insert(*id, Job::clone(job));
                }
            }
        }
        self.publish_tip(tip);
    }

    /// Publishes a fetched final state that is already on disk.
    pub fn adopt(&self, tip: Tip) {
        let jobs = tip.state.jobs().map(|(id, job)| (*id, job.clone())).collect();
        *self.jobs.write().unwrap_or_else(PoisonError::into_inner) = jobs;
        self.publish_tip(tip);
    }

    fn publish_tip(&self, tip: Tip) {
        self.mempool.prune(&tip.state, tip.height() + 1);
        self.metrics.height.set(tip.height() as i64);
        let tip = Arc::new(tip);
        self.snapshots.add_tip(&tip, false);
        self.tip.send_replace(tip);
    }

    /// All jobs in the ledger.
    pub fn jobs(&self) -> Vec<(JobId, Job)> {
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().map(|(id, job)| (*id, job.clone())).collect()
    }

    /// A job in the ledger.
    pub fn job(&self, id: &JobId) -> Option<Job> {
        self.jobs.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Checks chain and signatures in one batch. Fails with the first error.
    pub(super) fn verify_all(
        &self,
        transactions: Vec<SignedTransaction>,
    ) -> Result<Vec<Verified<SignedTransaction>>, InvalidTransaction> {
        TransactionBatch::new(
            transactions,
            &self.chain,
            &VerifiedSignatureCache::default(),
            &mut &self.key_cache,
        )?
        .verify()
    }

    /// Inserts transactions of peers and returns the number of new ones. All signatures are checked
    /// in one batch. If it fails, each message is a batch; if that fails too, its signatures are
    /// checked singly. So a peer that sends a false signature delays only its own messages.
    pub fn accept_from_peers(&self, received: Vec<(Source, Vec<SignedTransaction>)>) -> usize {
        let tip = self.tip();
        let height = tip.height() + 1;
        // Only the first copy needs a signature check. A copy with another signature counts as
        // different, because that signature may be the valid one.
        let mut seen = BTreeSet::new();
        let mut is_possible = |t: &SignedTransaction| {
            let id = t.id();
            !self.mempool.contains(&id)
                && tip.state.admits(&t.transaction, height).is_ok()
                && seen.insert((id, t.signature.0))
        };
        let mut messages = received;
        messages.iter_mut().for_each(|(_, transactions)| transactions.retain(&mut is_possible));
        let all: Vec<_> =
            messages.iter().flat_map(|(_, transactions)| transactions).cloned().collect();
        self.metrics.peer_transactions.inc_by(all.len() as u64);
        let check = |transactions: Vec<SignedTransaction>| {
            self.metrics.peer_verifications.inc_by(u64::from(!transactions.is_empty()));
            self.verify_all(transactions)
        };
        let mut verified: Vec<(Source, Verified<SignedTransaction>)> = Vec::new();
        match check(all) {
            Ok(all) => {
                let sources =
                    messages.iter().flat_map(|(source, of)| std::iter::repeat_n(*source, of.len()));
                verified.extend(sources.zip(all));
            }
            Err(_) => {
                for (source, transactions) in messages {
                    let right = check(transactions.clone()).unwrap_or_else(|_| {
                        self.metrics.peer_verifications.inc_by(transactions.len() as u64);
                        transactions
                            .into_iter()
                            .filter_map(|t| Unverified::new(t).verify(&self.chain).ok())
                            .collect()
                    });
                    verified.extend(right.into_iter().map(|t| (source, t)));
                }
            }
        }
        let insert =
            |(source, t)| self.mempool.insert(t, source, &tip.state, height).unwrap_or(false);
        verified.into_iter().map(insert).filter(|new| *new).count()
    }

    /// Connected peers that claim to be full nodes.
    pub fn full_nodes(&self) -> Vec<NodeId> {
        self.network.peers_by_agent(|agent| agent.starts_with(AGENT_PREFIX))
    }
}

/// Prefix of the agent string of full nodes.
pub const AGENT_PREFIX: &str = "tequio-node/";

#[cfg(test)]
mod tests {
    use crate::node::fixture::Fixture;

    #[test]
    fn leaders_of_proposed_heights_are_not_upcoming_proposers() {
        let fixture = Fixture::of(4);
        let context = &fixture.context;
        let leaders = context.upcoming_leaders(5);
        assert_eq!(leaders.iter().map(|(height, _)| *height).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(context.upcoming_proposers(2), leaders[..2]);
        context.record_proposal(1);
        assert_eq!(context.upcoming_proposers(2), leaders[1..3]);
        context.record_proposal(2);
        context.record_proposal(1);
        assert_eq!(context.upcoming_proposers(2), leaders[2..4]);
        // If no other leaders are known, leaders of proposed heights are better than none.
        context.record_proposal(100);
        assert_eq!(context.upcoming_proposers(2), leaders[..2]);
    }

    #[test]
    fn a_node_without_a_seat_considers_more_leaders() {
        let fixture = Fixture::without_seat(4);
        assert_eq!(fixture.context.upcoming_proposers(2), fixture.context.upcoming_leaders(4));
    }
}
