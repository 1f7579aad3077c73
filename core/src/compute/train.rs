//! A whole job done by one process: the yardstick for every distributed run, and what an auditor
//! recomputes.

use super::{
    aggregate::{LaneRound, UnitRound},
    dataset::Samples,
    error::ComputeError,
    exact::run_unit,
    lane::{EpochOrder, LaneId, run_lane},
    params::{Mode, Plan},
    state::{LaneState, Weights},
};
use crate::types::Digest;

/// Trains from the initial weights to the last round; `on_round` sees the weights after each.
pub fn train(
    plan: &Plan,
    data: &Samples,
    mut on_round: impl FnMut(u32, &Weights),
) -> Result<Weights, ComputeError> {
    plan.check_data(data)?;
    let mut order = EpochOrder::new(data.rows());
    let mut state = LaneState::at_rest(Weights::initial(plan));
    for round in 0..plan.rounds() {
        match plan.params().mode {
            Mode::Local { .. } => state = local_round(plan, data, &mut order, state, round)?,
            Mode::Exact { .. } => exact_round(plan, data, &mut order, &mut state, round)?,
        }
        on_round(round, state.weights());
    }
    Ok(state.into_weights())
}

fn local_round(
    plan: &Plan,
    data: &Samples,
    order: &mut EpochOrder,
    state: LaneState,
    round: u32,
) -> Result<LaneState, ComputeError> {
    let mut weights = state.into_weights();
    let mut sum = LaneRound::new(plan, round)?;
    for lane in 0..plan.lanes() {
        let rows = data.select(&order.lane_rows(plan, round, lane)?);
        let id = LaneId { job: Digest::default(), round, lane };
        sum.add(lane, &run_lane(plan, &id, &weights, &rows)?)?;
    }
    sum.finish(&mut weights)?;
    Ok(LaneState::at_rest(weights))
}

fn exact_round(
    plan: &Plan,
    data: &Samples,
    order: &mut EpochOrder,
    state: &mut LaneState,
    round: u32,
) -> Result<(), ComputeError> {
    let published = state.weights().publish(plan.topology())?;
    let mut sum = UnitRound::new(plan, round)?;
    for unit in 0..plan.lanes() {
        let rows = data.select(&order.lane_rows(plan, round, unit)?);
        sum.add(plan, unit, &run_unit(plan, round, unit, &published, &rows)?.result)?;
    }
    sum.finish(plan, state)
}
