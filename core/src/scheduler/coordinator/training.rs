//! A training in progress: the weights, the accepted results of the present round, and the inputs
//! of work units.

use super::{
    error::{Error, StartError},
    exact::Secrets,
    work_unit::WorkUnitResult,
};
use crate::{
    compute::{
        ComputeError,
        aggregate::{ExactRound, LocalStepsRound},
        dataset::{Dataset, Samples},
        exact::ExactStepTrace,
        local_steps::{EpochOrder, LocalStepsInput, SHUFFLED_ROWS_MAX, WorkUnitId},
        params::{Mode, Plan},
        predict::{Accuracy, Classifier},
        state::{TrainingState, Weights},
    },
    ledger::job::TrainingTask,
    scheduler::common::seeded_rng::SeededRng,
    types::Digest,
    wire::work::{
        Assignment, CACHED_ROWS_LEN_MAX, ExactStepInput, LeaseRows, LeaseWeights,
        LocalStepsAssignment, Reason, Task, TaskOutput,
    },
};

/// The state of a training job.
#[derive(Debug)]
pub(super) struct Training {
    pub(super) plan: Plan,
    dataset: Dataset,
    order: EpochOrder,
    /// Whether workers may cache all training rows.
    rows_cacheable: bool,
    /// Digest of the weights.
    weights_hash: Option<Digest>,
    /// The weights, and the momentum of a job in exact mode.
    pub(super) state: TrainingState,
    pub(super) sum: RoundSum,
    /// Secret vectors that check the exact steps of this round. They never leave this machine.
    pub(super) secrets: Option<Secrets>,
}

impl Training {
    pub(super) fn new(task: &TrainingTask, dataset: Dataset) -> Result<Self, StartError> {
        let plan = task.params.clone().validate()?;
        plan.check_data(dataset.train())?;
        if dataset.train().rows() != task.training_rows {
            return Err(StartError::WrongDataset {
                expected: task.training_rows,
                found: dataset.train().rows(),
            });
        }
        let order = EpochOrder::new(dataset.train().rows());
        let is_order_cheap = order.shuffled_rows(&plan) <= SHUFFLED_ROWS_MAX;
        Ok(Self {
            order,
            state: TrainingState::without_momentum(Weights::initial(&plan)),
            sum: RoundSum::new(&plan, 0)?,
            secrets: None,
            rows_cacheable: is_order_cheap && rows_len(dataset.train()) <= CACHED_ROWS_LEN_MAX,
            weights_hash: None,
            plan,
            dataset,
        })
    }

    /// Bytes of the largest result or state, and of the largest lease.
    pub(super) fn message_lens(&self) -> (usize, usize) {
        let plan = &self.plan;
        let topology = plan.topology();
        let parameters = topology.parameters();
        let all_rows = if self.rows_cacheable { rows_len(self.dataset.train()) } else { 0 };
        let rows = (plan.rows_per_unit() * (topology.features() + 1)).max(all_rows);
        let digests = 32 * plan.steps_per_unit() as usize;
        let widths: usize = topology.layers().iter().map(|l| l.outputs + l.inputs).sum();
        let submitted = match plan.params().mode {
            Mode::Local { .. } => (8 * parameters).max(4 * parameters + digests),
            Mode::Exact { .. } => 4 * (parameters + plan.rows_per_step() * widths),
        };
        // Incompressible numbers grow by the widths of their blocks.
        (submitted + submitted / 256, 4 * parameters + parameters / 64 + rows)
    }

    pub(super) fn weights(&self) -> &Weights {
        self.state.weights()
    }

    pub(super) fn unit_input(&mut self, id: WorkUnitId) -> Result<LocalStepsInput, ComputeError> {
        LocalStepsInput::assemble(
            &self.plan,
            &mut self.order,
            self.dataset.train(),
            self.state.weights(),
            id,
        )
    }

    pub(super) fn task(&mut self, id: WorkUnitId) -> Result<Task, ComputeError> {
        let input = self.unit_input(id)?;
        if let Mode::Local { .. } = self.plan.params().mode {
            return Ok(Task::LocalSteps(input));
        }
        let LocalStepsInput { params, id, weights, rows } = input;
        let quantised = weights.quantise(self.plan.topology()).map_err(ComputeError::from)?;
        Ok(Task::ExactStep(ExactStepInput { params, id, quantised, rows }))
    }

    /// The assignment for a worker that has cached some inputs, and whether it carries the weights
    /// and all rows.
    pub(super) fn assignment(
        &mut self,
        id: WorkUnitId,
        weights_cached: bool,
        rows: RowsToSend,
    ) -> Result<(Assignment, LeaseInputs), ComputeError> {
        if !matches!(self.plan.params().mode, Mode::Local { .. }) {
            return Ok((Assignment::Task(self.task(id)?), LeaseInputs::default()));
        }
        let hash = self.weights_hash.unwrap_or_else(|| self.state.weights().hash());
        self.weights_hash = Some(hash);
        let weights = if weights_cached {
            LeaseWeights::Cached
        } else {
            LeaseWeights::Inline(self.state.weights().clone())
        };
        let rows = match rows {
            RowsToSend::None if self.rows_cacheable => LeaseRows::Cached,
            RowsToSend::All if self.rows_cacheable => LeaseRows::All(self.dataset.train().clone()),
            _ => LeaseRows::Unit(self.unit_input(id)?.rows),
        };
        let sent =
            LeaseInputs { weights: !weights_cached, rows: matches!(rows, LeaseRows::All(_)) };
        let params = self.plan.params().clone();
        Ok((
            Assignment::LocalSteps(LocalStepsAssignment {
                params,
                id,
                weights_hash: hash,
                weights,
                rows,
            }),
            sent,
        ))
    }

    pub(super) fn rejection_reason(
        &mut self,
        id: &WorkUnitId,
        output: &TaskOutput,
        rng: &mut SeededRng,
    ) -> Result<Option<Reason>, Error> {
        match (output, self.plan.params().mode) {
            (TaskOutput::LocalSteps(result), Mode::Local { .. }) => {
                let formed = result.check_form(&self.plan, id, self.weights());
                Ok(formed.is_err().then_some(Reason::Malformed))
            }
            (TaskOutput::ExactStep(trace), Mode::Exact { .. }) => {
                Ok(self.exact_step_rejection_reason(*id, trace, rng)?)
            }
            _ => Ok(Some(Reason::Malformed)),
        }
    }

    /// The reason to reject an exact step, if it is invalid. The first one of a round draws the
    /// secret vectors.
    fn exact_step_rejection_reason(
        &mut self,
        id: WorkUnitId,
        trace: &ExactStepTrace,
        rng: &mut SeededRng,
    ) -> Result<Option<Reason>, ComputeError> {
        let rows = self.unit_input(id)?.rows;
        let secrets = match self.secrets.take() {
            Some(secrets) => secrets,
            None => Secrets::draw(&self.plan, self.weights(), rng)?,
        };
        let reason = secrets.rejection_reason(&self.plan, id, &rows, trace);
        self.secrets = Some(secrets);
        Ok(reason)
    }

    /// Restores a round from disk.
    pub(super) fn restore(&mut self, round: u32, state: TrainingState) -> Result<(), StartError> {
        if round > self.plan.rounds() || state.check(self.plan.topology()).is_err() {
            return Err(StartError::Corrupt("a snapshot is of another job"));
        }
        self.state = state;
        self.weights_hash = None;
        if round < self.plan.rounds() {
            self.sum = RoundSum::new(&self.plan, round)?;
        }
        Ok(())
    }

    /// Updates the weights by the completed round; `next` is the following round.
    pub(super) fn close_round(&mut self, next: u32) -> Result<(), ComputeError> {
        let has_next = next < self.plan.rounds();
        let sum = if has_next { RoundSum::new(&self.plan, next)? } else { self.sum.clone() };
        self.secrets = None;
        self.weights_hash = None;
        core::mem::replace(&mut self.sum, sum).finish(&self.plan, &mut self.state)
    }

    /// Measures how many test rows the weights classify correctly.
    pub(super) fn accuracy(&self) -> Result<Accuracy, ComputeError> {
        let topology = self.plan.topology();
        let quantised = self.weights().quantise(topology).map_err(ComputeError::from)?;
        Classifier::new(topology.architecture().clone(), quantised)?.accuracy(self.dataset.test())
    }
}

/// The rows that a lease carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowsToSend {
    /// None: the worker has cached all rows.
    None,
    /// The rows of the work unit.
    Unit,
    /// All rows, if they may be cached.
    All,
}

/// The inputs that a lease carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LeaseInputs {
    pub(super) weights: bool,
    pub(super) rows: bool,
}

/// Encoded length of rows, bytes.
fn rows_len(rows: &Samples) -> usize {
    rows.rows() as usize * (rows.features() as usize + 1)
}

/// The accepted results of a round.
#[derive(Clone, Debug)]
pub(super) enum RoundSum {
    LocalSteps(LocalStepsRound),
    ExactSteps(ExactRound),
}

impl RoundSum {
    fn new(plan: &Plan, round: u32) -> Result<Self, ComputeError> {
        match plan.params().mode {
            Mode::Local { .. } => LocalStepsRound::new(plan, round).map(Self::LocalSteps),
            Mode::Exact { .. } => ExactRound::new(plan, round).map(Self::ExactSteps),
        }
    }

    pub(super) fn add(
        &mut self,
        plan: &Plan,
        unit: u32,
        result: &WorkUnitResult,
    ) -> Result<(), ComputeError> {
        match (self, result) {
            (Self::LocalSteps(round), WorkUnitResult::LocalSteps(result)) => {
                round.add(unit, result).map(drop)
            }
            (Self::ExactSteps(round), WorkUnitResult::ExactStep(result)) => {
                round.add(plan, unit, result).map(drop)
            }
            _ => Err(ComputeError::Mode),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::LocalSteps(round) => round.is_complete(),
            Self::ExactSteps(round) => round.is_complete(),
        }
    }

    fn finish(self, plan: &Plan, state: &mut TrainingState) -> Result<(), ComputeError> {
        match self {
            Self::LocalSteps(round) => {
                let mut weights = state.weights().clone();
                round.finish(&mut weights)?;
                *state = TrainingState::without_momentum(weights);
                Ok(())
            }
            Self::ExactSteps(round) => round.finish(plan, state),
        }
    }
}
