//! Progress reports of jobs between nodes: rounds, what a job waits for, and how many workers take
//! part.
//!
//! All of it is advice for display. Only the ledger decides on a job's state and result. Every list
//! has a cap.

use crate::{
    codec::{BoundedString, BoundedVec},
    content::Cid,
    ledger::job::{Contributor, FailReason, JOB_NAME_LEN_MAX, Job, JobId, JobKind, JobStatus},
    types::{NodeId, TimeMs},
};
use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;

/// Most points of an accuracy curve.
pub const CURVE_LEN_MAX: usize = 1024;
/// Most contributors that a progress report names.
pub const TOP_CONTRIBUTORS_MAX: usize = 32;
/// A worker counts as taking part for this long after its last request, milliseconds.
pub const ACTIVE_WORKER_MS: u64 = 60_000;

/// Progress of a job. Advice for display: only the ledger counts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct JobProgress {
    /// The job.
    pub id: JobId,
    /// Kind of the job.
    pub kind: JobKind,
    /// Name of the job, for display.
    pub name: BoundedString<JOB_NAME_LEN_MAX>,
    /// The coordinator, which leases the work units.
    pub coordinator: NodeId,
    /// The data set that the job trains on, or the rows that it answers.
    pub dataset: Cid,
    /// Time of the block that holds the job; none where that block is not known.
    pub submitted_ms: Option<TimeMs>,
    /// State of the job.
    pub state: JobState,
    /// The reason why the job makes no progress; none while it does, and after its end.
    pub waiting: Option<WaitingFor>,
    /// Workers that take part now.
    pub workers: ActiveWorkers,
    /// Rounds done.
    pub round: u32,
    /// Rounds in all.
    pub rounds: u32,
    /// Accuracy so far.
    pub curve: BoundedVec<CurvePoint, CURVE_LEN_MAX>,
    /// Accepted work units.
    pub units: u64,
    /// All work units of the job.
    pub units_total: u64,
    /// Work units that another worker recomputed before they were accepted.
    pub checks: u64,
    /// The largest contributors, largest first.
    pub contributors: BoundedVec<Contributor, TOP_CONTRIBUTORS_MAX>,
    /// Results rejected.
    pub rejected: u32,
}

impl JobProgress {
    /// The point of the curve with the largest accuracy; the first of equals.
    pub fn best(&self) -> Option<CurvePoint> {
        let mut best: Option<CurvePoint> = None;
        for point in self.curve.iter().copied() {
            let exceeds = |b: CurvePoint| {
                u64::from(point.correct) * u64::from(b.total)
                    > u64::from(b.correct) * u64::from(point.total)
            };
            if best.is_none_or(exceeds) {
                best = Some(point);
            }
        }
        best
    }
}

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobState {
    /// Being computed.
    Running,
    /// A result waits for its auditors.
    Pending,
    /// Audited.
    Final,
    /// Ended without a result.
    Failed(FailReason),
}

impl JobState {
    /// The state as users and programs read it; a cancelled job is not a failed one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Pending => "pending",
            Self::Final => "final",
            Self::Failed(FailReason::Cancelled) => "cancelled",
            Self::Failed(FailReason::Refuted | FailReason::Unaudited) => "failed",
        }
    }

    /// The reason why the job ended without a result, as a word for programs.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Running | Self::Pending | Self::Final => None,
            Self::Failed(FailReason::Cancelled) => Some("cancelled"),
            Self::Failed(FailReason::Refuted) => Some("refuted"),
            Self::Failed(FailReason::Unaudited) => Some("unaudited"),
        }
    }

    /// Whether the job can still change.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Final | Self::Failed(_))
    }
}

impl From<&JobStatus> for JobState {
    fn from(status: &JobStatus) -> Self {
        match status {
            JobStatus::Running => Self::Running,
            JobStatus::Pending { .. } => Self::Pending,
            JobStatus::Final { .. } => Self::Final,
            JobStatus::Failed { reason, .. } => Self::Failed(*reason),
        }
    }
}

/// The job to evict when the store is full: the job that ended first; if none has ended, the
/// oldest.
pub fn eviction_candidate<'a>(
    jobs: impl IntoIterator<Item = (&'a JobId, &'a Job)>,
) -> Option<JobId> {
    let rank = |job: &Job| match &job.status {
        JobStatus::Final { at, .. } | JobStatus::Failed { at, .. } => (false, *at),
        JobStatus::Running | JobStatus::Pending { .. } => (true, job.submitted),
    };
    jobs.into_iter().min_by_key(|(id, job)| (rank(job), **id)).map(|(id, _)| *id)
}

/// The reason why a job waits, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WaitingFor {
    /// The reason.
    pub reason: WaitReason,
    /// Since when the job has waited, by the clock of the reporting node.
    pub since_ms: TimeMs,
}

/// Reasons why a job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum WaitReason {
    /// No worker has requested work from the coordinator lately.
    Workers,
    /// Every result of the round waits for a second worker that recomputes it.
    Checker,
    /// The coordinator is fetching the data.
    Data,
    /// The reporting node receives no reports from the coordinator.
    Coordinator,
    /// The last round is done; the result is on its way to the ledger.
    Ledger,
    /// The auditors have not all answered.
    Auditors,
    /// No block becomes final, so the result cannot enter the ledger.
    Quorum,
}

impl WaitReason {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Checker => "checker",
            Self::Data => "data",
            Self::Coordinator => "coordinator",
            Self::Ledger => "ledger",
            Self::Auditors => "auditors",
            Self::Quorum => "quorum",
        }
    }
}

/// Completes the sentence "The job waits for …".
impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workers => "workers: none has asked the coordinator for work",
            Self::Checker => "a second worker to check the results of the first",
            Self::Data => "its data: the coordinator is fetching them",
            Self::Coordinator => "its coordinator: this node receives no reports from it",
            Self::Ledger => "the ledger to record its result",
            Self::Auditors => "the auditors of its result",
            Self::Quorum => "a quorum: no block becomes final at present",
        })
    }
}

/// Number of active workers: those that requested work within [`ACTIVE_WORKER_MS`], or hold a
/// lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ActiveWorkers {
    /// Full nodes.
    pub full: u32,
    /// Browsers.
    pub browsers: u32,
}

/// Accuracy after some rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CurvePoint {
    /// Rounds done.
    pub round: u32,
    /// Test rows classified correctly.
    pub correct: u32,
    /// Test rows.
    pub total: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compute::params::Architecture,
        content::CidCodec,
        ledger::job::{InferenceTask, JobSpec, JobTask},
        types::Digest,
    };
    use alloc::{collections::BTreeMap, vec, vec::Vec};

    fn job(submitted: u64, status: JobStatus) -> Job {
        let dims = vec![1, 2].try_into().unwrap();
        let task = InferenceTask {
            training_job: Digest([1; 32]),
            model: Cid::of(CidCodec::DagCbor, b"model"),
            architecture: Architecture { dims, input_exponent: 4, hidden_exponent: 4 },
            rows: 1,
        };
        let dataset = Cid::of(CidCodec::Raw, b"rows");
        let spec = JobSpec { name: "job".try_into().unwrap(), dataset, task: JobTask::Infer(task) };
        Job { spec, coordinator: NodeId([2; 32]), submitted, status }
    }

    #[test]
    fn ended_jobs_make_room_in_the_order_of_their_ends_and_running_ones_last() {
        let failed = |at| JobStatus::Failed { at, reason: FailReason::Unaudited };
        let statuses = [JobStatus::Running, failed(9), failed(7), JobStatus::Running];
        let mut jobs: BTreeMap<JobId, Job> = (0u8..)
            .zip(statuses)
            .map(|(n, status)| (Digest([n; 32]), job(n.into(), status)))
            .collect();
        let mut evicted = Vec::new();
        while let Some(id) = eviction_candidate(&jobs) {
            jobs.remove(&id);
            evicted.push(id.0[0]);
        }
        assert_eq!(evicted, [2, 1, 0, 3]);
    }

    #[test]
    fn a_cancelled_job_is_not_a_failed_one() {
        let failed = |reason| JobState::from(&JobStatus::Failed { at: 1, reason });
        assert_eq!(failed(FailReason::Cancelled).as_str(), "cancelled");
        assert_eq!(failed(FailReason::Refuted).as_str(), "failed");
        assert_eq!(failed(FailReason::Refuted).reason(), Some("refuted"));
        assert_eq!(JobState::Running.reason(), None);
    }
}
