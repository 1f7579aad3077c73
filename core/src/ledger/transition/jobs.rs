//! Jobs: submission, result, audit, and the end of a job. Auditors are drawn from a block that did
//! not exist when the result was made.

use super::{
    error::{TransactionError, TransactionResult},
    executor::BlockExecutor,
};
use crate::{
    codec::BoundedVec,
    crypto::hash::HashContext,
    ledger::{
        committee::Seat,
        ids::JobId,
        job::{
            AUDITORS_MAX, CONTRIBUTORS_MAX, Contributor, FailReason, InferenceTask, JOB_MACS_MAX,
            Job, JobResult, JobSpec, JobStatus, JobTask, Verdict,
        },
        seeded_shuffle::seeded_shuffle,
        state::{Account, Entry, Ref},
    },
    types::NodeId,
};
use alloc::vec::Vec;

/// Most running or pending jobs of one coordinator.
pub const JOBS_PER_OWNER_MAX: u32 = 16;

impl BlockExecutor<'_> {
    pub(super) fn submit_job(
        &mut self,
        account: Account,
        id: JobId,
        spec: &JobSpec,
    ) -> TransactionResult {
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

    pub(super) fn job_result(
        &mut self,
        account: Account,
        id: JobId,
        result: &JobResult,
    ) -> TransactionResult {
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

    pub(super) fn audit(
        &mut self,
        auditor: NodeId,
        id: JobId,
        verdict: Verdict,
    ) -> TransactionResult {
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

    pub(super) fn cancel_job(&mut self, account: Account, id: JobId) -> TransactionResult {
        let job = self.own_job(&account.node, id)?;
        if job.status != JobStatus::Running {
            return Err(TransactionError::WrongJobStatus);
        }
        self.end_job(id, job, JobStatus::Failed { at: self.height, reason: FailReason::Cancelled });
        Ok(())
    }

    /// Draws auditors, and ends jobs that are audited or have waited too long.
    pub(super) fn finalize_jobs(&mut self) {
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
    pub(super) fn select_auditors(&self, id: &JobId, coordinator: &NodeId) -> Vec<NodeId> {
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
