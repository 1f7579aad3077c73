//! Work units of either mode: their ids, and the rows that each reads.

use super::{
    dataset::Samples,
    error::{ComputeError, check_count, check_position},
    params::Plan,
    prng::{self, Purpose},
};
use crate::types::Digest;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// The id of a work unit: job, round and unit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct WorkUnitId {
    /// The job.
    pub job: Digest,
    /// The round, from 0.
    pub round: u32,
    /// The work unit, from 0.
    pub unit: u32,
}

impl WorkUnitId {
    /// Refuses a round or work unit that the job does not have.
    pub fn check(&self, plan: &Plan) -> Result<(), ComputeError> {
        check_position("round", self.round, plan.rounds())?;
        check_position("work unit", self.unit, plan.units_per_round())
    }
}

/// Most row numbers that a worker shuffles to find the rows of a work unit: some 20 ms of a
/// browser's page. Above this limit the coordinator sends the rows.
pub const SHUFFLED_ROWS_MAX: u64 = 1 << 18;

/// The order of the training rows, one epoch at a time.
#[derive(Clone, Debug)]
pub struct EpochOrder {
    pub(super) rows: u32,
    epoch: Option<u32>,
    order: Vec<u32>,
}

impl EpochOrder {
    /// The order for this many training rows.
    pub fn new(rows: u32) -> Self {
        Self { rows, epoch: None, order: Vec::new() }
    }

    /// Most row numbers that are shuffled to find the rows of a work unit: all of them for each
    /// epoch that the unit touches.
    pub fn shuffled_rows(&self, plan: &Plan) -> u64 {
        let steps_per_epoch = (u64::from(self.rows) / plan.rows_per_batch()).max(1);
        let epochs = u64::from(plan.steps_per_unit()).div_ceil(steps_per_epoch) + 1;
        epochs * u64::from(self.rows)
    }

    /// The row numbers that a work unit reads, step after step.
    pub fn rows_of_unit(
        &mut self,
        plan: &Plan,
        round: u32,
        unit: u32,
    ) -> Result<Vec<u32>, ComputeError> {
        WorkUnitId { job: Digest::default(), round, unit }.check(plan)?;
        let per_epoch = (u64::from(self.rows) / plan.rows_per_batch()) as u32;
        check_position("batch", 0, per_epoch)?;
        let mut rows = Vec::with_capacity(plan.rows_per_unit());
        let first = round * plan.steps_per_unit();
        for step in first..first + plan.steps_per_unit() {
            let epoch = step / per_epoch;
            if self.epoch != Some(epoch) {
                let key = prng::key(&[plan.params().seed, Purpose::Order as u32, epoch]);
                self.order = prng::permutation(key, self.rows);
                self.epoch = Some(epoch);
            }
            let start = (u64::from(step % per_epoch) * plan.rows_per_batch()) as usize
                + unit as usize * plan.rows_per_step();
            rows.extend_from_slice(
                self.order.get(start..start + plan.rows_per_step()).unwrap_or_default(),
            );
        }
        Ok(rows)
    }
}

/// Checks that these are `expected` rows of the plan's network.
pub(super) fn check_rows(plan: &Plan, rows: &Samples, expected: usize) -> Result<(), ComputeError> {
    check_count("rows", rows.rows() as usize, expected)?;
    check_count("features", rows.features() as usize, plan.topology().features())?;
    if rows.classes() as usize > plan.topology().classes() {
        return Err(ComputeError::Range { what: "labels", index: 0 });
    }
    Ok(())
}
