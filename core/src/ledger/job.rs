//! Jobs as the ledger knows them: what was asked, how far it is, who did what.

use super::transaction::RefName;
use crate::{
    codec::{BoundedString, BoundedVec},
    compute::{
        infer::Parts,
        params::{Architecture, JobParams, Topology},
    },
    knowledge::Cid,
    types::{Digest, Height, NodeId},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Names a job: the id of the transaction that submitted it.
pub type JobId = Digest;
/// Most contributors that a result lists; the rest are summed up under nobody.
pub const CONTRIBUTORS_MAX: usize = 256;
/// Most auditors of a result.
pub const AUDITORS_MAX: usize = 64;
/// Longest name of a job, bytes.
pub const JOB_NAME_LEN_MAX: usize = 64;
/// Name space of trained models: `models/<job>`.
pub const MODELS: &str = "models/";
/// Name space of answered batches: `answers/<job>`.
pub const ANSWERS: &str = "answers/";
/// Largest whole job, multiply-accumulates: every job up to this size is recomputed as a whole by
/// its auditors.
pub const JOB_MACS_MAX: u64 = 200_000_000_000;

/// What is asked. Bound to the data by the digest in its name.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct JobSpec {
    /// For people.
    pub name: BoundedString<JOB_NAME_LEN_MAX>,
    /// The encoded data: a [`Dataset`](crate::compute::dataset::Dataset) to train on, or the
    /// [`Samples`](crate::compute::dataset::Samples) to answer.
    pub dataset: Cid,
    /// What is done with it.
    pub task: JobTask,
}

/// What is done with the data.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobTask {
    /// Train a model.
    Train(TrainingTask),
    /// Answer a batch of rows with a model that the ledger holds.
    Infer(InferenceTask),
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobKind {
    /// Trains a model.
    Train,
    /// Answers a batch.
    Infer,
}

impl JobKind {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Infer => "infer",
        }
    }

    /// Name of the ref that the end of such a job sets.
    pub fn output_ref(self, id: &JobId) -> Option<RefName> {
        let space = match self {
            Self::Train => MODELS,
            Self::Infer => ANSWERS,
        };
        alloc::format!("{space}{id}").try_into().ok()
    }
}

/// Training.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TrainingTask {
    /// Shape, optimiser, rounds, seed, mode.
    pub params: JobParams,
    /// Training rows of the data set; with the parameters they fix what is computed.
    pub training_rows: u32,
    /// Share of lanes that is recomputed, in 1/65536; 65536 is all.
    pub checked: u32,
}

/// Batch inference.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InferenceTask {
    /// The job that trained the model; it must be final.
    pub trained: JobId,
    /// Its model.
    pub model: Cid,
    /// The model's shape: it fixes the parts of the batch and what they cost.
    pub architecture: Architecture,
    /// Rows of the batch.
    pub rows: u32,
}

/// How much a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Lanes of all rounds.
    pub units: u64,
    /// Multiply-accumulates of all units, each computed once.
    pub macs: u64,
}

impl JobSpec {
    /// How much the job is; none where its parameters are outside the limits or ask for more rows
    /// than there are.
    pub fn work(&self) -> Option<Work> {
        match &self.task {
            JobTask::Train(task) => task.work(),
            JobTask::Infer(task) => task.work(),
        }
    }

    /// What is trained, if anything is.
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

    /// What the job does.
    pub const fn kind(&self) -> JobKind {
        match self.task {
            JobTask::Train(_) => JobKind::Train,
            JobTask::Infer(_) => JobKind::Infer,
        }
    }
}

impl TrainingTask {
    fn work(&self) -> Option<Work> {
        let plan = self.params.clone().validate().ok()?;
        if plan.batch_rows() > self.training_rows.into() {
            return None;
        }
        let units = u64::from(plan.lanes()).checked_mul(plan.rounds().into())?;
        Some(Work { units, macs: plan.macs_per_lane().checked_mul(units)? })
    }
}

impl InferenceTask {
    fn work(&self) -> Option<Work> {
        let topology = Topology::new(self.architecture.clone()).ok()?;
        let parts = Parts::new(&topology, self.rows)?;
        Some(Work { units: parts.count().into(), macs: topology.forward_macs(self.rows.into()) })
    }
}

/// What came out of a job.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct JobResult {
    /// What was asked for.
    pub output: JobOutput,
    /// Who computed and checked, largest first.
    pub contributors: BoundedVec<Contributor, CONTRIBUTORS_MAX>,
    /// Results that were refused.
    pub rejected: u32,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobOutput {
    /// Of a training.
    Model(TrainedModel),
    /// Of a batch: the answers object.
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

    /// The model, of a training.
    pub const fn model(&self) -> Option<&TrainedModel> {
        match self {
            Self::Model(trained) => Some(trained),
            Self::Answers(_) => None,
        }
    }

    /// Whether it is what this task asks for, and possible.
    pub fn fits(&self, task: &JobTask) -> bool {
        match (self, task) {
            (Self::Model(trained), JobTask::Train(_)) => trained.correct <= trained.tested,
            (Self::Answers(_), JobTask::Infer(_)) => true,
            _ => false,
        }
    }
}

/// One member's part in a job.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Contributor {
    /// Who.
    pub node: NodeId,
    /// Lanes computed and accepted.
    pub units: u32,
    /// Lanes of others recomputed.
    pub checks: u32,
    /// Multiply-accumulates of both.
    pub macs: u64,
}

/// What an auditor found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum Verdict {
    /// Recomputing gave the same output.
    Agree,
    /// It gave another.
    Disagree,
}

/// A job in the state.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Job {
    /// What was asked.
    pub spec: JobSpec,
    /// Who asked and coordinates.
    pub coordinator: NodeId,
    /// When.
    pub submitted: Height,
    /// How far it is.
    pub status: JobStatus,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum JobStatus {
    /// Being computed.
    Running,
    /// A result waits for its auditors.
    Pending {
        /// What the coordinator says.
        result: JobResult,
        /// When it came.
        since: Height,
        /// Drawn from a block later than the result; empty until then.
        auditors: BoundedVec<NodeId, AUDITORS_MAX>,
        /// What they found so far.
        verdicts: BoundedVec<(NodeId, Verdict), AUDITORS_MAX>,
    },
    /// Audited; `models/<job>` points to the model, or `answers/<job>` to the answers.
    Final {
        /// What came out.
        result: JobResult,
        /// When it became final.
        at: Height,
        /// Reputation that was minted for it.
        minted: u64,
    },
    /// Cancelled, refused by its auditors, or never audited in time.
    Failed {
        /// When.
        at: Height,
        /// Why.
        reason: FailReason,
    },
}

/// Why a job ended without a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum FailReason {
    /// By its coordinator.
    Cancelled,
    /// Auditors of blocking weight disagree.
    Refuted,
    /// Too few auditors answered in time.
    Unaudited,
}
