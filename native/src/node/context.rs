//! What the parts of a node share: keys, store, network, the newest final state, waiting
//! transactions, known jobs.

use super::{
    admission::Admission,
    coordinator::Coordinators,
    events::EventLog,
    jobs::Reports,
    machine::{Inbox, now_ms},
    mempool::{Mempool, Rejected, Source},
    metrics::Metrics,
    queue::Queue,
    snapshot::Catching,
    snapshots::Snapshots,
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
    crypto::{KeyPoint, Keys as KeyPoints, KnownKeys, NodeKey},
    ledger::{
        Change, CheckedSet, Entry, Params, SignedTransaction, State,
        committee::CommitteeRecord,
        epoch,
        job::{Job, JobId},
        leader, seed,
        transaction::{Claims, InvalidTransaction},
    },
    types::{ChainId, Digest, Height, NodeId, Unverified, Verified},
    wire::light::FinalHeader,
};
use tequio_p2p::Network;
use tokio::sync::watch;

/// Known keys for several threads: none of them keeps the others waiting while it works a point
/// out.
#[derive(Debug, Default)]
pub struct SharedKeys(Mutex<KnownKeys>);

impl KeyPoints for &SharedKeys {
    fn point(&mut self, key: &NodeId) -> Option<KeyPoint> {
        // A change of them is one assignment: nothing is left half done.
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known().get(key);
        found.or_else(|| {
            let point = KeyPoint::of(key)?;
            known().insert(key, point);
            Some(point)
        })
    }
}

/// Longest intervals between blocks after which a head is stale (DESIGN rule 9).
const STALE_INTERVALS: u64 = 3;

/// Heights that can have a proposal before the first of them is final.
const AT_ONCE: Height = 2;

/// Where the chain stands.
#[derive(Clone, Debug)]
pub struct Tip {
    /// The newest final header.
    pub header: FinalHeader,
    /// Its digest.
    pub digest: Digest,
    /// The state after it.
    pub state: State,
}

impl Tip {
    /// Of a final block.
    pub fn new(header: FinalHeader, state: State) -> Self {
        Self { digest: header.header.digest(), header, state }
    }

    /// The number of the block.
    pub fn height(&self) -> Height {
        self.header.header.height
    }
}

/// Shared by all parts of one node.
#[derive(Debug)]
pub struct Context {
    /// Its keys.
    pub keys: Keys,
    /// Who it is.
    pub id: NodeId,
    /// The network it belongs to.
    pub chain: ChainId,
    /// Constants of the chain.
    pub params: Params,
    /// The file from which light nodes start.
    pub checkpoint: Vec<u8>,
    /// Its disk.
    pub store: Store,
    /// Its peers.
    pub network: Network,
    /// Waiting transactions.
    pub mempool: Mempool,
    /// What is worth showing.
    pub events: EventLog,
    /// What is counted.
    pub metrics: Metrics,
    /// What coordinators say of their jobs.
    pub reports: Reports,
    /// The coordinators of this node's own jobs.
    pub coordinators: Coordinators,
    /// The states that others may fetch whole.
    pub snapshots: Snapshots,
    /// What is done to catch up.
    pub sync: Catching,
    /// Blocks behind which a whole state is fetched instead.
    pub snapshot_when_behind: Height,
    /// Tells of writes that wait.
    pub queue: Queue,
    /// The keys as they are in the keystore, and where that is: those of the seat may become more.
    pub vault: Mutex<Keys>,
    /// Its path.
    pub keystore: PathBuf,
    /// The consensus replica.
    pub replica: Inbox<Input>,
    /// Takes what clients bring.
    pub admission: Admission,
    /// Keys of those whose transactions came.
    pub known_keys: SharedKeys,
    /// Held while a transaction is numbered and signed.
    pub signing: Mutex<()>,
    /// Held while the account is opened.
    pub registering: tokio::sync::Mutex<()>,
    tip: watch::Sender<Arc<Tip>>,
    /// The newest height of which this node has taken a proposal.
    proposed: AtomicU64,
    /// Of the newest block, see [`Self::block_took_ms`].
    took_ms: AtomicU64,
    jobs: RwLock<BTreeMap<JobId, Job>>,
}

/// Why a transaction is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// Not even looked at.
    #[error("{0}")]
    Invalid(#[from] InvalidTransaction),
    /// Does not fit the state, or there is no room.
    #[error("{0}")]
    Rejected(#[from] Rejected),
}

/// What a [`Context`] is made of.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Parts {
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

impl Context {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
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
        let snapshots = Snapshots::default();
        snapshots.note(&tip, true);
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
            sync: Catching::default(),
            snapshot_when_behind,
            queue: Queue::default(),
            vault: Mutex::new(keys.clone()),
            keystore,
            replica,
            keys,
            admission: Admission::default(),
            known_keys: SharedKeys::default(),
            signing: Mutex::default(),
            registering: tokio::sync::Mutex::default(),
            tip: watch::channel(tip).0,
            proposed: AtomicU64::default(),
            took_ms: AtomicU64::default(),
            jobs: RwLock::new(jobs),
        }
    }

    /// Who decides the next block.
    pub fn committee(&self) -> CommitteeRecord {
        let tip = self.tip();
        let record = tip.state.committee(epoch::of(&self.params, tip.height() + 1)).cloned();
        // Every state that was verified has it.
        record.unwrap_or(CommitteeRecord { epoch: 0, formed_ms: 0, seats: BoundedVec::new() })
    }

    /// How many seats it has.
    pub fn committee_len(&self) -> usize {
        let tip = self.tip();
        tip.state
            .committee(epoch::of(&self.params, tip.height() + 1))
            .map_or(0, |record| record.seats.len())
    }

    /// This node's seat in it.
    pub fn seat(&self) -> Option<usize> {
        self.committee().seat_of(&self.id)
    }

    /// Whether a node has a seat in it.
    pub fn committee_has(&self, node: &NodeId) -> bool {
        let tip = self.tip();
        let record = tip.state.committee(epoch::of(&self.params, tip.height() + 1));
        record.is_some_and(|record| record.seats.iter().any(|seat| seat.node == *node))
    }

    /// Who leads the first views of the next blocks, as far as the term and the epoch reach.
    pub fn next_leaders(&self, count: Height) -> Vec<(Height, NodeId)> {
        let tip = self.tip();
        let Ok(seed) = seed::after(&tip.header.header) else { return Vec::new() };
        let next = tip.height() + 1;
        let within_term = (next..next + count)
            .take_while(|h| *h == next || !seed::ends_term(&self.params, h - 1));
        let leader = |height| {
            let record = tip.state.committee(epoch::of(&self.params, height))?;
            let seat = leader::leader_among(&record.seats, &seed, height, 0);
            record.seats.get(seat).map(|seat| (height, seat.node))
        };
        within_term.map_while(leader).collect()
    }

    /// Who builds the next blocks: as [`Self::next_leaders`], but without the heights that have a
    /// proposal already, while others are known. A node without a seat hears of no proposal,
    /// and of blocks late: so many more are named to it.
    pub fn next_builders(&self, count: Height) -> Vec<(Height, NodeId)> {
        if self.seat().is_none() {
            return self.next_leaders(count + AT_ONCE);
        }
        let tip = self.tip().height();
        let begun = self.begun(tip);
        let mut leaders = self.next_leaders(count + (begun - tip).min(AT_ONCE));
        if leaders.last().is_some_and(|(height, _)| *height > begun) {
            leaders.retain(|(height, _)| *height > begun);
        }
        leaders.truncate(count as usize);
        leaders
    }

    /// The newest height whose block nobody can put anything into any more, as far as this node
    /// knows.
    pub fn begun(&self, tip: Height) -> Height {
        self.proposed.load(Ordering::Relaxed).max(tip)
    }

    /// A proposal of this height was taken.
    pub fn note_proposal(&self, height: Height) {
        self.proposed.fetch_max(height, Ordering::Relaxed);
    }

    /// From the time that the newest block bears until it was final here, milliseconds: what blocks
    /// take, where clocks agree; of one that came by sync, more.
    pub fn block_took_ms(&self) -> u64 {
        self.took_ms.load(Ordering::Relaxed)
    }

    /// Whose word on consensus is worth reading: those who decide, and those who may from the next
    /// turn on.
    pub fn speakers(&self) -> BTreeSet<NodeId> {
        let tip = self.tip();
        self.committee()
            .seats
            .iter()
            .map(|seat| seat.node)
            .chain(tip.state.roster().iter().copied())
            .collect()
    }

    /// The key that signs transactions.
    pub fn node_key(&self) -> &NodeKey {
        &self.keys.node
    }

    /// Where the chain stands.
    pub fn tip(&self) -> Arc<Tip> {
        self.tip.borrow().clone()
    }

    /// How old the newest final block is, milliseconds.
    pub fn head_age_ms(&self) -> u64 {
        now_ms().saturating_sub(self.tip.borrow().header.header.time_ms)
    }

    /// Whether no block has become final for so long that there seems to be no quorum, or this node
    /// is cut off from it (DESIGN rule 9): then reads go on, and writes are queued.
    pub fn is_reduced(&self) -> bool {
        self.head_age_ms() > self.params.block_interval_ms_max.saturating_mul(STALE_INTERVALS)
    }

    /// Tells of each new tip.
    pub fn watch_tip(&self) -> watch::Receiver<Arc<Tip>> {
        self.tip.subscribe()
    }

    /// Makes a final block known, after it is on disk.
    pub fn advance(&self, tip: Tip, changes: &[Change]) {
        self.took_ms.store(now_ms().saturating_sub(tip.header.header.time_ms), Ordering::Relaxed);
        {
            let mut jobs = self.jobs.write().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                if let Entry::Job(id, job) = change.entry() {
                    jobs.insert(*id, Job::clone(job));
                }
            }
        }
        self.show(tip);
    }

    /// Makes a final state known that was fetched whole, after it is on disk.
    pub fn adopt(&self, tip: Tip) {
        let jobs = tip.state.jobs().map(|(id, job)| (*id, job.clone())).collect();
        *self.jobs.write().unwrap_or_else(PoisonError::into_inner) = jobs;
        self.show(tip);
    }

    fn show(&self, tip: Tip) {
        self.mempool.prune(&tip.state, tip.height() + 1);
        self.metrics.height.set(tip.height() as i64);
        let tip = Arc::new(tip);
        self.snapshots.note(&tip, false);
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

    /// Checks chain and signatures at once: all of them are right, or the first fault is told.
    pub(super) fn verify_all(
        &self,
        transactions: Vec<SignedTransaction>,
    ) -> Result<Vec<Verified<SignedTransaction>>, InvalidTransaction> {
        Claims::new(transactions, &self.chain, &CheckedSet::default(), &mut &self.known_keys)?
            .verify()
    }

    /// Takes in what peers tell and counts what is new: all signatures at once; where that fails,
    /// those of one message at once; and where that fails, one by one, so that who tells a
    /// false one slows down its own words only.
    pub fn accept_told(&self, told: Vec<(Source, Vec<SignedTransaction>)>) -> usize {
        let tip = self.tip();
        let height = tip.height() + 1;
        // Only the first copy is worth a look at its signature; one with another signature is
        // another, and may be the right one.
        let mut seen = BTreeSet::new();
        let mut is_possible = |t: &SignedTransaction| {
            let id = t.id();
            !self.mempool.contains(&id)
                && tip.state.admits(&t.transaction, height).is_ok()
                && seen.insert((id, t.signature.0))
        };
        let mut messages = told;
        messages.iter_mut().for_each(|(_, transactions)| transactions.retain(&mut is_possible));
        let all: Vec<_> =
            messages.iter().flat_map(|(_, transactions)| transactions).cloned().collect();
        self.metrics.told.inc_by(all.len() as u64);
        let check = |transactions: Vec<SignedTransaction>| {
            self.metrics.told_checks.inc_by(u64::from(!transactions.is_empty()));
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
                        self.metrics.told_checks.inc_by(transactions.len() as u64);
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

    /// Connected peers that say they are full nodes.
    pub fn full_nodes(&self) -> Vec<NodeId> {
        self.network.peers_by_agent(|agent| agent.starts_with(AGENT_PREFIX))
    }
}

/// How full nodes introduce themselves.
pub const AGENT_PREFIX: &str = "tequio-node/";

#[cfg(test)]
mod tests {
    use crate::node::fixture::Fixture;

    #[test]
    fn who_leads_a_height_that_has_a_proposal_builds_no_more() {
        let fixture = Fixture::of(4);
        let context = &fixture.context;
        let leaders = context.next_leaders(5);
        assert_eq!(leaders.iter().map(|(height, _)| *height).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(context.next_builders(2), leaders[..2]);
        context.note_proposal(1);
        assert_eq!(context.next_builders(2), leaders[1..3]);
        context.note_proposal(2);
        context.note_proposal(1);
        assert_eq!(context.next_builders(2), leaders[2..4]);
        // Where no others are known, they are better than nobody.
        context.note_proposal(100);
        assert_eq!(context.next_builders(2), leaders[..2]);
    }

    #[test]
    fn a_node_without_a_seat_reckons_with_what_it_has_not_heard() {
        let fixture = Fixture::without_seat(4);
        assert_eq!(fixture.context.next_builders(2), fixture.context.next_leaders(4));
    }
}
