//! The state transition: one pure function from a state, a block's place and its transactions to
//! the next state.
//!
//! A transaction that does not fit (nonce, expiry, unknown account) changes nothing; one that fits
//! but fails uses up its nonce and leaves a receipt that says why. Every replica gets the same
//! receipts.

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
        Account, Change, Entry, JOBS_PER_OWNER_MAX, MINT_WINDOW, RECENT_BLOCKS, REFS_PER_OWNER_MAX,
        RecentBlock, Ref, State, account_place, admission_digest, draw, leading_zeros, ref_place,
    },
    transaction::{Action, LIFE_MAX, RefName, SignedTransaction, Transaction, TransactionId},
};
use crate::{
    codec::BoundedVec,
    crypto::hash::Context,
    knowledge::Cid,
    types::{ChainId, Digest, Height, NodeId, TimeMs, Verified, hex},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// New identities in one block.
pub const REGISTRATIONS_PER_BLOCK_MAX: usize = 8;
/// Multiply-accumulates that earn one point of reputation.
pub const MACS_PER_POINT: u64 = 1_000_000;

/// Where a block stands.
#[derive(Clone, Copy, Debug)]
pub struct BlockContext<'a> {
    /// The header before.
    pub parent: &'a Header,
    /// The committee that decides this block.
    pub committee: &'a Committee,
}

/// What a block does.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The next state.
    pub state: State,
    /// The entries that changed, for the store, in the order of their places. Nothing is ever
    /// removed.
    pub changes: Vec<Change>,
    /// What became of each transaction.
    pub receipts: Vec<Receipt>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// Which.
    pub transaction: TransactionId,
    /// Applied, or why not.
    pub result: Result<(), TransactionError>,
}

/// Why a transaction was not applied. The fault is the sender's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, BorshSerialize, BorshDeserialize)]
#[allow(missing_docs)]
pub enum TransactionError {
    #[error("the sender has no account: register first")]
    UnknownSender,
    #[error("nonce {found}, expected {expected}")]
    Nonce { found: u64, expected: u64 },
    #[error("expired at height {0}")]
    Expired(Height),
    #[error("expires more than {LIFE_MAX} blocks ahead")]
    LivesTooLong,
    #[error("already registered")]
    AlreadyRegistered,
    #[error("the admission puzzle is not solved for a recent block")]
    Admission,
    #[error("this block admits no more identities")]
    TooManyRegistrations,
    #[error("the balance is {0}")]
    Balance(u64),
    #[error("the sender has not proved that it holds the keys")]
    Possession,
    #[error("a key has been used before")]
    KeyUsed,
    #[error("no such job")]
    UnknownJob,
    #[error("a job of this size is not accepted: {0} multiply-accumulates")]
    JobTooLarge(u64),
    #[error("the job's parameters are not valid")]
    JobParams,
    #[error("only the job's coordinator may do this")]
    NotCoordinator,
    #[error("the job is in another state")]
    JobStatus,
    #[error("not drawn as an auditor of this result")]
    NotAuditor,
    #[error("has audited this result already")]
    AuditedAlready,
    #[error("the quota of {0} is used up: end one of them first, or wait until one ends")]
    Quota(u32),
    #[error("the result contradicts itself")]
    BadResult,
    #[error("the name is not in a name space of the sender")]
    NotOwner,
    #[error("the ref has sequence {found}, expected {expected}")]
    RefMoved { found: u64, expected: u64 },
    #[error("the job that should have trained the model is not final, or its model is another")]
    JobModel,
    #[error("the accused was convicted at height {0}")]
    ConvictedAlready(Height),
    #[error("{0}")]
    Evidence(EvidenceError),
    #[error("this block judges no more reports")]
    TooManyReports,
    #[error("a convicted member cannot bond")]
    Convicted,
    #[error("is a member already, or waits for its bond")]
    MemberAlready,
    #[error("is no member, or has asked to leave")]
    NotMember,
    #[error("a seat needs a bond of at least {0}")]
    BondTooSmall(u64),
    #[error("a seat needs a reputation of at least {0}")]
    Reputation(u64),
    #[error("other keys are waiting for the turn already")]
    KeysWait,
    #[error("this block checks no more keys")]
    TooManyKeys,
    #[error("more bond is waiting for the turn already")]
    BondWaits,
    #[error("the receiver has no account, and so little opens none")]
    UnknownReceiver,
}

type Applied = Result<(), TransactionError>;

impl State {
    /// Whether a transaction could be in the next block, for the mempool: sender, nonce not yet
    /// used, expiry.
    pub fn admits(&self, transaction: &Transaction, height: Height) -> Applied {
        self.standing(&transaction.sender).admits(transaction, height)
    }

    /// What the state says of a sender, for many of its transactions.
    pub fn standing(&self, sender: &NodeId) -> Standing<'_> {
        Standing(self.account(sender))
    }

    /// Applies a block.
    pub fn apply(
        &self,
        context: BlockContext<'_>,
        transactions: &[Verified<SignedTransaction>],
    ) -> Outcome {
        let mut block = Applying::new(self, context);
        block.remember_parent();
        let places: Vec<Places> = transactions.iter().map(|t| Places::of(&t.transaction)).collect();
        let all: Vec<Digest> =
            places.iter().flat_map(|p| [Some(p.sender), p.name]).flatten().collect();
        self.fetch(&all);
        let receipts = transactions
            .iter()
            .zip(&places)
            .map(|(t, places)| {
                let id = t.id();
                Receipt { transaction: id, result: block.transaction(&t.transaction, id, places) }
            })
            .collect();
        block.settle_jobs();
        block.turn();
        let mut state = block.state;
        let changes = state.settle();
        Outcome { state, changes, receipts }
    }
}

/// What the state says of one sender.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a>(Option<&'a Account>);

impl Standing<'_> {
    /// The same as [`State::admits`], for a transaction of this sender.
    pub fn admits(&self, transaction: &Transaction, height: Height) -> Applied {
        check_life(transaction, height)?;
        match (self.nonce(), &transaction.action) {
            (Some(expected), _) if transaction.nonce < expected => {
                Err(TransactionError::Nonce { found: transaction.nonce, expected })
            }
            (Some(_), Action::Register { .. }) => Err(TransactionError::AlreadyRegistered),
            (Some(_), _) | (None, Action::Register { .. }) => Ok(()),
            (None, _) => Err(TransactionError::UnknownSender),
        }
    }

    /// The number of its next transaction, if it may send any.
    pub fn nonce(&self) -> Option<u64> {
        self.0.filter(|account| account.registered).map(|account| account.nonce)
    }

    /// What it has earned.
    pub fn reputation(&self) -> u64 {
        self.0.map_or(0, |account| account.reputation)
    }
}

/// Where the state has what most transactions change, known before the first is applied: all are
/// looked up together, which waits for memory once and not for each.
struct Places {
    /// The sender's account.
    sender: Digest,
    /// The ref that is moved.
    name: Option<Digest>,
}

impl Places {
    fn of(transaction: &Transaction) -> Self {
        let name = match &transaction.action {
            Action::UpdateRef { name, .. } => Some(ref_place(name)),
            _ => None,
        };
        Self { sender: account_place(&transaction.sender), name }
    }
}

struct Applying<'a> {
    /// With what the block has changed so far as drafts.
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

impl<'a> Applying<'a> {
    fn new(state: &State, context: BlockContext<'a>) -> Self {
        // Genesis writes the parameters; a state without them is none of ours and admits nothing.
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
        self.state.draft(entry.place(), entry);
    }

    fn put_job(&mut self, id: JobId, job: Job) {
        self.put(Entry::Job(id, job.into()));
    }

    fn put_member(&mut self, member: Member) {
        self.put(Entry::Member(member.into()));
    }

    fn remember_parent(&mut self) {
        self.put(Entry::Recent(RecentBlock { height: self.height - 1, digest: self.parent }));
    }

    fn transaction(
        &mut self,
        transaction: &Transaction,
        id: TransactionId,
        places: &Places,
    ) -> Applied {
        check_life(transaction, self.height)?;
        if let Action::Register { anchor, solution } = transaction.action {
            return self.register(transaction.sender, anchor, solution);
        }
        let mut account = self
            .state
            .account_at(&places.sender)
            .filter(|a| a.registered)
            .cloned()
            .ok_or(TransactionError::UnknownSender)?;
        if transaction.nonce != account.nonce {
            return Err(TransactionError::Nonce {
                found: transaction.nonce,
                expected: account.nonce,
            });
        }
        // From here on the nonce is used up, whatever comes of the action.
        account.nonce += 1;
        self.state.draft(places.sender, Entry::Account(account.clone()));
        match &transaction.action {
            Action::Register { .. } => Err(TransactionError::AlreadyRegistered),
            Action::SubmitJob(spec) => self.submit_job(account, id, spec),
            Action::JobResult { job, result } => self.job_result(account, *job, result),
            Action::Audit { job, verdict } => self.audit(account.node, *job, *verdict),
            Action::CancelJob { job } => self.cancel_job(account, *job),
            Action::UpdateRef { name, expected, cid } => {
                self.update_ref(account, places, name, *expected, *cid)
            }
            Action::Report { accused, evidence } => self.report(account.node, *accused, evidence),
            Action::Join { amount, keys } => self.join(account, *amount, keys),
            Action::Bond { amount } => self.bond(account, *amount),
            Action::Leave => self.leave(account.node),
            Action::RotateKeys { keys } => self.rotate_keys(account.node, keys),
            Action::Transfer { to, amount } => self.transfer(account, *to, *amount),
        }
    }

    fn register(&mut self, node: NodeId, anchor: Height, solution: u64) -> Applied {
        let known = self.state.account(&node).cloned();
        if known.as_ref().is_some_and(|a| a.registered) {
            return Err(TransactionError::AlreadyRegistered);
        }
        if self.registrations >= REGISTRATIONS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyRegistrations);
        }
        let digest = self.state.recent(anchor).ok_or(TransactionError::Admission)?;
        let puzzle = admission_digest(&self.chain, &node, &digest, solution);
        if leading_zeros(&puzzle) < self.params.admission_bits.into() {
            return Err(TransactionError::Admission);
        }
        self.registrations += 1;
        // A nonce that starts at the height cannot replay what a pruned account once sent.
        let account = known.unwrap_or(Account::new(node, self.height));
        self.put(Entry::Account(Account { registered: true, nonce: self.height, ..account }));
        Ok(())
    }

    fn submit_job(&mut self, account: Account, id: JobId, spec: &JobSpec) -> Applied {
        if account.jobs >= JOBS_PER_OWNER_MAX {
            return Err(TransactionError::Quota(JOBS_PER_OWNER_MAX));
        }
        let work = spec.work().ok_or(TransactionError::JobParams)?;
        if work.macs > JOB_MACS_MAX {
            return Err(TransactionError::JobTooLarge(work.macs));
        }
        if let JobTask::Infer(task) = &spec.task
            && !self.has_model(task)
        {
            return Err(TransactionError::JobModel);
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

    /// Whether the job that an inference names has ended with the model that it names, of this
    /// shape.
    fn has_model(&self, task: &InferenceTask) -> bool {
        let Some(Job { spec, status: JobStatus::Final { result, .. }, .. }) =
            self.state.job(&task.trained)
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

    fn job_result(&mut self, account: Account, id: JobId, result: &JobResult) -> Applied {
        let job = self.own_job(&account.node, id)?;
        if job.status != JobStatus::Running {
            return Err(TransactionError::JobStatus);
        }
        check_result(&job.spec, result)?;
        let mut pending = self.state.pending_jobs().to_vec();
        pending.push(id);
        let pending = pending.try_into().map_err(|_| TransactionError::Quota(4096))?;
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

    fn audit(&mut self, auditor: NodeId, id: JobId, verdict: Verdict) -> Applied {
        let job = self.state.job(&id).cloned().ok_or(TransactionError::UnknownJob)?;
        let JobStatus::Pending { result, since, auditors, mut verdicts } = job.status else {
            return Err(TransactionError::JobStatus);
        };
        if !auditors.contains(&auditor) {
            return Err(TransactionError::NotAuditor);
        }
        if verdicts.iter().any(|(node, _)| *node == auditor) {
            return Err(TransactionError::AuditedAlready);
        }
        verdicts
            .push((auditor, verdict))
            .map_err(|_| TransactionError::Quota(AUDITORS_MAX as u32))?;
        let status = JobStatus::Pending { result, since, auditors, verdicts };
        self.put_job(id, Job { status, ..job });
        Ok(())
    }

    fn cancel_job(&mut self, account: Account, id: JobId) -> Applied {
        let job = self.own_job(&account.node, id)?;
        if job.status != JobStatus::Running {
            return Err(TransactionError::JobStatus);
        }
        self.end_job(id, job, JobStatus::Failed { at: self.height, reason: FailReason::Cancelled });
        Ok(())
    }

    fn update_ref(
        &mut self,
        account: Account,
        places: &Places,
        name: &RefName,
        expected: u64,
        cid: Cid,
    ) -> Applied {
        if !is_own(name, &account.node) {
            return Err(TransactionError::NotOwner);
        }
        let place = places.name.unwrap_or_else(|| ref_place(name));
        let found = self.state.reference_at(&place).map_or(0, |r| r.sequence);
        if found != expected {
            return Err(TransactionError::RefMoved { found, expected });
        }
        if found == 0 {
            if account.refs >= REFS_PER_OWNER_MAX {
                return Err(TransactionError::Quota(REFS_PER_OWNER_MAX));
            }
            self.state.draft(
                places.sender,
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
        self.state.draft(place, Entry::Ref(r));
        Ok(())
    }

    /// Draws auditors, and ends the jobs that have been audited or have waited too long.
    fn settle_jobs(&mut self) {
        for id in self.state.pending_jobs().to_vec() {
            let Some(job) = self.state.job(&id).cloned() else { continue };
            let JobStatus::Pending { result, since, auditors, verdicts } = &job.status else {
                continue;
            };
            // The parent of the block after the next one: a digest that did not exist when the
            // result was made.
            if auditors.is_empty() && self.height >= since + 2 {
                let auditors = self.draw_auditors(&id, &job.coordinator);
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
            if weight(Verdict::Disagree) >= self.committee.blocking() {
                self.fail(id, job, FailReason::Refuted);
            } else if weight(Verdict::Agree) >= self.committee.blocking()
                && waited >= self.params.audit_blocks_min
            {
                self.finalise(id, job.clone(), result.clone());
            } else if waited > self.params.audit_blocks_max {
                self.fail(id, job, FailReason::Unaudited);
            }
        }
    }

    /// Seats other than the coordinator's, in drawn order, until they weigh a quorum or none is
    /// left: some may be down, and only a blocking weight of them has to answer.
    fn draw_auditors(&self, id: &JobId, coordinator: &NodeId) -> Vec<NodeId> {
        let seats =
            self.committee.seats().iter().map(|s| s.node).filter(|node| node != coordinator);
        let seats = seats.filter(|node| self.state.conviction(node).is_none());
        let mut weight = 0;
        draw(Context::AuditDraw, &self.parent, id, seats)
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

    fn fail(&mut self, id: JobId, job: Job, reason: FailReason) {
        self.end_job(id, job, JobStatus::Failed { at: self.height, reason });
    }

    fn finalise(&mut self, id: JobId, job: Job, result: JobResult) {
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

/// Whether a name begins with its owner's and goes on.
fn is_own(name: &RefName, owner: &NodeId) -> bool {
    let Some((own, [b'/', _, ..])) = name.as_bytes().split_first_chunk() else { return false };
    *own == hex(&owner.0)
}

fn check_life(transaction: &Transaction, height: Height) -> Applied {
    if transaction.expires < height {
        return Err(TransactionError::Expired(transaction.expires));
    }
    if transaction.expires > height.saturating_add(LIFE_MAX) {
        return Err(TransactionError::LivesTooLong);
    }
    Ok(())
}

/// A result may not claim more work than the job has, nor list anybody twice.
fn check_result(spec: &JobSpec, result: &JobResult) -> Applied {
    let work = spec.work().ok_or(TransactionError::JobParams)?;
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
        && result.output.fits(&spec.task)
        && result.contributors.len() <= CONTRIBUTORS_MAX;
    if distinct && fits { Ok(()) } else { Err(TransactionError::BadResult) }
}

mod membership;
mod penalty;

const _: () = assert!(RECENT_BLOCKS == 256, "a slot is one byte");

#[cfg(test)]
mod tests;
