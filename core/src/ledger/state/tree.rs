//! All entries in a Merkle tree whose root the headers commit to, and the entries that a block has
//! staged.

use super::entry::{
    Account, Conviction, Entry, Key, RECENT_BLOCKS, Ref, account_state_key, ref_state_key,
    value_digest,
};
use crate::{
    codec,
    ledger::{
        committee::CommitteeRecord,
        ids::{JobId, RefName},
        job::Job,
        membership::Member,
        params::Params,
    },
    merkle::map::{Leaf, Map},
    types::{Digest, Epoch, Height, NodeId},
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// All entries. Copies share their structure.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) tree: Map<Entry>,
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
    pub(in crate::ledger) fn stage(&mut self, state_key: Digest, entry: Entry) {
        debug_assert_eq!(state_key, entry.state_key(), "an entry staged under another state key");
        self.staged.insert(state_key, entry);
    }

    /// Moves all staged entries into the tree and returns them in the order of their state keys.
    pub(in crate::ledger) fn commit_staged(&mut self) -> Vec<StateChange> {
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
    pub(in crate::ledger) fn prefetch(&self, state_keys: &[Digest]) -> usize {
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

    /// A member's account.
    pub fn account(&self, node: &NodeId) -> Option<&Account> {
        self.account_at(&account_state_key(node))
    }

    pub(in crate::ledger) fn account_at(&self, state_key: &Digest) -> Option<&Account> {
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

    pub(in crate::ledger) fn reference_at(&self, state_key: &Digest) -> Option<&Ref> {
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

    /// The reason why a member was convicted, if it was.
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
