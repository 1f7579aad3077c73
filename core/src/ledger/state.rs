//! The state: accounts, jobs, refs and the committee, under one root from which any part can be
//! proved.

mod chunk;

pub use chunk::{CHUNK_ENTRIES_MAX, CHUNK_LEN_MAX, ChunkError, StateChunk};

use super::{
    committee::CommitteeRecord,
    evidence::Crime,
    genesis::Params,
    job::{Job, JobId},
    membership::{MEMBERS_MAX, Member},
    transaction::RefName,
};
use crate::{
    codec::{self, BoundedVec, DecodeError},
    crypto::{
        bls::PublicKeyBytes,
        hash::{Context, hash, hash_of},
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
/// Blocks whose digests the state remembers: anchors for admission, seeds for draws.
pub const RECENT_BLOCKS: Height = 256;
/// Blocks over which [`Params::mint_max`] counts.
pub const MINT_WINDOW: Height = 10_000;
/// Most refs of one owner.
pub const REFS_PER_OWNER_MAX: u32 = 1024;
/// Most running or pending jobs of one coordinator.
pub const JOBS_PER_OWNER_MAX: u32 = 16;

/// Names an entry.
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
    /// A BLS key that has been used; it is unique for ever.
    VotingKey(PublicKeyBytes),
    /// A recent block: slot `height % RECENT_BLOCKS`.
    Recent(u8),
    /// Jobs whose results wait for auditors.
    PendingJobs,
    /// That a member was convicted.
    Conviction(NodeId),
    /// A VRF key that has been used; it is unique for ever.
    VrfKey(vrf::PublicKeyBytes),
    /// What a member has asked for.
    Member(NodeId),
    /// All members that have not left.
    Roster,
}

/// A value of the state; it knows its own [`Key`]. Nearly all are accounts and refs, so what is
/// larger and rare is in a box.
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
    /// Under [`Key::Roster`].
    Roster(BoundedVec<NodeId, MEMBERS_MAX>),
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Account {
    /// Who.
    pub node: NodeId,
    /// Whether it may send transactions: members of genesis and those admitted by
    /// [`super::Action::Register`].
    pub registered: bool,
    /// The next transaction's number.
    pub nonce: u64,
    /// Stake that is free.
    pub balance: u64,
    /// Stake behind the seat.
    pub bond: u64,
    /// Earned by checked work; admits and ranks, never votes.
    pub reputation: u64,
    /// Lanes computed in final jobs.
    pub units: u64,
    /// Lanes of others recomputed in final jobs.
    pub checks: u64,
    /// Multiply-accumulates in final jobs.
    pub macs: u64,
    /// Refs it owns.
    pub refs: u32,
    /// Its jobs that are running or pending.
    pub jobs: u32,
    /// Window and amount of reputation that its jobs have minted.
    pub minted: (u64, u64),
}

/// A named pointer, moved only by its owner or, under `models/`, by a job's finalisation.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ref {
    /// Full name.
    pub name: RefName,
    /// Owner of its name space; none for `models/`.
    pub owner: Option<NodeId>,
    /// Number of moves.
    pub sequence: u64,
    /// Where it points.
    pub cid: Cid,
    /// Last move.
    pub height: Height,
}

/// What the state remembers of a block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RecentBlock {
    /// Number.
    pub height: Height,
    /// Digest of its header.
    pub digest: Digest,
}

/// A member that has made two statements that contradict each other. It stands for ever.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Conviction {
    /// Who.
    pub node: NodeId,
    /// Of what.
    pub crime: Crime,
    /// Since when.
    pub height: Height,
    /// Who reported it.
    pub reporter: NodeId,
    /// The bond that it lost.
    pub bond: u64,
}

impl Account {
    /// Without anything.
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
    /// Its place in the tree.
    pub fn digest(&self) -> Digest {
        hash_of(Context::StateKey, self)
    }
}

/// The digest of an account's key.
pub(super) fn account_place(node: &NodeId) -> Digest {
    Key::Account(*node).digest()
}

/// The digest of a ref's key, without a copy of its name.
pub(super) fn ref_place(name: &RefName) -> Digest {
    // As borsh encodes the second variant of `Key`.
    hash_of(Context::StateKey, &(1u8, name))
}

impl Entry {
    /// Its place in the tree.
    pub fn place(&self) -> Digest {
        match self {
            Self::Ref(r) => ref_place(&r.name),
            other => other.key().digest(),
        }
    }

    /// Where it belongs.
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
            Self::Roster(_) => Key::Roster,
        }
    }
}

/// All entries. Copies share their structure.
#[derive(Clone, Debug, Default)]
pub struct State {
    tree: Map<Entry>,
    /// What a block that is being applied has changed, see [`State::draft`], each in its place;
    /// nothing at any other time.
    drafts: BTreeMap<Digest, Entry>,
}

/// An entry that a block has put in its place.
#[derive(Clone, Debug)]
pub struct Change {
    /// The tree has it, too.
    leaf: Arc<Leaf<Entry>>,
    /// Its encoding.
    pub bytes: Vec<u8>,
}

impl Change {
    /// This entry, in its place.
    pub fn new(entry: Entry) -> Self {
        Self::at(entry.place(), entry)
    }

    fn at(place: Digest, entry: Entry) -> Self {
        let bytes = codec::encode(&entry);
        Self { leaf: Arc::new(Leaf::new(place, value_digest(&bytes), entry)), bytes }
    }

    /// The place: the digest of the entry's key.
    pub fn place(&self) -> &Digest {
        self.leaf.key()
    }

    /// What stands there now.
    pub fn entry(&self) -> &Entry {
        self.leaf.item()
    }
}

impl State {
    /// What headers commit to.
    pub fn root(&self) -> Digest {
        debug_assert!(self.drafts.is_empty(), "the root of a block that is half applied");
        self.tree.root()
    }

    /// Puts an entry in its place.
    pub fn insert(&mut self, entry: Entry) {
        self.tree.insert(entry.place(), value_digest(&codec::encode(&entry)), entry);
    }

    /// Puts an entry in its place for those who read it, but not yet into the tree: a block changes
    /// some entries again and again, and many at once cost less there.
    pub(super) fn draft(&mut self, place: Digest, entry: Entry) {
        debug_assert_eq!(place, entry.place(), "a draft in another entry's place");
        self.drafts.insert(place, entry);
    }

    /// Takes all drafts into the tree, and returns them in the order of their places.
    pub(super) fn settle(&mut self) -> Vec<Change> {
        let drafts = core::mem::take(&mut self.drafts).into_iter();
        let changes: Vec<Change> = drafts.map(|(place, entry)| Change::at(place, entry)).collect();
        self.tree.insert_all(changes.iter().map(|change| change.leaf.clone()));
        changes
    }

    /// What stands under a key.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.at(&key.digest())
    }

    /// Brings what stands in these places close to the processor, and says how many there are.
    pub(super) fn fetch(&self, places: &[Digest]) -> usize {
        core::hint::black_box(self.tree.values_of(places).count())
    }

    fn at(&self, place: &Digest) -> Option<&Entry> {
        self.drafts.get(place).or_else(|| self.tree.value(place))
    }

    /// All entries, in no meaningful order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        debug_assert!(self.drafts.is_empty(), "the entries of a block that is half applied");
        self.tree.values()
    }

    /// The bytes under a key, if any, with the proof that they are or that nothing is there.
    pub fn prove(&self, key: &Key) -> ProvedEntry {
        ProvedEntry {
            entry: self.entry(key).map(|entry| BoundedVec::truncated(codec::encode(entry))),
            proof: self.tree.prove(&key.digest()),
        }
    }

    /// A member's account.
    pub fn account(&self, node: &NodeId) -> Option<&Account> {
        self.account_at(&account_place(node))
    }

    pub(super) fn account_at(&self, place: &Digest) -> Option<&Account> {
        match self.at(place)? {
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
        self.reference_at(&ref_place(name))
    }

    pub(super) fn reference_at(&self, place: &Digest) -> Option<&Ref> {
        match self.at(place)? {
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

    /// What a member has asked for, also after it has left.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        match self.entry(&Key::Member(*node))? {
            Entry::Member(member) => Some(member),
            _ => None,
        }
    }

    /// All members that have not left.
    pub fn roster(&self) -> &[NodeId] {
        match self.entry(&Key::Roster) {
            Some(Entry::Roster(nodes)) => nodes,
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

    /// The digest of a block that is still remembered.
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
    /// Leads to the state root.
    pub proof: MapProof,
}

/// Why a proved entry is refused. The fault is the sender's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Does not lead to the root.
    #[error("{0}")]
    Proof(#[from] BadProof),
    /// Proved, but not decodable by this version.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// Stands under a key that is not its own.
    #[error("the entry stands under another entry's key")]
    Misplaced,
}

impl ProvedEntry {
    /// What `key` holds in the state with this root.
    pub fn verify(&self, root: &Digest, key: &Key) -> Result<Option<Entry>, EntryError> {
        let value = self.entry.as_ref().map(|bytes| value_digest(bytes));
        self.proof.verify(root, &key.digest(), value)?;
        let Some(bytes) = &self.entry else { return Ok(None) };
        let entry: Entry = codec::decode(bytes, ENTRY_LEN_MAX)?;
        if entry.key() != *key {
            return Err(EntryError::Misplaced);
        }
        Ok(Some(entry))
    }
}

fn value_digest(bytes: &[u8]) -> Digest {
    hash(Context::StateValue, bytes)
}

/// The digest whose leading zero bits admit a new identity. It is bound to the identity and to a
/// recent block, so solutions cannot be stockpiled.
pub fn admission_digest(chain: &ChainId, node: &NodeId, anchor: &Digest, solution: u64) -> Digest {
    hash_of(Context::Admission, &(chain, node, anchor, solution))
}

/// Looks for a solution of the admission puzzle among `tries` numbers from `start` on.
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

/// Sorts nodes by a seed that nobody could know when they registered.
pub fn draw(
    context: Context,
    seed: &Digest,
    salt: &Digest,
    nodes: impl IntoIterator<Item = NodeId>,
) -> Vec<NodeId> {
    let mut ranked: Vec<(Digest, NodeId)> =
        nodes.into_iter().map(|node| (hash_of(context, &(seed, salt, node)), node)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, node)| node).collect()
}
