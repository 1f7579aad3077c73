//! Lanes of local steps: what a worker computes, and what a checker recomputes. Section 5 of the
//! specification.
//!
//! A lane starts from the published master weights and makes the plan's number of steps by itself.
//! It commits to the state after every step, so that two workers who disagree can be told apart by
//! replaying one step: the first whose digests differ, from the state before it, on which they
//! agree.

use super::{
    array::{Array, update_hash},
    dataset::Samples,
    error::{ComputeError, check_count, check_position},
    fixed::{GRADIENT_FRACTION, LIM},
    params::{JobParams, Mode, PARAMETERS_MAX, Plan, STEPS_MAX},
    prng::{self, Purpose},
    state::{LaneState, Published, Weights},
    step::{Position, Workspace, update_layer},
};
use crate::{
    codec::{self, BoundedVec},
    crypto::hash::Context,
    types::{Digest, NodeId},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most bytes of an encoded [`LaneInput`].
pub const LANE_INPUT_BYTES_MAX: usize = 40 << 20;
/// Most bytes of an encoded [`LaneResult`].
pub const LANE_RESULT_BYTES_MAX: usize = 4 * PARAMETERS_MAX + 32 * STEPS_MAX + 1024;

/// Which lane of which job.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct LaneId {
    /// The job.
    pub job: Digest,
    /// The round, from 0.
    pub round: u32,
    /// The lane, or the unit, from 0.
    pub lane: u32,
}

impl LaneId {
    /// Refuses a round or lane that the job does not have.
    pub fn check(&self, plan: &Plan) -> Result<(), ComputeError> {
        check_position("round", self.round, plan.rounds())?;
        check_position("lane", self.lane, plan.lanes())
    }
}

/// Most row numbers that a worker shuffles to find the rows of a lane: some 20 ms of a browser's
/// page. Where a lane takes more, its rows are sent.
pub const SHUFFLED_ROWS_MAX: u64 = 1 << 18;

/// The order of the training rows, one epoch at a time.
#[derive(Clone, Debug)]
pub struct EpochOrder {
    rows: u32,
    epoch: Option<u32>,
    order: Vec<u32>,
}

impl EpochOrder {
    /// For this many training rows.
    pub fn new(rows: u32) -> Self {
        Self { rows, epoch: None, order: Vec::new() }
    }

    /// Most row numbers that are shuffled to find the rows of a lane: all of them for each epoch
    /// that the lane touches.
    pub fn shuffled_rows(&self, plan: &Plan) -> u64 {
        let steps_per_epoch = (u64::from(self.rows) / plan.batch_rows()).max(1);
        let epochs = u64::from(plan.steps_per_lane()).div_ceil(steps_per_epoch) + 1;
        epochs * u64::from(self.rows)
    }

    /// The row numbers that a lane reads, step after step.
    pub fn lane_rows(
        &mut self,
        plan: &Plan,
        round: u32,
        lane: u32,
    ) -> Result<Vec<u32>, ComputeError> {
        LaneId { job: Digest::default(), round, lane }.check(plan)?;
        let per_epoch = (u64::from(self.rows) / plan.batch_rows()) as u32;
        check_position("batch", 0, per_epoch)?;
        let mut rows = Vec::with_capacity(plan.lane_rows());
        let first = round * plan.steps_per_lane();
        for step in first..first + plan.steps_per_lane() {
            let epoch = step / per_epoch;
            if self.epoch != Some(epoch) {
                let key = prng::key(&[plan.params().seed, Purpose::Order as u32, epoch]);
                self.order = prng::permutation(key, self.rows);
                self.epoch = Some(epoch);
            }
            let start = (u64::from(step % per_epoch) * plan.batch_rows()) as usize
                + lane as usize * plan.unit_rows();
            rows.extend_from_slice(
                self.order.get(start..start + plan.unit_rows()).unwrap_or_default(),
            );
        }
        Ok(rows)
    }
}

/// All that a worker needs to compute a lane: no other part of the data is used.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LaneInput {
    /// The job's parameters.
    pub params: JobParams,
    /// Which lane.
    pub id: LaneId,
    /// The master weights at the start of the round.
    pub weights: Weights,
    /// The rows of every step, in order.
    pub rows: Samples,
}

impl LaneInput {
    /// Collects what a lane needs.
    pub fn assemble(
        plan: &Plan,
        order: &mut EpochOrder,
        train: &Samples,
        weights: &Weights,
        id: LaneId,
    ) -> Result<Self, ComputeError> {
        id.check(plan)?;
        plan.check_data(train)?;
        check_count("rows of the order", order.rows as usize, train.rows() as usize)?;
        weights.check(plan.topology())?;
        let rows = train.select(&order.lane_rows(plan, id.round, id.lane)?);
        Ok(Self { params: plan.params().clone(), id, weights: weights.clone(), rows })
    }

    /// Computes the lane.
    pub fn run(&self) -> Result<LaneResult, ComputeError> {
        let plan = self.params.clone().validate()?;
        run_lane(&plan, &self.id, &self.weights, &self.rows)
    }
}

/// What a lane comes to.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LaneResult {
    /// Digest of the state after every step.
    pub step_digests: BoundedVec<Digest, STEPS_MAX>,
    /// Weights at the end minus weights at the start.
    pub delta: Array<i32, PARAMETERS_MAX>,
    /// Multiply-accumulates done.
    pub macs: u64,
    /// Binds the lane, its start, every step and the delta.
    pub digest: Digest,
}

impl LaneResult {
    /// Makes a result from what a worker says it computed.
    pub fn seal(
        id: &LaneId,
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

    fn seal_digest(&self, id: &LaneId, start: &Weights) -> Digest {
        let mut hasher = Context::LaneResult.hasher();
        hasher.update(&codec::encode(&(id, start.hash(), &self.step_digests)));
        hasher.update(&self.macs.to_le_bytes());
        update_hash(&mut hasher, &self.delta);
        Digest(*hasher.finalize().as_bytes())
    }

    /// Refuses what cannot be an honest result whatever was computed: wrong lengths, a delta that
    /// leaves the weights' range, a count of work that is not the plan's, a digest of something
    /// else.
    pub fn check_form(
        &self,
        plan: &Plan,
        id: &LaneId,
        start: &Weights,
    ) -> Result<(), ComputeError> {
        id.check(plan)?;
        start.check(plan.topology())?;
        check_count("step digests", self.step_digests.len(), plan.steps_per_lane() as usize)?;
        check_count("delta", self.delta.len(), plan.topology().parameters())?;
        let outside = |(delta, start): (&i32, &i32)| {
            (i64::from(*delta) + i64::from(*start)).abs() > i64::from(LIM)
        };
        if let Some(index) = self.delta.iter().zip(start.as_slice()).position(outside) {
            return Err(ComputeError::Range { what: "delta", index });
        }
        if self.macs != plan.macs_per_lane() {
            return Err(ComputeError::Range { what: "multiply-accumulates", index: 0 });
        }
        if self.digest != self.seal_digest(id, start) {
            return Err(ComputeError::Digest("lane result"));
        }
        Ok(())
    }
}

impl LaneState {
    /// The digest of the state after a step of a lane.
    pub fn digest(&self, id: &LaneId, step: u32) -> Digest {
        let mut hasher = Context::LaneStep.hasher();
        hasher.update(&codec::encode(&(id, step)));
        update_hash(&mut hasher, self.weights().as_slice());
        update_hash(&mut hasher, self.momentum());
        Digest(*hasher.finalize().as_bytes())
    }
}

/// A lane under way.
struct Run<'a> {
    plan: &'a Plan,
    id: &'a LaneId,
    rows: &'a Samples,
    published: Published,
    workspace: Workspace,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, id: &'a LaneId, rows: &'a Samples) -> Result<Self, ComputeError> {
        if !matches!(plan.params().mode, Mode::Local { .. }) {
            return Err(ComputeError::Mode);
        }
        id.check(plan)?;
        check_rows(plan, rows, plan.lane_rows())?;
        let topology = plan.topology();
        Ok(Self {
            plan,
            id,
            rows,
            published: Published::zero(topology),
            workspace: Workspace::new(topology),
        })
    }

    fn step(&mut self, state: &mut LaneState, step: u32) -> Result<(), ComputeError> {
        let plan = self.plan;
        check_position("step", step, plan.steps_per_lane())?;
        state.check(plan.topology())?;
        let (rows, labels) = self.rows.part(step as usize * plan.unit_rows(), plan.unit_rows());
        self.published.quantise(plan.topology(), state.weights().as_slice());
        self.workspace.forward(plan.topology(), &self.published, rows)?;
        let at =
            Position { round: self.id.round * plan.steps_per_lane() + step, unit: self.id.lane };
        self.workspace.backward(plan, &self.published, at, labels)?;
        let learning_rate = plan.learning_rate(self.id.round);
        let batch_log2 = plan.params().unit_rows.trailing_zeros();
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

pub(super) fn check_rows(plan: &Plan, rows: &Samples, expected: usize) -> Result<(), ComputeError> {
    check_count("rows", rows.rows() as usize, expected)?;
    check_count("features", rows.features() as usize, plan.topology().features())?;
    if rows.classes() as usize > plan.topology().classes() {
        return Err(ComputeError::Range { what: "labels", index: 0 });
    }
    Ok(())
}

/// Computes a lane: `rows` are those of [`EpochOrder::lane_rows`], in that order.
pub fn run_lane(
    plan: &Plan,
    id: &LaneId,
    start: &Weights,
    rows: &Samples,
) -> Result<LaneResult, ComputeError> {
    let mut run = Run::new(plan, id, rows)?;
    start.check(plan.topology())?;
    let mut state = LaneState::at_rest(start.clone());
    let mut digests = Vec::with_capacity(plan.steps_per_lane() as usize);
    for step in 0..plan.steps_per_lane() {
        run.step(&mut state, step)?;
        digests.push(state.digest(id, step));
    }
    Ok(LaneResult::seal(id, start, digests, delta(&state, start), plan.macs_per_lane()))
}

fn delta(end: &LaneState, start: &Weights) -> Vec<i32> {
    end.weights()
        .as_slice()
        .iter()
        .zip(start.as_slice())
        .map(|(end, start)| end.wrapping_sub(*start))
        .collect()
}

/// The state before a step of a lane; the number of steps gives the state at the end.
pub fn lane_state_at(
    plan: &Plan,
    id: &LaneId,
    start: &Weights,
    rows: &Samples,
    step: u32,
) -> Result<LaneState, ComputeError> {
    check_position("step", step, plan.steps_per_lane() + 1)?;
    let mut run = Run::new(plan, id, rows)?;
    start.check(plan.topology())?;
    let mut state = LaneState::at_rest(start.clone());
    for done in 0..step {
        run.step(&mut state, done)?;
    }
    Ok(state)
}

/// Makes one step of a lane, from 0, from the state before it.
pub fn replay_step(
    plan: &Plan,
    id: &LaneId,
    before: &LaneState,
    rows: &Samples,
    step: u32,
) -> Result<LaneState, ComputeError> {
    let mut state = before.clone();
    Run::new(plan, id, rows)?.step(&mut state, step)?;
    Ok(state)
}

/// Where two results of one lane part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Dispute {
    /// The first step after which the states differ.
    Step(u32),
    /// All states agree, but not what is said of their difference.
    Delta,
}

impl Dispute {
    /// Compares two results whose form has been checked.
    pub fn between(a: &LaneResult, b: &LaneResult) -> Option<Self> {
        if let Some(step) = a.step_digests.iter().zip(&*b.step_digests).position(|(a, b)| a != b) {
            return Some(Self::Step(step as u32));
        }
        (a.digest != b.digest).then_some(Self::Delta)
    }

    /// The step to replay.
    pub fn step(&self, plan: &Plan) -> u32 {
        match self {
            Self::Step(step) => *step,
            Self::Delta => plan.steps_per_lane().saturating_sub(1),
        }
    }
}

/// Who was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    First,
    Second,
    Neither,
    /// The state given is not the one before the disputed step: it must be opened again.
    BadOpening,
}

/// Settles a dispute by replaying one step from `before`, the state on which both results agree.
pub fn settle(
    plan: &Plan,
    id: &LaneId,
    start: &Weights,
    rows: &Samples,
    before: &LaneState,
    (first, second): (&LaneResult, &LaneResult),
) -> Result<Option<Verdict>, ComputeError> {
    let Some(dispute) = Dispute::between(first, second) else { return Ok(None) };
    let step = dispute.step(plan);
    let agreed = match step.checked_sub(1) {
        None => *before == LaneState::at_rest(start.clone()),
        Some(previous) => {
            first.step_digests.get(previous as usize) == Some(&before.digest(id, previous))
        }
    };
    if !agreed {
        return Ok(Some(Verdict::BadOpening));
    }
    let after = replay_step(plan, id, before, rows, step)?;
    let right = |result: &LaneResult| match dispute {
        Dispute::Step(_) => result.step_digests.get(step as usize) == Some(&after.digest(id, step)),
        Dispute::Delta => *result.delta == *delta(&after, start),
    };
    Ok(Some(match (right(first), right(second)) {
        (true, _) => Verdict::First,
        (_, true) => Verdict::Second,
        _ => Verdict::Neither,
    }))
}

/// What a worker or a checker publishes before it sees another's result: it opens by showing result
/// and salt.
pub fn lane_commitment(result: &Digest, worker: &NodeId, salt: &[u8; 32]) -> Digest {
    let mut hasher = Context::LaneCommitment.hasher();
    hasher.update(&codec::encode(&(result, worker, salt)));
    Digest(*hasher.finalize().as_bytes())
}
