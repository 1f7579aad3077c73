//! The outputs of a coordinator, and the outcome of a job.

use super::accounting::{
    AcceptedExactStep, AcceptedInferencePart, AcceptedLocalSteps, ExactSnapshot, RecordPoint,
    Rejection, Snapshot,
};
use crate::{
    codec::BoundedVec,
    compute::{limits::PARAMETERS_MAX, predict::Accuracy, state::Weights},
    ledger::job::{Contributor, JobId, JobOutput, JobResult, JobSpec},
    objects::record::{Contribution, Point, Rejected, TrainingRecord},
    types::NodeId,
    wire::work::{CurvePoint, Response, Task},
};
use alloc::{boxed::Box, string::ToString, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded [`Record`], bytes.
pub const RECORD_LEN_MAX: usize = 8 * PARAMETERS_MAX + 1024 * 1024;

/// An action for the host, in order, or an event.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Answer a worker.
    Reply {
        /// The number of the request.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// Write this record to disk, then answer with [`Input::Persisted`](super::Input::Persisted).
    /// No output follows before.
    Persist(Record),
    /// Compute this task, then answer with [`Input::Computed`](super::Input::Computed).
    Compute {
        /// The number of the computation.
        compute_id: u64,
        /// The task.
        task: Task,
    },
    /// An event for display.
    Event(Event),
    /// The last round is complete and on disk.
    Finished(Box<Outcome>),
}

/// A record that must survive a crash. All records in order restore a coordinator. One that [ends a
/// round](Record::ends_round) replaces every earlier record.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Record {
    /// A completed round.
    Round(Snapshot),
    /// Accepted local steps.
    LocalSteps(AcceptedLocalSteps),
    /// A rejected result.
    Rejected(Rejection),
    /// A completed round of a job in exact mode.
    ExactRound(ExactSnapshot),
    /// An accepted exact step, of a job in exact mode.
    ExactStep(AcceptedExactStep),
    /// An accepted part of an inference batch.
    InferencePart(AcceptedInferencePart),
}

impl Record {
    /// Whether this record includes everything in earlier records.
    pub const fn ends_round(&self) -> bool {
        matches!(self, Self::Round(_) | Self::ExactRound(_))
    }
}

/// An event for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A work unit was accepted.
    Accepted {
        /// The round.
        round: u32,
        /// The work unit.
        unit: u32,
        /// The worker that computed it.
        worker: NodeId,
        /// The worker that recomputed it, if any.
        checker: Option<NodeId>,
        /// Whether the worker is a browser.
        is_browser: bool,
        /// Multiply-accumulates credited.
        macs: u64,
    },
    /// A result was rejected, or was late.
    Rejected(Rejection),
    /// The accuracy on the test rows was measured after a round.
    Round(CurvePoint),
    /// The active workers have changed, or what the job waits for.
    Activity,
}

/// The outcome of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The computed result.
    pub completion: Completion,
    /// The contributors, largest first.
    pub contributors: Vec<Contributor>,
    /// The first rejected results.
    pub rejections: Vec<Rejection>,
    /// Number of rejected results.
    pub rejected: u32,
    /// Accepted work units.
    pub units: u64,
    /// Accepted work units that were checked, by another worker or by their products.
    pub checks: u64,
    /// Accepted work units computed by browsers.
    pub browser_units: u64,
}

/// The computed result of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The result of a training.
    Trained(Trained),
    /// The result of an inference batch: the class of every row.
    Inferred(Vec<u8>),
}

/// A trained network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trained {
    /// The final weights.
    pub weights: Weights,
    /// Accuracy on the test rows.
    pub accuracy: Accuracy,
    /// Accuracy and digest of the weights, round by round.
    pub curve: Vec<RecordPoint>,
}

impl Outcome {
    /// The trained network, if the job is a training.
    pub const fn trained(&self) -> Option<&Trained> {
        match &self.completion {
            Completion::Trained(trained) => Some(trained),
            Completion::Inferred(_) => None,
        }
    }

    /// The contents of the record object, if the job is a training.
    pub fn record(
        &self,
        job: JobId,
        spec: &JobSpec,
        coordinator: NodeId,
    ) -> Option<TrainingRecord> {
        let (trained, task) = (self.trained()?, spec.training()?);
        let contribution = |c: &Contributor| Contribution {
            node: c.node,
            units: c.units,
            checks: c.checks,
            macs: c.macs,
        };
        let point = |p: &RecordPoint| Point {
            round: p.round,
            correct: p.correct,
            total: p.total,
            weights: p.weights,
        };
        let rejected = |r: &Rejection| Rejected {
            round: r.round,
            unit: r.unit,
            worker: r.worker,
            reason: r.reason.to_string(),
        };
        Some(TrainingRecord {
            job,
            name: spec.name.clone(),
            dataset: spec.dataset,
            task: task.clone(),
            coordinator,
            units: self.units,
            checks: self.checks,
            browser_units: self.browser_units,
            contributors: self.contributors.iter().map(contribution).collect(),
            curve: trained.curve.iter().map(point).collect(),
            rejections: self.rejections.iter().map(rejected).collect(),
            rejected: self.rejected,
        })
    }

    /// The result for the ledger.
    pub fn result(&self, output: JobOutput) -> JobResult {
        JobResult {
            output,
            contributors: BoundedVec::truncated(self.contributors.iter().cloned()),
            rejected: self.rejected,
        }
    }
}
