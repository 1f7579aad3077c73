//! A training under way: the weights, the parts of the round that count so far, and what a lane's
//! worker needs.

use super::{Error, StartError, course::Part, exact::Secrets};
use crate::{
    compute::{
        ComputeError,
        aggregate::{LaneRound, UnitRound},
        dataset::{Dataset, Samples},
        lane::{EpochOrder, LaneId, LaneInput, SHUFFLED_ROWS_MAX},
        params::{Mode, Plan},
        predict::{Accuracy, Classifier},
        state::{LaneState, Weights},
    },
    ledger::job::TrainingTask,
    scheduler::draw::Draw,
    types::Digest,
    wire::work::{
        Assignment, LaneAssignment, Product, ROWS_HELD_LEN_MAX, Reason, SentRows, SentWeights,
        Task, UnitInput,
    },
};

/// See the module.
#[derive(Debug)]
pub(super) struct Training {
    pub(super) plan: Plan,
    dataset: Dataset,
    order: EpochOrder,
    /// Whether workers can hold all training rows.
    rows_are_few: bool,
    /// Digest of the weights.
    hash: Option<Digest>,
    /// The weights, and the momentum of a job in exact mode.
    pub(super) state: LaneState,
    pub(super) sum: Sum,
    /// What units of this round are checked with; nobody else ever sees it.
    pub(super) secrets: Option<Secrets>,
}

impl Training {
    pub(super) fn new(task: &TrainingTask, dataset: Dataset) -> Result<Self, StartError> {
        let plan = task.params.clone().validate()?;
        plan.check_data(dataset.train())?;
        if dataset.train().rows() != task.training_rows {
            return Err(StartError::OtherData {
                expected: task.training_rows,
                found: dataset.train().rows(),
            });
        }
        let order = EpochOrder::new(dataset.train().rows());
        let is_order_cheap = order.shuffled_rows(&plan) <= SHUFFLED_ROWS_MAX;
        Ok(Self {
            order,
            state: LaneState::at_rest(Weights::initial(&plan)),
            sum: Sum::new(&plan, 0)?,
            secrets: None,
            rows_are_few: is_order_cheap && rows_len(dataset.train()) <= ROWS_HELD_LEN_MAX,
            hash: None,
            plan,
            dataset,
        })
    }

    /// Bytes of the largest result or state, and of the largest lease.
    pub(super) fn message_lens(&self) -> (usize, usize) {
        let plan = &self.plan;
        let topology = plan.topology();
        let parameters = topology.parameters();
        let all_rows = if self.rows_are_few { rows_len(self.dataset.train()) } else { 0 };
        let rows = (plan.lane_rows() * (topology.features() + 1)).max(all_rows);
        let digests = 32 * plan.steps_per_lane() as usize;
        let widths: usize = topology.layers().iter().map(|l| l.outputs + l.inputs).sum();
        let handed_in = match plan.params().mode {
            Mode::Local { .. } => (8 * parameters).max(4 * parameters + digests),
            Mode::Exact { .. } => 4 * (parameters + plan.unit_rows() * widths),
        };
        // What does not shrink grows by the widths of its blocks.
        (handed_in + handed_in / 256, 4 * parameters + parameters / 64 + rows)
    }

    pub(super) fn weights(&self) -> &Weights {
        self.state.weights()
    }

    pub(super) fn lane_input(&mut self, id: LaneId) -> Result<LaneInput, ComputeError> {
        LaneInput::assemble(
            &self.plan,
            &mut self.order,
            self.dataset.train(),
            self.state.weights(),
            id,
        )
    }

    pub(super) fn task(&mut self, id: LaneId) -> Result<Task, ComputeError> {
        let input = self.lane_input(id)?;
        if let Mode::Local { .. } = self.plan.params().mode {
            return Ok(Task::Lane(input));
        }
        let LaneInput { params, id, weights, rows } = input;
        let published = weights.publish(self.plan.topology()).map_err(ComputeError::from)?;
        Ok(Task::Unit(UnitInput { params, id, published, rows }))
    }

    /// A lane for a worker that holds some of what it needs, and whether it was sent weights and
    /// all rows.
    pub(super) fn assignment(
        &mut self,
        id: LaneId,
        weights_held: bool,
        rows: RowsWanted,
    ) -> Result<(Assignment, Sent), ComputeError> {
        if !matches!(self.plan.params().mode, Mode::Local { .. }) {
            return Ok((Assignment::Task(self.task(id)?), Sent::default()));
        }
        let hash = self.hash.unwrap_or_else(|| self.state.weights().hash());
        self.hash = Some(hash);
        let weights = if weights_held {
            SentWeights::Held
        } else {
            SentWeights::Here(self.state.weights().clone())
        };
        let rows = match rows {
            RowsWanted::None if self.rows_are_few => SentRows::Held,
            RowsWanted::All if self.rows_are_few => SentRows::All(self.dataset.train().clone()),
            _ => SentRows::Lane(self.lane_input(id)?.rows),
        };
        let sent = Sent { weights: !weights_held, rows: matches!(rows, SentRows::All(_)) };
        let params = self.plan.params().clone();
        Ok((
            Assignment::Lane(LaneAssignment { params, id, weights_hash: hash, weights, rows }),
            sent,
        ))
    }

    pub(super) fn fault_of(
        &mut self,
        id: &LaneId,
        product: &Product,
        draw: &mut Draw,
    ) -> Result<Option<Reason>, Error> {
        match (product, self.plan.params().mode) {
            (Product::Lane(result), Mode::Local { .. }) => {
                let formed = result.check_form(&self.plan, id, self.weights());
                Ok(formed.is_err().then_some(Reason::Malformed))
            }
            (Product::Unit(trace), Mode::Exact { .. }) => Ok(self.fault_of_unit(*id, trace, draw)?),
            _ => Ok(Some(Reason::Malformed)),
        }
    }

    /// Takes up a round from what is on disk.
    pub(super) fn restore(&mut self, round: u32, state: LaneState) -> Result<(), StartError> {
        if round > self.plan.rounds() || state.check(self.plan.topology()).is_err() {
            return Err(StartError::Corrupt("a snapshot is of another job"));
        }
        self.state = state;
        self.hash = None;
        if round < self.plan.rounds() {
            self.sum = Sum::new(&self.plan, round)?;
        }
        Ok(())
    }

    /// Moves the weights by the round that is complete; `next` is the one that follows.
    pub(super) fn close_round(&mut self, next: u32) -> Result<(), ComputeError> {
        let more = next < self.plan.rounds();
        let sum = if more { Sum::new(&self.plan, next)? } else { self.sum.clone() };
        self.secrets = None;
        self.hash = None;
        core::mem::replace(&mut self.sum, sum).finish(&self.plan, &mut self.state)
    }

    /// How many test rows the weights classify correctly.
    pub(super) fn accuracy(&self) -> Result<Accuracy, ComputeError> {
        let topology = self.plan.topology();
        let published = self.weights().publish(topology).map_err(ComputeError::from)?;
        Classifier::new(topology.architecture().clone(), published)?.accuracy(self.dataset.test())
    }
}

/// Which rows a worker is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowsWanted {
    /// It holds all.
    None,
    /// Those of the lane.
    Lane,
    /// All, if they are few enough.
    All,
}

/// The material that a lease carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) weights: bool,
    pub(super) rows: bool,
}

/// Bytes that rows take.
fn rows_len(rows: &Samples) -> usize {
    rows.rows() as usize * (rows.features() as usize + 1)
}

/// The parts of a round that count so far.
#[derive(Clone, Debug)]
pub(super) enum Sum {
    Lanes(LaneRound),
    Units(UnitRound),
}

impl Sum {
    fn new(plan: &Plan, round: u32) -> Result<Self, ComputeError> {
        match plan.params().mode {
            Mode::Local { .. } => LaneRound::new(plan, round).map(Self::Lanes),
            Mode::Exact { .. } => UnitRound::new(plan, round).map(Self::Units),
        }
    }

    pub(super) fn add(&mut self, plan: &Plan, lane: u32, part: &Part) -> Result<(), ComputeError> {
        match (self, part) {
            (Self::Lanes(round), Part::Lane(result)) => round.add(lane, result).map(drop),
            (Self::Units(round), Part::Unit(result)) => round.add(plan, lane, result).map(drop),
            _ => Err(ComputeError::Mode),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Lanes(round) => round.is_complete(),
            Self::Units(round) => round.is_complete(),
        }
    }

    fn finish(self, plan: &Plan, state: &mut LaneState) -> Result<(), ComputeError> {
        match self {
            Self::Lanes(round) => {
                let mut weights = state.weights().clone();
                round.finish(&mut weights)?;
                *state = LaneState::at_rest(weights);
                Ok(())
            }
            Self::Units(round) => round.finish(plan, state),
        }
    }
}
