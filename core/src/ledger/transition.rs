//! The state transition: one pure function from a state, a block's context and its transactions to
//! the next state.
//!
//! An inadmissible transaction (nonce, expiry, unknown account) changes nothing. An admissible one
//! that fails uses up its nonce and leaves a receipt with the reason. Every replica computes the
//! same receipts.

use super::{
    block::Header,
    committee::{Committee, Seat},
    evidence::EvidenceError,
    genesis::Params,
    job::{
        AUDITORS_MAX, CONTRIBUTORS_MAX, Contributor, FailReason, InferenceTask, JOB_MACS_MAX, Job,
        JobId, JobResult, JobSpec, JobStatus, JobTask, Verdict,
    },
    membership::Member,
    state::{
        Account, Entry, JOBS_PER_OWNER_MAX, MINT_WINDOW, RECENT_BLOCKS, REFS_PER_OWNER_MAX,
        RecentBlock, Ref, State, StateChange, account_state_key, admission_digest, leading_zeros,
        ref_state_key, seeded_shuffle,
    },
    transaction::{
        Action, RefName, SignedTransaction, Transaction, TransactionId, VALIDITY_BLOCKS_MAX,
    },
};
use crate::{
    codec::BoundedVec,
    crypto::hash::HashContext,
    knowledge::Cid,
    types::{ChainId, Digest, Height, NodeId, TimeMs, Verified, hex},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// New identities in one block.
pub const REGISTRATIONS_PER_BLOCK_MAX: usize = 8;
/// Multiply-accumulates that earn one point of reputation.
pub const MACS_PER_POINT: u64 = 1_000_000;

/// The context of a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockContext<'a> {
    /// The parent header.
    pub parent: &'a Header,
    /// The committee that decides this block.
    pub committee: &'a Committee,
}

/// The effects of a block.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The next state.
    pub state: State,
    /// The changed entries for the store, in the order of their state keys. Entries are never
    /// removed.
    pub changes: Vec<StateChange>,
    /// The result of each transaction.
    pub receipts: Vec<Receipt>,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// The transaction.
    pub transaction: TransactionId,
    /// Applied, or the reason why not.
    pub result: Result<(), TransactionError>,
}

/// Why a transaction was not applied. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, BorshSerialize, BorshDeserialize)]
#[allow(missing_docs)]
pub enum TransactionError {
    #[error("the sender has no account: register first")]
    UnknownSender,
    #[error("nonce {found}, expected {expected}")]
    WrongNonce { found: u64, expected: u64 },
    #[error("expired at height {0}")]
    Expired(Height),
    #[error("expires more than {VALIDITY_BLOCKS_MAX} blocks ahead")]
    ExpiresTooLate,
    #[error("already registered")]
    AlreadyRegistered,
    #[error("the admission puzzle is not solved for a recent block")]
    InvalidAdmission,
    #[error("this block admits no more identities")]
    TooManyRegistrations,
    #[error("the balance is {0}")]
    InsufficientBalance(u64),
    #[error("the sender has not proved that it holds the keys")]
    InvalidPossession,
    #[error("a key has been used before")]
    KeyUsed,
    #[error("no such job")]
    UnknownJob,
    #[error("a job of this size is not accepted: {0} multiply-accumulates")]
    JobTooLarge(u64),
    #[error("the job's parameters are not valid")]
    InvalidJobParams,
    #[error("only the job's coordinator may do this")]
    NotCoordinator,
    #[error("the job is in another state")]
    WrongJobStatus,
    #[error("not drawn as an auditor of this result")]
    NotAuditor,
    #[error("has audited this result already")]
    AlreadyAudited,
    #[error("the quota of {0} is used up: end one of them first, or wait until one ends")]
    QuotaExceeded(u32),
    #[error("the result contradicts itself")]
    BadResult,
    #[error("the name is not in a name space of the sender")]
    NotOwner,
    #[error("the ref has sequence {found}, expected {expected}")]
    WrongRefSequence { found: u64, expected: u64 },
    #[error("the job that should have trained the model is not final, or its model is another")]
    WrongModel,
    #[error("the accused was convicted at height {0}")]
    AlreadyConvicted(Height),
    #[error("{0}")]
    Evidence(EvidenceError),
    #[error("this block judges no more reports")]
    TooManyReports,
    #[error("a convicted member cannot bond")]
    Convicted,
    #[error("is a member already, or waits for its bond")]
    AlreadyMember,
    #[error("is no member, or has asked to leave")]
    NotMember,
    #[error("a seat needs a bond of at least {0}")]
    BondTooSmall(u64),
    #[error("a seat needs a reputation of at least {0}")]
    ReputationTooLow(u64),
    #[error("other keys are already waiting for the epoch boundary")]
    KeyRotationPending,
    #[error("this block checks no more keys")]
    TooManyKeys,
    #[error("more bond is already waiting for the epoch boundary")]
    BondPending,
    #[error("the receiver has no account, and so little opens none")]
    UnknownReceiver,
}

type TransactionResult = Result<(), TransactionError>;

impl State {
    /// Whether the next block could include a transaction: checks sender, expiry, and that the
    /// nonce is unused. For the mempool.
    pub fn admits(&self, transaction: &Transaction, height: Height) -> TransactionResult {
        self.sender_view(&transaction.sender).admits(transaction, height)
    }

    /// The state's view of a sender, for many of its transactions.
    pub fn sender_view(&self, sender: &NodeId) -> SenderView<'_> {
        SenderView(self.account(sender))
    }

    /// Applies a block.
    pub fn apply(
        &self,
        context: BlockContext<'_>,
        transactions: &[Verified<SignedTransaction>],
    ) -> Outcome {
        let mut block = BlockExecutor::new(self, context);
        block.record_parent();
        let state_keys: Vec<TransactionStateKeys> =
            transactions.iter().map(|t| TransactionStateKeys::of(&t.transaction)).collect();
        let all: Vec<Digest> =
            state_keys.iter().flat_map(|p| [Some(p.sender), p.name]).flatten().collect();
        self.prefetch(&all);
        let receipts = transactions
            .iter()
            .zip(&state_keys)
            .map(|(t, state_keys)| {
                let id = t.id();
                Receipt {
                    transaction: id,
                    result: block.apply_transaction(&t.transaction, id, state_keys),
                }
            })
            .collect();
        block.finalize_jobs();
        block.apply_epoch_boundary();
        let mut state = block.state;
        let changes = state.commit_staged();
        Outcome { state, changes, receipts }
    }
}

/// The state's view of one sender.
#[derive(Clone, Copy, Debug)]
pub struct SenderView<'a>(Option<&'a Account>);

impl SenderView<'_> {
    /// Like [`State::admits`], for a transaction of this sender.
    pub fn admits(&self, transaction: &Transaction, height: Height) -> TransactionResult {
        check_expiry(transaction, height)?;
        match (self.nonce(), &transaction.action) {
            (Some(expected), _) if transaction.nonce < expected => {
                Err(TransactionError::WrongNonce { found: transaction.nonce, expected })
            }
            (Some(_), Action::Register { .. }) => Err(TransactionError::AlreadyRegistered),
            (Some(_), _) | (None, Action::Register { .. }) => Ok(()),
            (None, _) => Err(TransactionError::UnknownSender),
        }
    }

    /// The nonce of its next transaction, if it may send any.
    pub fn nonce(&self) -> Option<u64> {
        self.0.filter(|account| account.registered).map(|account| account.nonce)
    }

    /// The sender's reputation.
    pub fn reputation(&self) -> u64 {
        self.0.map_or(0, |account| account.reputation)
    }
}

/// State keys of the entries that most transactions change, known before the first transaction is
/// applied. Looking all of them up together waits for memory once instead of once for each.
struct TransactionStateKeys {
    /// The sender's account.
    sender: Digest,
    /// The ref to move.
    name: Option<Digest>,
}

impl TransactionStateKeys {
    fn of(transaction: &Transaction) -> Self {
        let name = match &transaction.action {
            Action::UpdateRef { name, .. } => Some(ref_state_key(name)),
            _ => None,
        };
        Self { sender: account_state_key(&transaction.sender), name }
    }
}

struct BlockExecutor<'a> {
    /// The state, with the block's changes so far staged.
    state: State,
    chain: ChainId,
    height: Height,
    parent: Digest,
    parent_ms: TimeMs,
    committee: &'a Committee,
    params: Params,
    registrations: usize,
    reports: usize,
    keys_checked: usize,
}

impl<'a> BlockExecutor<'a> {
    fn new(state: &State, context: BlockContext<'a>) -> Self {
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

    fn put(&mut self, entry: Entry) {
        self.state.stage(entry.state_key(), entry);
    }

    fn put_job(&mut self, id: JobId, job: Job) {
        self.put(Entry::Job(id, job.into()));
    }

    fn put_member(&mut self, member: Member) {
        self.put(Entry::Member(member.into()));
    }

    fn record_parent(&mut self) {
        self.put(Entry::Recent(RecentBlock { height: self.height - 1, digest: self.parent }));
    }

    fn apply_transaction(
        &mut self,
        transaction: &Transaction,
        id: TransactionId,
        state_keys: &TransactionStateKeys,
    ) -> TransactionResult {
        check_expiry(transaction, self.height)?;
        if let Action::Register { anchor, solution } = transaction.action {
            return self.register(transaction.sender, anchor, solution);
        }
        let mut account = self
            .state
            .account_at(&state_keys.sender)
            .filter(|a| a.registered)
            .cloned()
            .ok_or(TransactionError::UnknownSender)?;
        if transaction.nonce != account.nonce {
            return Err(TransactionError::WrongNonce {
                found: transaction.nonce,
                expected: account.nonce,
            });
        }
        // From here on the nonce is used up, whatever the result of the action.
        account.nonce += 1;
        self.state.stage(state_keys.sender, Entry::Account(account.clone()));
        match &transaction.action {
            Action::Register { .. } => Err(TransactionError::AlreadyRegistered),
            Action::SubmitJob(spec) => self.submit_job(account, id, spec),
            Action::JobResult { job, result } => self.job_result(account, *job, result),
            Action::Audit { job, verdict } => self.audit(account.node, *job, *verdict),
            Action::CancelJob { job } => self.cancel_job(account, *job),
            Action::UpdateRef { name, expected, cid } => {
                self.update_ref(account, state_keys, name, *expected, *cid)
            }
            Action::Report { accused, evidence } => self.report(account.node, *accused, evidence),
            Action::Join { amount, keys } => self.join(account, *amount, keys),
            Action::Bond { amount } => self.bond(account, *amount),
            Action::Leave => self.leave(account.node),
            Action::RotateKeys { keys } => self.rotate_keys(account.node, keys),
            Action::Transfer { to, amount } => self.transfer(account, *to, *amount),
        }
    }

    fn register(&mut self, node: NodeId, anchor: Height, solution: u64) -> TransactionResult {
        let known = self.state.account(&node).cloned();
        if known.as_ref().is_some_and(|a| a.registered) {
            return Err(TransactionError::AlreadyRegistered);
        }
        if self.registrations >= REGISTRATIONS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyRegistrations);
        }
        let digest = self.state.recent(anchor).ok_or(TransactionError::InvalidAdmission)?;
        let puzzle = admission_digest(&self.chain, &node, &digest, solution);
        if leading_zeros(&puzzle) < self.params.admission_bits.into() {
            return Err(TransactionError::InvalidAdmission);
        }
        self.registrations += 1;
        // A nonce that starts at the height cannot replay what a pruned account once sent.
        let account = known.unwrap_or(Account::new(node, self.height));
        self.put(Entry::Account(Account { registered: true, nonce: self.height, ..account }));
        Ok(())
    }

    fn submit_job(&mut self, account: Account, id: JobId, spec: &JobSpec) -> TransactionResult {
        if account.jobs >= JOBS_PER_OWNER_MAX {
            return Err(TransactionError::QuotaExceeded(JOBS_PER_OWNER_MAX));
        }
        let work = spec.work().ok_or(TransactionError::InvalidJobParams)?;
        if work.macs > JOB_MACS_MAX {
            return Err(TransactionError::JobTooLarge(work.macs));
        }
        if let JobTask::Infer(task) = &spec.task
            && !self.has_model(task)
        {
            return Err(TransactionError::WrongModel);
        }
        let coordinator = account.node;
        self.put(Entry::Account(Account { jobs: account.jobs + 1, ..account }));
        self.put_job(
            id,
            Job {
                spec: spec.clone(),
                coordinator,
                submitted: self.height,
                status: JobStatus::Running,
            },
        );
        Ok(())
    }

    /// Whether the training job of an inference is final with the named model, of this shape.
    fn has_model(&self, task: &InferenceTask) -> bool {
        let Some(Job { spec, status: JobStatus::Final { result, .. }, .. }) =
            self.state.job(&task.training_job)
        else {
            return false;
        };
        let shape = spec.training().is_some_and(|t| t.params.architecture == task.architecture);
        shape && result.output.model().is_some_and(|trained| trained.model == task.model)
    }

    fn own_job(&self, coordinator: &NodeId, id: JobId) -> Result<Job, TransactionError> {
        let job = self.state.job(&id).cloned().ok_or(TransactionError::UnknownJob)?;
        if job.coordinator == *coordinator {
            Ok(job)
        } else {
            Err(TransactionError::NotCoordinator)
        }
    }

    fn job_result(&mut self, account: Account, id: JobId, result: &JobResult) -> TransactionResult {
        let job = self.own_job(&account.node, id)?;
        if job.status != JobStatus::Running {
            return Err(TransactionError::WrongJobStatus);
        }
        check_result(&job.spec, result)?;
        let mut pending = self.state.pending_jobs().to_vec();
        pending.push(id);
        let pending = pending.try_into().map_err(|_| TransactionError::QuotaExceeded(4096))?;
        self.put(Entry::PendingJobs(pending));
        let status = JobStatus::Pending {
            result: result.clone(),
            since: self.height,
            auditors: BoundedVec::new(),
            verdicts: BoundedVec::new(),
        };
        self.put_job(id, Job { status, ..job });
        Ok(())
    }

    fn audit(&mut self, auditor: NodeId, id: JobId, verdict: Verdict) -> TransactionResult {
        let job = self.state.job(&id).cloned().ok_or(TransactionError::UnknownJob)?;
        let JobStatus::Pending { result, since, auditors, mut verdicts } = job.status else {
            return Err(TransactionError::WrongJobStatus);
        };
        if !auditors.contains(&auditor) {
            return Err(TransactionError::NotAuditor);
        }
        if verdicts.iter().any(|(node, _)| *node == auditor) {
            return Err(TransactionError::AlreadyAudited);
        }
        verdicts
            .push((auditor, verdict))
            .map_err(|_| TransactionError::QuotaExceeded(AUDITORS_MAX as u32))?;
        let status = JobStatus::Pending { result, since, auditors, verdicts };
        self.put_job(id, Job { status, ..job });
        Ok(())
    }

    fn cancel_job(&mut self, account: Account, id: JobId) -> TransactionResult {
        let job = self.own_job(&account.node, id)?;
        if job.status != JobStatus::Running {
            return Err(TransactionError::WrongJobStatus);
        }
        self.end_job(id, job, JobStatus::Failed { at: self.height, reason: FailReason::Cancelled });
        Ok(())
    }

    fn update_ref(
        &mut self,
        account: Account,
        state_keys: &TransactionStateKeys,
        name: &RefName,
        expected: u64,
        cid: Cid,
    ) -> TransactionResult {
        if !is_own(name, &account.node) {
            return Err(TransactionError::NotOwner);
        }
        let state_key = state_keys.name.unwrap_or_else(|| ref_state_key(name));
        let found = self.state.reference_at(&state_key).map_or(0, |r| r.sequence);
        if found != expected {
            return Err(TransactionError::WrongRefSequence { found, expected });
        }
        if found == 0 {
            if account.refs >= REFS_PER_OWNER_MAX {
                return Err(TransactionError::QuotaExceeded(REFS_PER_OWNER_MAX));
            }
            self.state.stage(
                state_keys.sender,
                Entry::Account(Account { refs: account.refs + 1, ..account.clone() }),
            );
        }
        let r = Ref {
            name: name.clone(),
            owner: Some(account.node),
            sequence: found + 1,
            cid,
            height: self.height,
        };
        self.state.stage(state_key, Entry::Ref(r));
        Ok(())
    }

    /// Draws auditors, and ends jobs that are audited or have waited too long.
    fn finalize_jobs(&mut self) {
        for id in self.state.pending_jobs().to_vec() {
            let Some(job) = self.state.job(&id).cloned() else { continue };
            let JobStatus::Pending { result, since, auditors, verdicts } = &job.status else {
                continue;
            };
            // The parent of the block after the next one: a digest that did not exist when the
            // result was made.
            if auditors.is_empty() && self.height >= since + 2 {
                let auditors = self.select_auditors(&id, &job.coordinator);
                let status = JobStatus::Pending {
                    result: result.clone(),
                    since: *since,
                    auditors: BoundedVec::truncated(auditors),
                    verdicts: verdicts.clone(),
                };
                self.put_job(id, Job { status, ..job });
                continue;
            }
            let weight = |wanted: Verdict| {
                self.weight_of(verdicts.iter().filter(|(_, v)| *v == wanted).map(|(n, _)| n))
            };
            let waited = self.height - since;
            if weight(Verdict::Disagree) >= self.committee.blocking_weight() {
                self.fail_job(id, job, FailReason::Refuted);
            } else if weight(Verdict::Agree) >= self.committee.blocking_weight()
                && waited >= self.params.audit_blocks_min
            {
                self.finalize_job(id, job.clone(), result.clone());
            } else if waited > self.params.audit_blocks_max {
                self.fail_job(id, job, FailReason::Unaudited);
            }
        }
    }

    /// Seats other than the coordinator's, in drawn order, until they weigh a quorum or none is
    /// left. Some may be offline, and only a blocking weight of them must answer.
    fn select_auditors(&self, id: &JobId, coordinator: &NodeId) -> Vec<NodeId> {
        let seats =
            self.committee.seats().iter().map(|s| s.node).filter(|node| node != coordinator);
        let seats = seats.filter(|node| self.state.conviction(node).is_none());
        let mut weight = 0;
        seeded_shuffle(HashContext::AuditDraw, &self.parent, id, seats)
            .into_iter()
            .take(AUDITORS_MAX)
            .take_while(|node| {
                let enough = weight >= self.committee.quorum();
                weight += self.weight_of([node]);
                !enough
            })
            .collect()
    }

    fn weight_of<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeId>) -> u64 {
        let weight = |node: &NodeId| {
            self.committee.seats().iter().find(|s: &&Seat| s.node == *node).map_or(0, |s| s.weight)
        };
        nodes.into_iter().map(weight).sum()
    }

    fn fail_job(&mut self, id: JobId, job: Job, reason: FailReason) {
        self.end_job(id, job, JobStatus::Failed { at: self.height, reason });
    }

    fn finalize_job(&mut self, id: JobId, job: Job, result: JobResult) {
        let minted = self.mint(&job.coordinator, &result.contributors);
        if let Some(name) = job.spec.kind().output_ref(&id) {
            self.put(Entry::Ref(Ref {
                name,
                owner: None,
                sequence: 1,
                cid: result.output.cid(),
                height: self.height,
            }));
        }
        self.end_job(id, job, JobStatus::Final { result, at: self.height, minted });
    }

    fn end_job(&mut self, id: JobId, job: Job, status: JobStatus) {
        if let Some(account) = self.state.account(&job.coordinator).cloned() {
            self.put(Entry::Account(Account { jobs: account.jobs.saturating_sub(1), ..account }));
        }
        let pending: Vec<JobId> =
            self.state.pending_jobs().iter().copied().filter(|p| *p != id).collect();
        if pending.len() != self.state.pending_jobs().len() {
            self.put(Entry::PendingJobs(BoundedVec::truncated(pending)));
        }
        self.put_job(id, Job { status, ..job });
    }

    /// Credits contributors. Work that a member gives to itself is recorded, but mints nothing.
    fn mint(&mut self, coordinator: &NodeId, contributors: &[Contributor]) -> u64 {
        let window = self.height / MINT_WINDOW;
        let used = self
            .state
            .account(coordinator)
            .filter(|a| a.minted.0 == window)
            .map_or(0, |a| a.minted.1);
        let mut left = self.params.mint_max.saturating_sub(used);
        let mut minted = 0;
        for c in contributors {
            let points =
                if c.node == *coordinator { 0 } else { (c.macs / MACS_PER_POINT).min(left) };
            left -= points;
            minted += points;
            let account = self.state.account(&c.node).cloned();
            let account =
                account.unwrap_or(Account { registered: false, ..Account::new(c.node, 0) });
            self.put(Entry::Account(Account {
                reputation: account.reputation.saturating_add(points),
                units: account.units.saturating_add(c.units.into()),
                checks: account.checks.saturating_add(c.checks.into()),
                macs: account.macs.saturating_add(c.macs),
                ..account
            }));
        }
        if let Some(account) = self.state.account(coordinator).cloned() {
            self.put(Entry::Account(Account { minted: (window, used + minted), ..account }));
        }
        minted
    }
}

/// Whether a name begins with its owner's id and a path follows.
fn is_own(name: &RefName, owner: &NodeId) -> bool {
    let Some((own, [b'/', _, ..])) = name.as_bytes().split_first_chunk() else { return false };
    *own == hex(&owner.0)
}

fn check_expiry(transaction: &Transaction, height: Height) -> TransactionResult {
    if transaction.expires < height {
        return Err(TransactionError::Expired(transaction.expires));
    }
    if transaction.expires > height.saturating_add(VALIDITY_BLOCKS_MAX) {
        return Err(TransactionError::ExpiresTooLate);
    }
    Ok(())
}

/// A result may not claim more work than the job has, nor list a node twice.
fn check_result(spec: &JobSpec, result: &JobResult) -> TransactionResult {
    let work = spec.work().ok_or(TransactionError::InvalidJobParams)?;
    let sum = |f: fn(&Contributor) -> u64| {
        result.contributors.iter().map(f).fold(0u64, u64::saturating_add)
    };
    let distinct = (0..result.contributors.len()).all(|i| {
        result
            .contributors
            .iter()
            .take(i)
            .all(|c| Some(c.node) != result.contributors.get(i).map(|d| d.node))
    });
    let fits = sum(|c| c.units.into()) <= work.units
        && sum(|c| c.checks.into()) <= work.units.saturating_mul(2)
        && sum(|c| c.macs) <= work.macs.saturating_mul(3)
        && result.output.matches_task(&spec.task)
        && result.contributors.len() <= CONTRIBUTORS_MAX;
    if distinct && fits { Ok(()) } else { Err(TransactionError::BadResult) }
}

mod membership;
mod penalty;

const _: () = assert!(RECENT_BLOCKS == 256, "a slot is one byte");

#[cfg(test)]
mod tests;
