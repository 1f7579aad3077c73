//! What a coordinator wants done, and what it leaves behind.

use super::book::{
    AcceptedAnswers, AcceptedLane, AcceptedUnit, ExactSnapshot, RecordPoint, Rejection, Snapshot,
};
use crate::{
    codec::BoundedVec,
    compute::{params::PARAMETERS_MAX, predict::Accuracy, state::Weights},
    knowledge::record::{Contribution, Point, Rejected, TrainingRecord},
    ledger::job::{Contributor, JobId, JobOutput, JobResult, JobSpec},
    types::NodeId,
    wire::work::{CurvePoint, Response, Task},
};
use alloc::{boxed::Box, string::ToString, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded [`Record`], bytes.
pub const RECORD_LEN_MAX: usize = 8 * PARAMETERS_MAX + 1024 * 1024;

/// What a coordinator wants done, in order.
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
    /// Put this on disk and say [`Input::Persisted`](super::Input::Persisted): nothing follows
    /// before.
    Persist(Record),
    /// Compute this and say [`Input::Computed`](super::Input::Computed).
    Compute {
        /// Names it.
        unit: u64,
        /// What to do.
        task: Task,
    },
    /// Worth showing.
    Event(Event),
    /// The last round is done and on disk.
    Finished(Box<Outcome>),
}

/// What must survive a crash. All of them together, in order, restore a coordinator; one that
/// [ends a round](Record::ends_round) makes every earlier record superfluous.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Record {
    /// A finished round.
    Round(Snapshot),
    /// A lane that counts.
    Lane(AcceptedLane),
    /// A result that was rejected.
    Rejected(Rejection),
    /// A finished round of a job in exact mode.
    ExactRound(ExactSnapshot),
    /// A unit that counts, of a job in exact mode.
    Unit(AcceptedUnit),
    /// A part of a batch that counts.
    Answers(AcceptedAnswers),
}

impl Record {
    /// Whether it holds all that earlier records do.
    pub const fn ends_round(&self) -> bool {
        matches!(self, Self::Round(_) | Self::ExactRound(_))
    }
}

/// Worth showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A lane counts.
    Accepted {
        /// Of which round.
        round: u32,
        /// Which lane.
        lane: u32,
        /// Who computed it.
        worker: NodeId,
        /// Who recomputed it, if it was checked.
        checker: Option<NodeId>,
        /// Whether the worker is a browser.
        guest: bool,
        /// Multiply-accumulates credited.
        macs: u64,
    },
    /// A result was rejected, or did not come in time.
    Rejected(Rejection),
    /// A round was measured on the test rows.
    Round(CurvePoint),
    /// The workers that take part have changed, or what the job waits for.
    Activity,
}

/// What came out of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was asked for.
    pub concluded: Concluded,
    /// Who did what, most first.
    pub contributors: Vec<Contributor>,
    /// The first results that were rejected.
    pub rejections: Vec<Rejection>,
    /// Results that were rejected.
    pub rejected: u32,
    /// Lanes accepted.
    pub units: u64,
    /// Of these, lanes recomputed by another, or units whose products were checked.
    pub checks: u64,
    /// Of these, lanes computed by browsers.
    pub units_guest: u64,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concluded {
    /// Of a training.
    Trained(Trained),
    /// Of a batch: the class of every row.
    Answered(Vec<u8>),
}

/// A trained network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trained {
    /// The final weights.
    pub weights: Weights,
    /// On the test rows.
    pub accuracy: Accuracy,
    /// Accuracy and digest of the weights, round by round.
    pub curve: Vec<RecordPoint>,
}

impl Outcome {
    /// The trained network, of a training.
    pub const fn trained(&self) -> Option<&Trained> {
        match &self.concluded {
            Concluded::Trained(trained) => Some(trained),
            Concluded::Answered(_) => None,
        }
    }

    /// The record object's contents, of a training.
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
            lane: r.lane,
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
            units_guest: self.units_guest,
            contributors: self.contributors.iter().map(contribution).collect(),
            curve: trained.curve.iter().map(point).collect(),
            rejections: self.rejections.iter().map(rejected).collect(),
            rejected: self.rejected,
        })
    }

    /// What the ledger is told.
    pub fn result(&self, output: JobOutput) -> JobResult {
        JobResult {
            output,
            contributors: BoundedVec::truncated(self.contributors.iter().cloned()),
            rejected: self.rejected,
        }
    }
}
