//! The material that a worker holds of its jobs: the weights of a round and the training rows,
//! so that leases need not carry them again, and the leases that wait for such.
//!
//! Refused: weights whose digest is not the one that the lease names. Bytes held are capped; the
//! job used longest ago is dropped first.

use crate::{
    compute::{
        dataset::Samples,
        lane::{EpochOrder, LaneInput, SHUFFLED_ROWS_MAX},
        state::Weights,
    },
    ledger::job::JobId,
    types::Digest,
    wire::work::{Holds, LaneAssignment, ROWS_HELD_LEN_MAX, SentRows, SentWeights, Task},
};
use alloc::collections::BTreeMap;

/// Most bytes held of all jobs.
const BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct Rows {
    all: Samples,
    order: EpochOrder,
}

#[derive(Debug, Default)]
struct Material {
    weights: Option<(u32, Digest, Weights)>,
    rows: Option<Rows>,
    /// When it was used last, in uses.
    used: u64,
}

impl Material {
    fn bytes(&self) -> usize {
        let weights = self.weights.as_ref().map_or(0, |(.., weights)| 4 * weights.as_slice().len());
        let rows = |rows: &Rows| rows.all.values().len() + 5 * rows.all.labels().len();
        weights + self.rows.as_ref().map_or(0, rows)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Materials {
    jobs: BTreeMap<JobId, Material>,
    uses: u64,
}

/// Why a lane cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The material for the lane has not arrived yet.
    Missing,
    /// It is not in order.
    Malformed,
}

impl Materials {
    /// What a coordinator need not send again.
    pub(super) fn holds(&self, job: &JobId) -> Holds {
        self.jobs.get(job).map_or_else(Holds::default, |material| Holds {
            weights_of: material.weights.as_ref().map(|(round, ..)| *round),
            rows: material.rows.is_some(),
        })
    }

    pub(super) fn forget(&mut self, job: &JobId) {
        self.jobs.remove(job);
    }

    /// Keeps what came with a lane.
    pub(super) fn keep(&mut self, lane: &mut LaneAssignment) -> Result<(), Unusable> {
        self.uses += 1;
        let material = self.jobs.entry(lane.id.job).or_default();
        material.used = self.uses;
        if let SentWeights::Here(weights) = core::mem::replace(&mut lane.weights, SentWeights::Held)
        {
            if weights.hash() != lane.weights_hash {
                return Err(Unusable::Malformed);
            }
            // What comes late does not replace what is newer.
            if material.weights.as_ref().is_none_or(|(round, ..)| *round <= lane.id.round) {
                material.weights = Some((lane.id.round, lane.weights_hash, weights));
            }
        }
        if let SentRows::All(_) = lane.rows
            && let SentRows::All(all) = core::mem::replace(&mut lane.rows, SentRows::Held)
        {
            if all.values().len() + all.labels().len() > ROWS_HELD_LEN_MAX {
                return Err(Unusable::Malformed);
            }
            let order = EpochOrder::new(all.rows());
            material.rows = Some(Rows { all, order });
        }
        self.evict(lane.id.job);
        Ok(())
    }

    fn evict(&mut self, but: JobId) {
        while self.jobs.values().map(Material::bytes).sum::<usize>() > BYTES_MAX {
            let others = self.jobs.iter().filter(|(job, _)| **job != but);
            let Some(oldest) = others.min_by_key(|(_, m)| m.used).map(|(job, _)| *job) else {
                return;
            };
            self.jobs.remove(&oldest);
        }
    }

    /// The task of a lane, from what is held.
    pub(super) fn task(&mut self, lane: &LaneAssignment) -> Result<Task, Unusable> {
        let material = self.jobs.get_mut(&lane.id.job).ok_or(Unusable::Missing)?;
        let weights = match &material.weights {
            Some((_, hash, weights)) if *hash == lane.weights_hash => weights.clone(),
            _ => return Err(Unusable::Missing),
        };
        let rows = match &lane.rows {
            SentRows::Lane(rows) => rows.clone(),
            SentRows::Held | SentRows::All(_) => {
                let Rows { all, order } = material.rows.as_mut().ok_or(Unusable::Missing)?;
                let plan = lane.params.clone().validate().map_err(|_| Unusable::Malformed)?;
                // This runs on the thread that serves all jobs, in a browser on the page's.
                if order.shuffled_rows(&plan) > SHUFFLED_ROWS_MAX {
                    return Err(Unusable::Malformed);
                }
                let numbers = order.lane_rows(&plan, lane.id.round, lane.id.lane);
                all.select(&numbers.map_err(|_| Unusable::Malformed)?)
            }
        };
        Ok(Task::Lane(LaneInput { params: lane.params.clone(), id: lane.id, weights, rows }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{
        lane::LaneId,
        params::{Architecture, JobParams, Mode, Rounding},
    };
    use alloc::vec;

    /// A lane of a job whose rounds take all 65,536 rows at each step.
    fn lane(steps: u32, rows: SentRows) -> LaneAssignment {
        let params = JobParams {
            architecture: Architecture {
                dims: vec![2, 2].try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            unit_rows: 16,
            mode: Mode::Local { lanes: 4096, steps },
            learning_rate: 6554,
            momentum: 230,
            rounds: 1,
            seed: 0,
            rounding: Rounding::Stochastic,
        };
        let weights = Weights::initial(&params.clone().validate().unwrap());
        let id = LaneId { job: Digest([1; 32]), round: 0, lane: 0 };
        LaneAssignment {
            params,
            id,
            weights_hash: weights.hash(),
            weights: SentWeights::Here(weights),
            rows,
        }
    }

    #[test]
    fn no_lane_makes_a_worker_shuffle_its_rows_again_and_again() {
        let rows = 65_536;
        let all = Samples::new(2, vec![0; 2 * rows], vec![0; rows]).unwrap();
        let mut materials = Materials::default();
        let mut first = lane(1, SentRows::All(all));
        materials.keep(&mut first).unwrap();
        assert!(materials.task(&first).is_ok());
        let mut costly = lane(1024, SentRows::Held);
        materials.keep(&mut costly).unwrap();
        assert_eq!(materials.task(&costly).unwrap_err(), Unusable::Malformed);
    }
}
