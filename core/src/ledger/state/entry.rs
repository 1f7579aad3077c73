//! The entries of the state, and the keys under which the tree holds them.

use crate::{
    codec::BoundedVec,
    content::Cid,
    crypto::{
        bls::PublicKeyBytes,
        hash::{HashContext, hash, hash_of},
        vrf,
    },
    ledger::{
        committee::CommitteeRecord,
        evidence::ConvictionReason,
        ids::{JobId, RefName},
        job::Job,
        membership::{MEMBERS_MAX, Member},
        params::Params,
    },
    types::{Digest, Epoch, Height, NodeId},
};
use alloc::boxed::Box;
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded entry, bytes.
pub const ENTRY_LEN_MAX: usize = 128 * 1024;
/// Blocks whose digests the state keeps: anchors for admission, seeds for draws.
pub const RECENT_BLOCKS: Height = 256;

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
    /// [`crate::ledger::Action::Register`].
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
pub(in crate::ledger) fn account_state_key(node: &NodeId) -> Digest {
    Key::Account(*node).digest()
}

/// The state key of a ref, without a copy of its name.
pub(in crate::ledger) fn ref_state_key(name: &RefName) -> Digest {
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

/// The digest of an entry's bytes, which its leaf holds.
pub(super) fn value_digest(bytes: &[u8]) -> Digest {
    hash(HashContext::StateValue, bytes)
}

const _: () = assert!(RECENT_BLOCKS == 256, "a slot is one byte");
