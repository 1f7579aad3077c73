//! Jobs in the ledger: the request, its progress and its contributors.

pub use super::ids::JobId;

use super::ids::RefName;
use crate::{
    codec::{BoundedString, BoundedVec},
    compute::{
        infer::Parts,
        params::{Architecture, JobParams, Topology},
    },
    content::Cid,
    types::{Digest, Height, NodeId},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Most contributors that a result lists; further ones are credited to no node.
pub const CONTRIBUTORS_MAX: usize = 256;
/// Most auditors of a result.
pub const AUDITORS_MAX: usize = 64;
/// Longest name of a job, bytes.
pub const JOB_NAME_LEN_MAX: usize = 64;
/// Name space of trained models: `models/<job>`.
pub const MODELS: &str = "models/";
/// Name space of inference results: `answers/<job>`.
pub const ANSWERS: &str = "answers/";
/// Largest whole job, multiply-accumulates: every job up to this size is recomputed as a whole by
/// its auditors.
pub const JOB_MACS_MAX: u64 = 200_000_000_000;

/// A job request. The digest in `dataset` binds it to the data.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct JobSpec {
    /// Name for people.
    pub name: BoundedString<JOB_NAME_LEN_MAX>,
    /// The encoded data: a [`Dataset`](crate::compute::dataset::Dataset) for training, or
    /// [`Samples`](crate::compute::dataset::Samples) for inference.
    pub dataset: Cid,
    /// The task.
    pub task: JobTask,
}

/// The task of a job.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobTask {
    /// Train a model.
    Train(TrainingTask),
    /// Classify a batch of rows with a model that the ledger holds.
    Infer(InferenceTask),
}

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobKind {
    /// Trains a model.
    Train,
    /// Classifies a batch.
    Infer,
}

impl JobKind {
    /// The kind as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Infer => "infer",
        }
    }

    /// Name of the ref that a final job of this kind sets.
    pub fn output_ref(self, id: &JobId) -> Option<RefName> {
        let space = match self {
            Self::Train => MODELS,
            Self::Infer => ANSWERS,
        };
        alloc::format!("{space}{id}").try_into().ok()
    }
}

/// A training task.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TrainingTask {
    /// Shape, optimiser, rounds, seed, mode.
    pub params: JobParams,
    /// Training rows of the data set; with the parameters they fix the computation.
    pub training_rows: u32,
    /// Share of work units that is recomputed, in 1/65536; 65536 is all.
    pub spot_check_share: u32,
}

/// A batch inference task.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InferenceTask {
    /// The job that trained the model; it must be final.
    pub training_job: JobId,
    /// The model object of that job.
    pub model: Cid,
    /// The model's shape: it fixes the parts of the batch and their cost.
    pub architecture: Architecture,
    /// Rows of the batch.
    pub rows: u32,
}

/// The amount of work in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobWork {
    /// Work units of all rounds.
    pub units: u64,
    /// Multiply-accumulates of all units, each computed once.
    pub macs: u64,
}

impl JobSpec {
    /// The amount of work; none where the parameters are outside the limits or need more rows than
    /// exist.
    pub fn work(&self) -> Option<JobWork> {
        match &self.task {
            JobTask::Train(task) => task.work(),
            JobTask::Infer(task) => task.work(),
        }
    }

    /// The training task, if the job trains.
    pub const fn training(&self) -> Option<&TrainingTask> {
        match &self.task {
            JobTask::Train(task) => Some(task),
            JobTask::Infer(_) => None,
        }
    }

    /// Rounds; a batch has one.
    pub const fn rounds(&self) -> u32 {
        match &self.task {
            JobTask::Train(task) => task.params.rounds,
            JobTask::Infer(_) => 1,
        }
    }

    /// The kind of the job.
    pub const fn kind(&self) -> JobKind {
        match self.task {
            JobTask::Train(_) => JobKind::Train,
            JobTask::Infer(_) => JobKind::Infer,
        }
    }
}

impl TrainingTask {
    fn work(&self) -> Option<JobWork> {
        let plan = self.params.clone().validate().ok()?;
        if plan.rows_per_batch() > self.training_rows.into() {
            return None;
        }
        let units = u64::from(plan.units_per_round()).checked_mul(plan.rounds().into())?;
        Some(JobWork { units, macs: plan.macs_per_unit().checked_mul(units)? })
    }
}

impl InferenceTask {
    fn work(&self) -> Option<JobWork> {
        let topology = Topology::new(self.architecture.clone()).ok()?;
        let parts = Parts::new(&topology, self.rows)?;
        Some(JobWork { units: parts.count().into(), macs: topology.forward_macs(self.rows.into()) })
    }
}

/// The result of a job.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct JobResult {
    /// The requested output.
    pub output: JobOutput,
    /// Nodes that computed and checked, largest contribution first.
    pub contributors: BoundedVec<Contributor, CONTRIBUTORS_MAX>,
    /// Number of rejected results.
    pub rejected: u32,
}

/// The output of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobOutput {
    /// The output of a training.
    Model(TrainedModel),
    /// The answers object of a batch.
    Answers(Cid),
}

/// A trained model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TrainedModel {
    /// Digest of the final weights.
    pub weights: Digest,
    /// The model object.
    pub model: Cid,
    /// The training record object.
    pub record: Cid,
    /// Test rows classified correctly.
    pub correct: u32,
    /// Test rows.
    pub tested: u32,
}

impl JobOutput {
    /// The object that the job's ref points to.
    pub const fn cid(&self) -> Cid {
        match self {
            Self::Model(trained) => trained.model,
            Self::Answers(answers) => *answers,
        }
    }

    /// The trained model, if the job trained one.
    pub const fn model(&self) -> Option<&TrainedModel> {
        match self {
            Self::Model(trained) => Some(trained),
            Self::Answers(_) => None,
        }
    }

    /// Whether the output matches the task and is possible.
    pub fn matches_task(&self, task: &JobTask) -> bool {
        match (self, task) {
            (Self::Model(trained), JobTask::Train(_)) => trained.correct <= trained.tested,
            (Self::Answers(_), JobTask::Infer(_)) => true,
            _ => false,
        }
    }
}

/// One node's part in a job.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Contributor {
    /// The node.
    pub node: NodeId,
    /// Work units computed and accepted.
    pub units: u32,
    /// Work units of others recomputed.
    pub checks: u32,
    /// Multiply-accumulates of both.
    pub macs: u64,
}

/// The finding of an auditor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum Verdict {
    /// Recomputing gave the same output.
    Agree,
    /// Recomputing gave another output.
    Disagree,
}

/// A job in the state.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Job {
    /// The request.
    pub spec: JobSpec,
    /// The node that submitted the job and coordinates it.
    pub coordinator: NodeId,
    /// Height of the submission.
    pub submitted: Height,
    /// Status of the job.
    pub status: JobStatus,
}

/// The status of a job.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobStatus {
    /// Being computed.
    Running,
    /// A result waits for its auditors.
    Pending {
        /// The coordinator's result.
        result: JobResult,
        /// Height of the result.
        since: Height,
        /// Drawn from a block later than the result; empty until then.
        auditors: BoundedVec<NodeId, AUDITORS_MAX>,
        /// The verdicts so far.
        verdicts: BoundedVec<(NodeId, Verdict), AUDITORS_MAX>,
    },
    /// Audited; `models/<job>` points to the model, or `answers/<job>` to the answers.
    Final {
        /// The result.
        result: JobResult,
        /// Height at which the result became final.
        at: Height,
        /// Reputation that was minted for it.
        minted: u64,
    },
    /// Cancelled, refused by its auditors, or never audited in time.
    Failed {
        /// Height of the failure.
        at: Height,
        /// Reason of the failure.
        reason: FailReason,
    },
}

/// The reason why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum FailReason {
    /// Cancelled by its coordinator.
    Cancelled,
    /// Auditors of blocking weight disagree.
    Refuted,
    /// Too few auditors answered in time.
    Unaudited,
}
