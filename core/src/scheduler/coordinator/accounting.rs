//! Contributions, accuracy and rejections of a job. They enter the job's result and record, and
//! survive a crash.

use crate::{
    codec::BoundedVec,
    compute::{
        array::Array,
        exact::ExactStepResult,
        infer::PART_ROWS_MAX,
        local_steps::LocalStepsResult,
        predict::Accuracy,
        state::{TrainingState, Weights},
    },
    ledger::job::{CONTRIBUTORS_MAX, Contributor},
    types::{Digest, NodeId},
    wire::work::{CURVE_LEN_MAX, CurvePoint, Reason},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most rejections stored individually; further ones are only counted.
pub const REJECTIONS_MAX: usize = 256;
/// Most contributors stored individually while a job runs. Work of further workers counts, but is
/// credited to no worker.
pub const TALLIES_MAX: usize = 4 * CONTRIBUTORS_MAX;

/// A result that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Rejection {
    /// The round.
    pub round: u32,
    /// The work unit.
    pub unit: u32,
    /// The worker.
    pub worker: NodeId,
    /// The reason why the result was rejected.
    pub reason: Reason,
}

/// Accuracy after some rounds, and the weights it was measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RecordPoint {
    /// Rounds done.
    pub round: u32,
    /// Test rows classified correctly.
    pub correct: u32,
    /// Test rows.
    pub total: u32,
    /// Digest of the weights.
    pub weights: Digest,
}

impl RecordPoint {
    /// The point without the digest.
    pub const fn curve_point(&self) -> CurvePoint {
        CurvePoint { round: self.round, correct: self.correct, total: self.total }
    }
}

/// Accepted local steps.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AcceptedLocalSteps {
    /// The round.
    pub round: u32,
    /// The work unit.
    pub unit: u32,
    /// The worker that computed it.
    pub worker: NodeId,
    /// Whether the worker is a browser.
    pub is_browser: bool,
    /// The worker that recomputed it.
    pub checker: Option<NodeId>,
    /// The result.
    pub result: LocalStepsResult,
}

/// An accepted exact step, of a job in exact mode.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AcceptedExactStep {
    /// The round.
    pub round: u32,
    /// The work unit.
    pub unit: u32,
    /// The worker that computed it.
    pub worker: NodeId,
    /// Whether the worker is a browser.
    pub is_browser: bool,
    /// The result.
    pub result: ExactStepResult,
}

/// An accepted part of an inference batch.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AcceptedInferencePart {
    /// The work unit.
    pub unit: u32,
    /// The worker that computed it.
    pub worker: NodeId,
    /// Whether the worker is a browser.
    pub is_browser: bool,
    /// The class of each of its rows.
    pub classes: Array<u8, { PART_ROWS_MAX as usize }>,
}

/// The state at the end of a round of a job in exact mode.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ExactSnapshot {
    /// Completed rounds.
    pub round: u32,
    /// The weights after these rounds, and the momentum.
    pub state: TrainingState,
    /// The accounting so far.
    pub accounting: Accounting,
}

/// The state at the end of a round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Snapshot {
    /// Completed rounds.
    pub round: u32,
    /// The weights after these rounds.
    pub weights: Weights,
    /// The accounting so far.
    pub accounting: Accounting,
}

/// The accounting of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Accounting {
    tallies: BoundedVec<Contributor, TALLIES_MAX>,
    curve: BoundedVec<RecordPoint, CURVE_LEN_MAX>,
    rejections: BoundedVec<Rejection, REJECTIONS_MAX>,
    rejected: u32,
    units: u64,
    checks: u64,
    browser_units: u64,
}

impl Accounting {
    /// Credits a work unit to its worker.
    pub(super) fn credit(&mut self, worker: NodeId, is_browser: bool, macs: u64) {
        self.units += 1;
        self.browser_units += u64::from(is_browser);
        self.tally(worker, |worker| {
            worker.units = worker.units.saturating_add(1);
            worker.macs = worker.macs.saturating_add(macs);
        });
    }

    /// Counts a check. A checker that recomputed the unit is credited; a check of products is not.
    pub(super) fn credit_check(&mut self, checker: Option<NodeId>, macs: u64) {
        self.checks += 1;
        if let Some(checker) = checker {
            self.tally(checker, |checker| {
                checker.checks = checker.checks.saturating_add(1);
                checker.macs = checker.macs.saturating_add(macs);
            });
        }
    }

    fn tally(&mut self, node: NodeId, change: impl FnOnce(&mut Contributor)) {
        let mut tallies = core::mem::take(&mut self.tallies).into_vec();
        match tallies.binary_search_by(|t| t.node.cmp(&node)) {
            Ok(index) => {
                if let Some(tally) = tallies.get_mut(index) {
                    change(tally);
                }
            }
            Err(index) if tallies.len() < TALLIES_MAX => {
                let mut tally = Contributor { node, units: 0, checks: 0, macs: 0 };
                change(&mut tally);
                tallies.insert(index, tally);
            }
            Err(_) => {}
        }
        self.tallies = BoundedVec::truncated(tallies);
    }

    pub(super) fn reject(&mut self, rejection: Rejection) {
        self.rejected = self.rejected.saturating_add(1);
        // The first rejections are kept: they show the cause, later ones do not.
        let _ = self.rejections.push(rejection);
    }

    pub(super) fn record_accuracy(&mut self, point: RecordPoint) {
        let _ = self.curve.push(point);
    }

    /// Accuracy so far.
    pub fn curve(&self) -> &[RecordPoint] {
        &self.curve
    }

    /// The first rejections.
    pub fn rejections(&self) -> &[Rejection] {
        &self.rejections
    }

    /// Rejections in all.
    pub const fn rejected(&self) -> u32 {
        self.rejected
    }

    /// Accepted work units.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Work units that were checked, by another worker or by their products.
    pub const fn checks(&self) -> u64 {
        self.checks
    }

    /// Work units computed by browsers.
    pub const fn browser_units(&self) -> u64 {
        self.browser_units
    }

    /// Accuracy at the last measurement.
    pub fn accuracy(&self) -> Accuracy {
        self.curve.last().map_or(Accuracy { correct: 0, total: 0 }, |p| Accuracy {
            correct: p.correct,
            total: p.total,
        })
    }

    /// The `count` largest contributors, largest first; ties are ordered by identity.
    pub fn top_contributors(&self, count: usize) -> Vec<Contributor> {
        let mut all = self.tallies.to_vec();
        all.sort_by(|a, b| b.macs.cmp(&a.macs).then(a.node.cmp(&b.node)));
        all.truncate(count);
        all
    }
}
