//! Who did what, how well the network does, and what was rejected: the part of a coordinator that
//! ends up in the job's result and record, and that survives a crash.

use crate::{
    codec::BoundedVec,
    compute::{
        array::Array,
        exact::UnitResult,
        infer::PART_ROWS_MAX,
        lane::LaneResult,
        predict::Accuracy,
        state::{LaneState, Weights},
    },
    ledger::job::{CONTRIBUTORS_MAX, Contributor},
    types::{Digest, NodeId},
    wire::work::{CURVE_LEN_MAX, CurvePoint, Reason},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most rejections kept by name; the rest are only counted.
pub const REJECTIONS_MAX: usize = 256;
/// Most contributors kept by name while a job runs; work beyond counts, but is credited to nobody.
pub const TALLIES_MAX: usize = 4 * CONTRIBUTORS_MAX;

/// A result that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Rejection {
    /// Of which round.
    pub round: u32,
    /// Of which lane.
    pub lane: u32,
    /// Whose.
    pub worker: NodeId,
    /// Why.
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
    /// Without the digest.
    pub const fn curve_point(&self) -> CurvePoint {
        CurvePoint { round: self.round, correct: self.correct, total: self.total }
    }
}

/// A lane that counts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AcceptedLane {
    /// Of which round.
    pub round: u32,
    /// Which.
    pub lane: u32,
    /// Who computed it.
    pub worker: NodeId,
    /// Whether the worker is a browser.
    pub guest: bool,
    /// Who recomputed it.
    pub checker: Option<NodeId>,
    /// What it came to.
    pub result: LaneResult,
}

/// A unit that counts, of a job in exact mode.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AcceptedUnit {
    /// Of which round.
    pub round: u32,
    /// Which.
    pub unit: u32,
    /// Who computed it.
    pub worker: NodeId,
    /// Whether the worker is a browser.
    pub guest: bool,
    /// What it came to.
    pub result: UnitResult,
}

/// A part of a batch that counts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AcceptedAnswers {
    /// Which part.
    pub part: u32,
    /// Who computed it.
    pub worker: NodeId,
    /// Whether the worker is a browser.
    pub guest: bool,
    /// The class of each of its rows.
    pub classes: Array<u8, { PART_ROWS_MAX as usize }>,
}

/// Everything at the end of a round of a job in exact mode.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ExactSnapshot {
    /// Rounds done.
    pub round: u32,
    /// The weights after them, and the momentum.
    pub state: LaneState,
    /// Who did what so far.
    pub book: Book,
}

/// Everything at the end of a round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Snapshot {
    /// Rounds done.
    pub round: u32,
    /// The weights after them.
    pub weights: Weights,
    /// Who did what so far.
    pub book: Book,
}

/// The account of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Book {
    tallies: BoundedVec<Contributor, TALLIES_MAX>,
    curve: BoundedVec<RecordPoint, CURVE_LEN_MAX>,
    rejections: BoundedVec<Rejection, REJECTIONS_MAX>,
    rejected: u32,
    units: u64,
    checks: u64,
    units_guest: u64,
}

impl Book {
    /// Credits a lane or unit to its worker.
    pub(super) fn credit(&mut self, worker: NodeId, guest: bool, macs: u64) {
        self.units += 1;
        self.units_guest += u64::from(guest);
        self.tally(worker, |worker| {
            worker.units = worker.units.saturating_add(1);
            worker.macs = worker.macs.saturating_add(macs);
        });
    }

    /// Counts a check; who recomputed the lane, rather than its products, is credited.
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
        // The first ones are kept: they are the cause, a flood later is not.
        let _ = self.rejections.push(rejection);
    }

    pub(super) fn measure(&mut self, point: RecordPoint) {
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

    /// Lanes accepted.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Lanes recomputed by another, or units whose products were checked.
    pub const fn checks(&self) -> u64 {
        self.checks
    }

    /// Lanes computed by browsers.
    pub const fn units_guest(&self) -> u64 {
        self.units_guest
    }

    /// Accuracy at the last measurement.
    pub fn accuracy(&self) -> Accuracy {
        self.curve.last().map_or(Accuracy { correct: 0, total: 0 }, |p| Accuracy {
            correct: p.correct,
            total: p.total,
        })
    }

    /// The `count` who did most, most first; equals by identity.
    pub fn top(&self, count: usize) -> Vec<Contributor> {
        let mut all = self.tallies.to_vec();
        all.sort_by(|a, b| b.macs.cmp(&a.macs).then(a.node.cmp(&b.node)));
        all.truncate(count);
        all
    }
}
