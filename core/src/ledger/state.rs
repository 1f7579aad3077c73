//! The state: accounts, jobs, refs and the committee, under one root that proves every part.

mod chunk;

pub use chunk::{CHUNK_ENTRIES_MAX, CHUNK_LEN_MAX, ChunkError, StateChunk};

use super::{
    committee::CommitteeRecord,
    evidence::ConvictionReason,
    genesis::Params,
    job::{Job, JobId},
    membership::{MEMBERS_MAX, Member},
    transaction::RefName,
};
use crate::{
    codec::{self, BoundedVec, DecodeError},
    crypto::{
        bls::PublicKeyBytes,
        hash::{HashContext, hash, hash_of},
        vrf,
    },
    knowledge::Cid,
    merkle::map::{BadProof, Leaf, Map, MapProof},
    types::{ChainId, Digest, Epoch, Height, NodeId},
};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded entry, bytes.
pub const ENTRY_LEN_MAX: usize = 128 * 1024;
/// Blocks whose digests the state keeps: anchors for admission, seeds for draws.
pub const RECENT_BLOCKS: Height = 256;
/// Blocks over which [`Params::mint_max`] counts.
pub const MINT_WINDOW: Height = 10_000;
/// Most refs of one owner.
pub const REFS_PER_OWNER_MAX: u32 = 1024;
/// Most running or pending jobs of one coordinator.
pub const JOBS_PER_OWNER_MAX: u32 = 16;

/// The key of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Key {
    /// A member's account.
    Account(NodeId),
    /// A named pointer into the knowledge base.
    Ref(RefName),
    /// A job.
    Job(JobId),
    /// The committee of an epoch.
    Committee(Epoch),
    /// The chain's constants.
    Params,
    /// A BLS key that was registered; it stays unique for ever.
    VotingKey(PublicKeyBytes),
    /// A recent block: slot `height % RECENT_BLOCKS`.
    Recent(u8),
    /// Jobs whose results wait for auditors.
    PendingJobs,
    /// The conviction of a member.
    Conviction(NodeId),
    /// A VRF key that was registered; it stays unique for ever.
    VrfKey(vrf::PublicKeyBytes),
    /// A member's requests, keys and status.
    Member(NodeId),
    /// All members that have not left.
    MemberSet,
}

/// An entry of the state; it determines its own [`Key`]. Nearly all entries are accounts and refs,
/// so larger and rare ones are boxed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Entry {
    /// Under [`Key::Account`].
    Account(Account),
    /// Under [`Key::Ref`].
    Ref(Ref),
    /// Under [`Key::Job`].
    Job(JobId, Box<Job>),
    /// Under [`Key::Committee`].
    Committee(CommitteeRecord),
    /// Under [`Key::Params`].
    Params(Params),
    /// Under [`Key::VotingKey`].
    VotingKey(PublicKeyBytes),
    /// Under [`Key::Recent`].
    Recent(RecentBlock),
    /// Under [`Key::PendingJobs`].
    PendingJobs(BoundedVec<JobId, 4096>),
    /// Under [`Key::Conviction`].
    Conviction(Conviction),
    /// Under [`Key::VrfKey`].
    VrfKey(vrf::PublicKeyBytes),
    /// Under [`Key::Member`].
    Member(Box<Member>),
    /// Under [`Key::MemberSet`].
    MemberSet(BoundedVec<NodeId, MEMBERS_MAX>),
}

/// The account of a node.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Account {
    /// The node.
    pub node: NodeId,
    /// Whether the node may send transactions: members of genesis and nodes admitted by
    /// [`super::Action::Register`].
    pub registered: bool,
    /// The nonce of the next transaction.
    pub nonce: u64,
    /// Free balance.
    pub balance: u64,
    /// Balance bonded for the seat.
    pub bond: u64,
    /// Earned by checked work. Reputation admits and ranks members, but gives no votes.
    pub reputation: u64,
    /// Work units computed in final jobs.
    pub units: u64,
    /// Work units of others recomputed in final jobs.
    pub checks: u64,
    /// Multiply-accumulates in final jobs.
    pub macs: u64,
    /// Number of refs it owns.
    pub refs: u32,
    /// Number of its jobs that are running or pending.
    pub jobs: u32,
    /// Mint window, and reputation that its jobs have minted in that window.
    pub minted: (u64, u64),
}

/// A named pointer. Only its owner moves it or, under `models/`, a job that becomes final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ref {
    /// Full name.
    pub name: RefName,
    /// Owner of its name space; none for `models/`.
    pub owner: Option<NodeId>,
    /// Number of moves.
    pub sequence: u64,
    /// The object it points to.
    pub cid: Cid,
    /// Height of the last move.
    pub height: Height,
}

/// A block that the state keeps.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RecentBlock {
    /// Number.
    pub height: Height,
    /// Digest of its header.
    pub digest: Digest,
}

/// The conviction of a member for two contradicting statements. It is permanent.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Conviction {
    /// The member.
    pub node: NodeId,
    /// The offence.
    pub reason: ConvictionReason,
    /// Height of the conviction.
    pub height: Height,
    /// The node that reported it.
    pub reporter: NodeId,
    /// The bond that the member lost.
    pub bond: u64,
}

impl Account {
    /// An empty account.
    pub fn new(node: NodeId, nonce: u64) -> Self {
        Self {
            node,
            registered: true,
            nonce,
            balance: 0,
            bond: 0,
            reputation: 0,
            units: 0,
            checks: 0,
            macs: 0,
            refs: 0,
            jobs: 0,
            minted: (0, 0),
        }
    }
}

impl Key {
    /// The state key: the digest under which the tree holds the entry.
    pub fn digest(&self) -> Digest {
        hash_of(HashContext::StateKey, self)
    }
}

/// The state key of an account.
pub(super) fn account_state_key(node: &NodeId) -> Digest {
    Key::Account(*node).digest()
}

/// The state key of a ref, without a copy of its name.
pub(super) fn ref_state_key(name: &RefName) -> Digest {
    // As borsh encodes the second variant of `Key`.
    hash_of(HashContext::StateKey, &(1u8, name))
}

impl Entry {
    /// The state key: the digest under which the tree holds the entry.
    pub fn state_key(&self) -> Digest {
        match self {
            Self::Ref(r) => ref_state_key(&r.name),
            other => other.key().digest(),
        }
    }

    /// The key of the entry.
    pub fn key(&self) -> Key {
        match self {
            Self::Account(account) => Key::Account(account.node),
            Self::Ref(r) => Key::Ref(r.name.clone()),
            Self::Job(id, _) => Key::Job(*id),
            Self::Committee(record) => Key::Committee(record.epoch),
            Self::Params(_) => Key::Params,
            Self::VotingKey(key) => Key::VotingKey(*key),
            Self::Recent(block) => Key::Recent((block.height % RECENT_BLOCKS) as u8),
            Self::PendingJobs(_) => Key::PendingJobs,
            Self::Conviction(conviction) => Key::Conviction(conviction.node),
            Self::VrfKey(key) => Key::VrfKey(*key),
            Self::Member(member) => Key::Member(member.node),
            Self::MemberSet(_) => Key::MemberSet,
        }
    }
}

/// All entries. Copies share their structure.
#[derive(Clone, Debug, Default)]
pub struct State {
    tree: Map<Entry>,
    /// Entries that the block being applied has changed, by state key, see [`State::stage`]. Empty
    /// at any other time.
    staged: BTreeMap<Digest, Entry>,
}

/// An entry that a block has set.
#[derive(Clone, Debug)]
pub struct StateChange {
    /// The leaf, shared with the tree.
    leaf: Arc<Leaf<Entry>>,
    /// The encoded entry.
    pub bytes: Vec<u8>,
}

impl StateChange {
    /// The change that sets this entry.
    pub fn new(entry: Entry) -> Self {
        Self::at(entry.state_key(), entry)
    }

    fn at(state_key: Digest, entry: Entry) -> Self {
        let bytes = codec::encode(&entry);
        Self { leaf: Arc::new(Leaf::new(state_key, value_digest(&bytes), entry)), bytes }
    }

    /// The state key: the digest of the entry's key.
    pub fn state_key(&self) -> &Digest {
        self.leaf.key()
    }

    /// The new entry.
    pub fn entry(&self) -> &Entry {
        self.leaf.item()
    }
}

impl State {
    /// The digest that headers commit to.
    pub fn root(&self) -> Digest {
        debug_assert!(self.staged.is_empty(), "the root of a block that is half applied");
        self.tree.root()
    }

    /// Sets an entry.
    pub fn insert(&mut self, entry: Entry) {
        self.tree.insert(entry.state_key(), value_digest(&codec::encode(&entry)), entry);
    }

    /// Sets an entry for readers, but not yet in the tree. A block changes some entries repeatedly,
    /// and inserting many at once is cheaper.
    pub(super) fn stage(&mut self, state_key: Digest, entry: Entry) {
        debug_assert_eq!(state_key, entry.state_key(), "an entry staged under another state key");
        self.staged.insert(state_key, entry);
    }

    /// Moves all staged entries into the tree and returns them in the order of their state keys.
    pub(super) fn commit_staged(&mut self) -> Vec<StateChange> {
        let staged = core::mem::take(&mut self.staged).into_iter();
        let changes: Vec<StateChange> =
            staged.map(|(state_key, entry)| StateChange::at(state_key, entry)).collect();
        self.tree.insert_all(changes.iter().map(|change| change.leaf.clone()));
        changes
    }

    /// The entry under a key.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entry_at(&key.digest())
    }

    /// Prefetches the entries under these state keys into the processor's caches and returns their
    /// number.
    pub(super) fn prefetch(&self, state_keys: &[Digest]) -> usize {
        core::hint::black_box(self.tree.values_of(state_keys).count())
    }

    fn entry_at(&self, state_key: &Digest) -> Option<&Entry> {
        self.staged.get(state_key).or_else(|| self.tree.value(state_key))
    }

    /// All entries, in no meaningful order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        debug_assert!(self.staged.is_empty(), "the entries of a block that is half applied");
        self.tree.values()
    }

    /// The bytes under a key, if any, with the proof of their presence or absence.
    pub fn prove(&self, key: &Key) -> ProvedEntry {
        ProvedEntry {
            entry: self.entry(key).map(|entry| BoundedVec::truncated(codec::encode(entry))),
            proof: self.tree.prove(&key.digest()),
        }
    }

    /// A member's account.
    pub fn account(&self, node: &NodeId) -> Option<&Account> {
        self.account_at(&account_state_key(node))
    }

    pub(super) fn account_at(&self, state_key: &Digest) -> Option<&Account> {
        match self.entry_at(state_key)? {
            Entry::Account(account) => Some(account),
            _ => None,
        }
    }

    /// A job.
    pub fn job(&self, id: &JobId) -> Option<&Job> {
        match self.entry(&Key::Job(*id))? {
            Entry::Job(_, job) => Some(job),
            _ => None,
        }
    }

    /// All jobs.
    pub fn jobs(&self) -> impl Iterator<Item = (&JobId, &Job)> {
        self.entries().filter_map(|entry| match entry {
            Entry::Job(id, job) => Some((id, &**job)),
            _ => None,
        })
    }

    /// A ref.
    pub fn reference(&self, name: &RefName) -> Option<&Ref> {
        self.reference_at(&ref_state_key(name))
    }

    pub(super) fn reference_at(&self, state_key: &Digest) -> Option<&Ref> {
        match self.entry_at(state_key)? {
            Entry::Ref(r) => Some(r),
            _ => None,
        }
    }

    /// The seats of an epoch.
    pub fn committee(&self, epoch: Epoch) -> Option<&CommitteeRecord> {
        match self.entry(&Key::Committee(epoch))? {
            Entry::Committee(record) => Some(record),
            _ => None,
        }
    }

    /// A member, also after it has left.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        match self.entry(&Key::Member(*node))? {
            Entry::Member(member) => Some(member),
            _ => None,
        }
    }

    /// All members that have not left.
    pub fn member_set(&self) -> &[NodeId] {
        match self.entry(&Key::MemberSet) {
            Some(Entry::MemberSet(nodes)) => nodes,
            _ => &[],
        }
    }

    /// The chain's constants.
    pub fn params(&self) -> Option<&Params> {
        match self.entry(&Key::Params)? {
            Entry::Params(params) => Some(params),
            _ => None,
        }
    }

    /// The digest of a block that the state still keeps.
    pub fn recent(&self, height: Height) -> Option<Digest> {
        match self.entry(&Key::Recent((height % RECENT_BLOCKS) as u8))? {
            Entry::Recent(block) if block.height == height => Some(block.digest),
            _ => None,
        }
    }

    /// Why a member was convicted, if it was.
    pub fn conviction(&self, node: &NodeId) -> Option<&Conviction> {
        match self.entry(&Key::Conviction(*node))? {
            Entry::Conviction(conviction) => Some(conviction),
            _ => None,
        }
    }

    /// Jobs whose results wait for auditors.
    pub fn pending_jobs(&self) -> &[JobId] {
        match self.entry(&Key::PendingJobs) {
            Some(Entry::PendingJobs(jobs)) => jobs,
            _ => &[],
        }
    }
}

/// An entry's bytes, or their absence, with the proof.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProvedEntry {
    /// The encoded [`Entry`]; none where the key is absent.
    pub entry: Option<BoundedVec<u8, ENTRY_LEN_MAX>>,
    /// Proof that leads to the state root.
    pub proof: MapProof,
}

/// Why a proved entry is refused. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The proof does not lead to the root.
    #[error("{0}")]
    Proof(#[from] BadProof),
    /// Proved, but not decodable by this version.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The entry is under a key that is not its own.
    #[error("the entry stands under another entry's key")]
    WrongKey,
}

impl ProvedEntry {
    /// Verifies the proof and returns the entry under `key` in the state with this root.
    pub fn verify(&self, root: &Digest, key: &Key) -> Result<Option<Entry>, EntryError> {
        let value = self.entry.as_ref().map(|bytes| value_digest(bytes));
        self.proof.verify(root, &key.digest(), value)?;
        let Some(bytes) = &self.entry else { return Ok(None) };
        let entry: Entry = codec::decode(bytes, ENTRY_LEN_MAX)?;
        if entry.key() != *key {
            return Err(EntryError::WrongKey);
        }
        Ok(Some(entry))
    }
}

fn value_digest(bytes: &[u8]) -> Digest {
    hash(HashContext::StateValue, bytes)
}

/// The digest whose leading zero bits admit a new identity. It is bound to the identity and to a
/// recent block, so solutions cannot be stockpiled.
pub fn admission_digest(chain: &ChainId, node: &NodeId, anchor: &Digest, solution: u64) -> Digest {
    hash_of(HashContext::Admission, &(chain, node, anchor, solution))
}

/// Searches `tries` numbers from `start` on for a solution of the admission puzzle.
pub fn solve_admission(
    chain: &ChainId,
    node: &NodeId,
    anchor: &Digest,
    bits: u8,
    start: u64,
    tries: u64,
) -> Option<u64> {
    (start..start.saturating_add(tries))
        .find(|s| leading_zeros(&admission_digest(chain, node, anchor, *s)) >= bits.into())
}

/// Zero bits at the front of a digest.
pub fn leading_zeros(digest: &Digest) -> u32 {
    let whole: u32 = digest.0.iter().take_while(|b| **b == 0).map(|_| 8).sum();
    whole + digest.0.iter().find(|b| **b != 0).map_or(0, |b| b.leading_zeros())
}

/// Shuffles nodes by a seed that was unpredictable when they registered.
pub fn seeded_shuffle(
    context: HashContext,
    seed: &Digest,
    salt: &Digest,
    nodes: impl IntoIterator<Item = NodeId>,
) -> Vec<NodeId> {
    let mut ranked: Vec<(Digest, NodeId)> =
        nodes.into_iter().map(|node| (hash_of(context, &(seed, salt, node)), node)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, node)| node).collect()
}
