//! Work units of local steps: the computation of a worker, and its recomputation by a checker.
//! Section 5 of the specification.
//!
//! A work unit starts from the master weights of its round and makes the plan's number of steps on
//! its own. The worker commits to the state after every step. If two workers disagree, replaying
//! one step shows which is right: the first step whose digests differ, from the state before it, on
//! which both agree.

pub use super::work_unit::{EpochOrder, SHUFFLED_ROWS_MAX, WorkUnitId};

use super::{
    array::{Array, update_hash},
    dataset::Samples,
    error::{ComputeError, check_count, check_position},
    fixed::{GRADIENT_FRACTION, LIM},
    limits::{PARAMETERS_MAX, STEPS_MAX},
    params::{JobParams, Mode, Plan},
    state::{QuantisedWeights, TrainingState, Weights},
    step::{Position, Workspace, update_layer},
    work_unit::check_rows,
};
use crate::{
    codec::{self, BoundedVec},
    crypto::hash::HashContext,
    types::{Digest, NodeId},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most bytes of an encoded [`LocalStepsInput`].
pub const LOCAL_STEPS_INPUT_BYTES_MAX: usize = 40 << 20;
/// Most bytes of an encoded [`LocalStepsResult`].
pub const LOCAL_STEPS_RESULT_BYTES_MAX: usize = 4 * PARAMETERS_MAX + 32 * STEPS_MAX + 1024;

/// The whole input of a work unit of local steps: it uses no other part of the data.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LocalStepsInput {
    /// The job's parameters.
    pub params: JobParams,
    /// The work unit.
    pub id: WorkUnitId,
    /// The master weights at the start of the round.
    pub weights: Weights,
    /// The rows of every step, in order.
    pub rows: Samples,
}

impl LocalStepsInput {
    /// Collects the input of a work unit.
    pub fn assemble(
        plan: &Plan,
        order: &mut EpochOrder,
        train: &Samples,
        weights: &Weights,
        id: WorkUnitId,
    ) -> Result<Self, ComputeError> {
        id.check(plan)?;
        plan.check_data(train)?;
        check_count("rows of the order", order.rows as usize, train.rows() as usize)?;
        weights.check(plan.topology())?;
        let rows = train.select(&order.rows_of_unit(plan, id.round, id.unit)?);
        Ok(Self { params: plan.params().clone(), id, weights: weights.clone(), rows })
    }

    /// Computes the work unit.
    pub fn run(&self) -> Result<LocalStepsResult, ComputeError> {
        let plan = self.params.clone().validate()?;
        run_local_steps(&plan, &self.id, &self.weights, &self.rows)
    }
}

/// The result of a work unit of local steps.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LocalStepsResult {
    /// Digest of the state after every step.
    pub step_digests: BoundedVec<Digest, STEPS_MAX>,
    /// Weights at the end minus weights at the start.
    pub delta: Array<i32, PARAMETERS_MAX>,
    /// Multiply-accumulates done.
    pub macs: u64,
    /// Binds the work unit, its start, every step and the delta.
    pub digest: Digest,
}

impl LocalStepsResult {
    /// Makes a result from the values that a worker reports.
    pub fn seal(
        id: &WorkUnitId,
        start: &Weights,
        digests: Vec<Digest>,
        delta: Vec<i32>,
        macs: u64,
    ) -> Self {
        let mut result = Self {
            step_digests: BoundedVec::truncated(digests),
            delta: Array::new(delta).unwrap_or_default(),
            macs,
            digest: Digest::default(),
        };
        result.digest = result.seal_digest(id, start);
        result
    }

    fn seal_digest(&self, id: &WorkUnitId, start: &Weights) -> Digest {
        let mut hasher = HashContext::UnitResult.hasher();
        hasher.update(&codec::encode(&(id, start.hash(), &self.step_digests)));
        hasher.update(&self.macs.to_le_bytes());
        update_hash(&mut hasher, &self.delta);
        Digest(*hasher.finalize().as_bytes())
    }

    /// Refuses a result that no honest worker can have, whatever the computation: wrong lengths, a
    /// delta outside the weights' range, an amount of work that is not the plan's, or a digest of
    /// other contents.
    pub fn check_form(
        &self,
        plan: &Plan,
        id: &WorkUnitId,
        start: &Weights,
    ) -> Result<(), ComputeError> {
        id.check(plan)?;
        start.check(plan.topology())?;
        check_count("step digests", self.step_digests.len(), plan.steps_per_unit() as usize)?;
        check_count("delta", self.delta.len(), plan.topology().parameters())?;
        let outside = |(delta, start): (&i32, &i32)| {
            (i64::from(*delta) + i64::from(*start)).abs() > i64::from(LIM)
        };
        if let Some(index) = self.delta.iter().zip(start.as_slice()).position(outside) {
            return Err(ComputeError::Range { what: "delta", index });
        }
        if self.macs != plan.macs_per_unit() {
            return Err(ComputeError::Range { what: "multiply-accumulates", index: 0 });
        }
        if self.digest != self.seal_digest(id, start) {
            return Err(ComputeError::Digest("result"));
        }
        Ok(())
    }
}

impl TrainingState {
    /// The digest of the state after a step of a work unit.
    pub fn digest(&self, id: &WorkUnitId, step: u32) -> Digest {
        let mut hasher = HashContext::UnitStep.hasher();
        hasher.update(&codec::encode(&(id, step)));
        update_hash(&mut hasher, self.weights().as_slice());
        update_hash(&mut hasher, self.momentum());
        Digest(*hasher.finalize().as_bytes())
    }
}

/// A work unit during its computation.
struct Run<'a> {
    plan: &'a Plan,
    id: &'a WorkUnitId,
    rows: &'a Samples,
    quantised: QuantisedWeights,
    workspace: Workspace,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, id: &'a WorkUnitId, rows: &'a Samples) -> Result<Self, ComputeError> {
        if !matches!(plan.params().mode, Mode::Local { .. }) {
            return Err(ComputeError::Mode);
        }
        id.check(plan)?;
        check_rows(plan, rows, plan.rows_per_unit())?;
        let topology = plan.topology();
        Ok(Self {
            plan,
            id,
            rows,
            quantised: QuantisedWeights::zero(topology),
            workspace: Workspace::new(topology),
        })
    }

    fn step(&mut self, state: &mut TrainingState, step: u32) -> Result<(), ComputeError> {
        let plan = self.plan;
        check_position("step", step, plan.steps_per_unit())?;
        state.check(plan.topology())?;
        let (rows, labels) =
            self.rows.part(step as usize * plan.rows_per_step(), plan.rows_per_step());
        self.quantised.quantise(plan.topology(), state.weights().as_slice());
        self.workspace.forward(plan.topology(), &self.quantised, rows)?;
        let at =
            Position { round: self.id.round * plan.steps_per_unit() + step, unit: self.id.unit };
        self.workspace.backward(plan, &self.quantised, at, labels)?;
        let learning_rate = plan.learning_rate(self.id.round);
        let batch_log2 = plan.params().rows_per_step.trailing_zeros();
        for ((layer, gradient), exponent) in plan
            .topology()
            .layers()
            .iter()
            .zip(&self.workspace.gradients)
            .zip(&self.workspace.exponents)
        {
            let sums = gradient.iter().map(|g| i64::from(*g) << (GRADIENT_FRACTION - exponent));
            update_layer(layer, plan.params(), learning_rate, batch_log2, sums, state);
        }
        Ok(())
    }
}

/// Computes a work unit: `rows` are those of [`EpochOrder::rows_of_unit`], in that order.
pub fn run_local_steps(
    plan: &Plan,
    id: &WorkUnitId,
    start: &Weights,
    rows: &Samples,
) -> Result<LocalStepsResult, ComputeError> {
    let mut run = Run::new(plan, id, rows)?;
    start.check(plan.topology())?;
    let mut state = TrainingState::without_momentum(start.clone());
    let mut digests = Vec::with_capacity(plan.steps_per_unit() as usize);
    for step in 0..plan.steps_per_unit() {
        run.step(&mut state, step)?;
        digests.push(state.digest(id, step));
    }
    Ok(LocalStepsResult::seal(id, start, digests, delta(&state, start), plan.macs_per_unit()))
}

fn delta(end: &TrainingState, start: &Weights) -> Vec<i32> {
    end.weights()
        .as_slice()
        .iter()
        .zip(start.as_slice())
        .map(|(end, start)| end.wrapping_sub(*start))
        .collect()
}

/// The state before a step of a work unit; the number of steps gives the state at the end.
pub fn state_before_step(
    plan: &Plan,
    id: &WorkUnitId,
    start: &Weights,
    rows: &Samples,
    step: u32,
) -> Result<TrainingState, ComputeError> {
    check_position("step", step, plan.steps_per_unit() + 1)?;
    let mut run = Run::new(plan, id, rows)?;
    start.check(plan.topology())?;
    let mut state = TrainingState::without_momentum(start.clone());
    for done in 0..step {
        run.step(&mut state, done)?;
    }
    Ok(state)
}

/// Makes one step of a work unit, from 0, from the state before it.
pub fn replay_step(
    plan: &Plan,
    id: &WorkUnitId,
    before: &TrainingState,
    rows: &Samples,
    step: u32,
) -> Result<TrainingState, ComputeError> {
    let mut state = before.clone();
    Run::new(plan, id, rows)?.step(&mut state, step)?;
    Ok(state)
}

/// The first difference between two results of one work unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Dispute {
    /// The first step after which the states differ.
    Step(u32),
    /// All states agree, but the reported deltas differ.
    Delta,
}

impl Dispute {
    /// Compares two results whose form has been checked.
    pub fn between(a: &LocalStepsResult, b: &LocalStepsResult) -> Option<Self> {
        if let Some(step) = a.step_digests.iter().zip(&*b.step_digests).position(|(a, b)| a != b) {
            return Some(Self::Step(step as u32));
        }
        (a.digest != b.digest).then_some(Self::Delta)
    }

    /// The step to replay.
    pub fn step(&self, plan: &Plan) -> u32 {
        match self {
            Self::Step(step) => *step,
            Self::Delta => plan.steps_per_unit().saturating_sub(1),
        }
    }
}

/// The outcome of a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    First,
    Second,
    Neither,
    /// The given state is not the one before the disputed step: it must be revealed again.
    WrongState,
}

/// Resolves a dispute by replaying one step from `before`, the state on which both results agree.
pub fn resolve_dispute(
    plan: &Plan,
    id: &WorkUnitId,
    start: &Weights,
    rows: &Samples,
    before: &TrainingState,
    (first, second): (&LocalStepsResult, &LocalStepsResult),
) -> Result<Option<Verdict>, ComputeError> {
    let Some(dispute) = Dispute::between(first, second) else { return Ok(None) };
    let step = dispute.step(plan);
    let agreed = match step.checked_sub(1) {
        None => *before == TrainingState::without_momentum(start.clone()),
        Some(previous) => {
            first.step_digests.get(previous as usize) == Some(&before.digest(id, previous))
        }
    };
    if !agreed {
        return Ok(Some(Verdict::WrongState));
    }
    let after = replay_step(plan, id, before, rows, step)?;
    let right = |result: &LocalStepsResult| match dispute {
        Dispute::Step(_) => result.step_digests.get(step as usize) == Some(&after.digest(id, step)),
        Dispute::Delta => *result.delta == *delta(&after, start),
    };
    Ok(Some(match (right(first), right(second)) {
        (true, _) => Verdict::First,
        (_, true) => Verdict::Second,
        _ => Verdict::Neither,
    }))
}

/// The commitment of a worker or checker, published before it sees another's result. It is opened
/// by revealing result and salt.
pub fn result_commitment(result: &Digest, worker: &NodeId, salt: &[u8; 32]) -> Digest {
    let mut hasher = HashContext::UnitCommitment.hasher();
    hasher.update(&codec::encode(&(result, worker, salt)));
    Digest(*hasher.finalize().as_bytes())
}
