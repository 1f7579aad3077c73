//! The worker's cache of job inputs: the weights of a round and the training rows. Leases need not
//! carry cached inputs again.
//!
//! The cache refuses weights whose digest is not that of the lease. Its size is bounded; the least
//! recently used job is evicted first.

use crate::{
    compute::{
        dataset::Samples,
        local_steps::{EpochOrder, LocalStepsInput, SHUFFLED_ROWS_MAX},
        state::Weights,
    },
    ledger::job::JobId,
    types::Digest,
    wire::work::{
        CACHED_ROWS_LEN_MAX, CachedInputs, LeaseRows, LeaseWeights, LocalStepsAssignment, Task,
    },
};
use alloc::collections::BTreeMap;

/// Most cached bytes of all jobs.
const BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct Rows {
    all: Samples,
    order: EpochOrder,
}

#[derive(Debug, Default)]
struct JobCache {
    weights: Option<(u32, Digest, Weights)>,
    rows: Option<Rows>,
    /// Value of the use counter at the last use.
    last_used: u64,
}

impl JobCache {
    fn bytes(&self) -> usize {
        let weights = self.weights.as_ref().map_or(0, |(.., weights)| 4 * weights.as_slice().len());
        let rows = |rows: &Rows| rows.all.values().len() + 5 * rows.all.labels().len();
        weights + self.rows.as_ref().map_or(0, rows)
    }
}

/// The cached inputs of all jobs.
#[derive(Debug, Default)]
pub(super) struct InputCache {
    jobs: BTreeMap<JobId, JobCache>,
    use_counter: u64,
}

/// The reason why a work unit cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheError {
    /// Its inputs have not arrived yet.
    Missing,
    /// Its inputs are invalid.
    Malformed,
}

impl InputCache {
    /// The inputs that a coordinator need not send again.
    pub(super) fn cached(&self, job: &JobId) -> CachedInputs {
        self.jobs.get(job).map_or_else(CachedInputs::default, |cache| CachedInputs {
            weights_round: cache.weights.as_ref().map(|(round, ..)| *round),
            rows: cache.rows.is_some(),
        })
    }

    pub(super) fn forget(&mut self, job: &JobId) {
        self.jobs.remove(job);
    }

    /// Caches the inputs of an assignment.
    pub(super) fn insert(
        &mut self,
        assignment: &mut LocalStepsAssignment,
    ) -> Result<(), CacheError> {
        self.use_counter += 1;
        let cache = self.jobs.entry(assignment.id.job).or_default();
        cache.last_used = self.use_counter;
        if let LeaseWeights::Inline(weights) =
            core::mem::replace(&mut assignment.weights, LeaseWeights::Cached)
        {
            if weights.hash() != assignment.weights_hash {
                return Err(CacheError::Malformed);
            }
            // Late weights do not replace newer ones.
            if cache.weights.as_ref().is_none_or(|(round, ..)| *round <= assignment.id.round) {
                cache.weights = Some((assignment.id.round, assignment.weights_hash, weights));
            }
        }
        if let LeaseRows::All(_) = assignment.rows
            && let LeaseRows::All(all) = core::mem::replace(&mut assignment.rows, LeaseRows::Cached)
        {
            if all.values().len() + all.labels().len() > CACHED_ROWS_LEN_MAX {
                return Err(CacheError::Malformed);
            }
            let order = EpochOrder::new(all.rows());
            cache.rows = Some(Rows { all, order });
        }
        self.evict(assignment.id.job);
        Ok(())
    }

    fn evict(&mut self, keep: JobId) {
        while self.jobs.values().map(JobCache::bytes).sum::<usize>() > BYTES_MAX {
            let others = self.jobs.iter().filter(|(job, _)| **job != keep);
            let Some(oldest) = others.min_by_key(|(_, m)| m.last_used).map(|(job, _)| *job) else {
                return;
            };
            self.jobs.remove(&oldest);
        }
    }

    /// The task of an assignment, from the cached inputs.
    pub(super) fn task(&mut self, assignment: &LocalStepsAssignment) -> Result<Task, CacheError> {
        let cache = self.jobs.get_mut(&assignment.id.job).ok_or(CacheError::Missing)?;
        let weights = match &cache.weights {
            Some((_, hash, weights)) if *hash == assignment.weights_hash => weights.clone(),
            _ => return Err(CacheError::Missing),
        };
        let rows = match &assignment.rows {
            LeaseRows::Unit(rows) => rows.clone(),
            LeaseRows::Cached | LeaseRows::All(_) => {
                let Rows { all, order } = cache.rows.as_mut().ok_or(CacheError::Missing)?;
                let plan =
                    assignment.params.clone().validate().map_err(|_| CacheError::Malformed)?;
                // This code runs on the thread that serves all jobs, in a browser on the page's
                // main thread.
                if order.shuffled_rows(&plan) > SHUFFLED_ROWS_MAX {
                    return Err(CacheError::Malformed);
                }
                let numbers = order.rows_of_unit(&plan, assignment.id.round, assignment.id.unit);
                all.select(&numbers.map_err(|_| CacheError::Malformed)?)
            }
        };
        Ok(Task::LocalSteps(LocalStepsInput {
            params: assignment.params.clone(),
            id: assignment.id,
            weights,
            rows,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{
        local_steps::WorkUnitId,
        params::{Architecture, JobParams, Mode, Rounding},
    };
    use alloc::vec;

    /// Local steps of a job whose rounds take all 65,536 rows at each step.
    fn assignment(steps: u32, rows: LeaseRows) -> LocalStepsAssignment {
        let params = JobParams {
            architecture: Architecture {
                dims: vec![2, 2].try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            rows_per_step: 16,
            mode: Mode::Local { units: 4096, steps },
            learning_rate: 6554,
            momentum: 230,
            rounds: 1,
            seed: 0,
            rounding: Rounding::Stochastic,
        };
        let weights = Weights::initial(&params.clone().validate().unwrap());
        let id = WorkUnitId { job: Digest([1; 32]), round: 0, unit: 0 };
        LocalStepsAssignment {
            params,
            id,
            weights_hash: weights.hash(),
            weights: LeaseWeights::Inline(weights),
            rows,
        }
    }

    #[test]
    fn a_work_unit_that_needs_too_many_shuffles_is_refused() {
        let rows = 65_536;
        let all = Samples::new(2, vec![0; 2 * rows], vec![0; rows]).unwrap();
        let mut input_cache = InputCache::default();
        let mut first = assignment(1, LeaseRows::All(all));
        input_cache.insert(&mut first).unwrap();
        assert!(input_cache.task(&first).is_ok());
        let mut costly = assignment(1024, LeaseRows::Cached);
        input_cache.insert(&mut costly).unwrap();
        assert_eq!(input_cache.task(&costly).unwrap_err(), CacheError::Malformed);
    }
}
