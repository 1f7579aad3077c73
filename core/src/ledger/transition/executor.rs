//! The execution of one block: its context, the state with the changes so far, and the counters of
//! its limits. The rules of each domain are methods in the other files.

use crate::{
    ledger::{
        block::Header,
        committee::Committee,
        ids::JobId,
        job::Job,
        membership::Member,
        params::Params,
        state::{Entry, State, account_state_key, ref_state_key},
        transaction::{Action, Transaction},
    },
    types::{ChainId, Digest, Height, TimeMs},
};

/// The context of a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockContext<'a> {
    /// The parent header.
    pub parent: &'a Header,
    /// The committee that decides this block.
    pub committee: &'a Committee,
}

/// State keys of the entries that most transactions change, known before the first transaction is
/// applied. Looking all of them up together waits for memory once instead of once for each.
pub(super) struct TransactionStateKeys {
    /// The sender's account.
    pub(super) sender: Digest,
    /// The ref to move.
    pub(super) name: Option<Digest>,
}

impl TransactionStateKeys {
    pub(super) fn of(transaction: &Transaction) -> Self {
        let name = match &transaction.action {
            Action::UpdateRef { name, .. } => Some(ref_state_key(name)),
            _ => None,
        };
        Self { sender: account_state_key(&transaction.sender), name }
    }
}

/// A block that is being applied.
pub(super) struct BlockExecutor<'a> {
    /// The state, with the block's changes so far staged.
    pub(super) state: State,
    pub(super) chain: ChainId,
    pub(super) height: Height,
    pub(super) parent: Digest,
    pub(super) parent_ms: TimeMs,
    pub(super) committee: &'a Committee,
    pub(super) params: Params,
    pub(super) registrations: usize,
    pub(super) reports: usize,
    pub(super) keys_checked: usize,
}

impl<'a> BlockExecutor<'a> {
    pub(super) fn new(state: &State, context: BlockContext<'a>) -> Self {
        // Genesis writes the parameters; a state without them is invalid and admits nothing.
        let params = state.params().cloned().unwrap_or(Params::EMPTY);
        Self {
            state: state.clone(),
            chain: context.parent.chain,
            height: context.parent.height + 1,
            parent: context.parent.digest(),
            parent_ms: context.parent.time_ms,
            committee: context.committee,
            params,
            registrations: 0,
            reports: 0,
            keys_checked: 0,
        }
    }

    pub(super) fn put(&mut self, entry: Entry) {
        self.state.stage(entry.state_key(), entry);
    }

    pub(super) fn put_job(&mut self, id: JobId, job: Job) {
        self.put(Entry::Job(id, job.into()));
    }

    pub(super) fn put_member(&mut self, member: Member) {
        self.put(Entry::Member(member.into()));
    }
}
