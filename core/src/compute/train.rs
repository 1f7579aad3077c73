//! A whole job in one process: the reference for every distributed run, and the computation of an
//! auditor.

use super::{
    aggregate::{ExactRound, LocalStepsRound},
    dataset::Samples,
    error::ComputeError,
    exact::run_exact_step,
    local_steps::{EpochOrder, WorkUnitId, run_local_steps},
    params::{Mode, Plan},
    state::{TrainingState, Weights},
};
use crate::types::Digest;

/// Trains from the initial weights to the last round; `on_round` receives the weights after each.
pub fn train(
    plan: &Plan,
    data: &Samples,
    mut on_round: impl FnMut(u32, &Weights),
) -> Result<Weights, ComputeError> {
    plan.check_data(data)?;
    let mut order = EpochOrder::new(data.rows());
    let mut state = TrainingState::without_momentum(Weights::initial(plan));
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
    state: TrainingState,
    round: u32,
) -> Result<TrainingState, ComputeError> {
    let mut weights = state.into_weights();
    let mut sum = LocalStepsRound::new(plan, round)?;
    for unit in 0..plan.units_per_round() {
        let rows = data.select(&order.rows_of_unit(plan, round, unit)?);
        let id = WorkUnitId { job: Digest::default(), round, unit };
        sum.add(unit, &run_local_steps(plan, &id, &weights, &rows)?)?;
    }
    sum.finish(&mut weights)?;
    Ok(TrainingState::without_momentum(weights))
}

fn exact_round(
    plan: &Plan,
    data: &Samples,
    order: &mut EpochOrder,
    state: &mut TrainingState,
    round: u32,
) -> Result<(), ComputeError> {
    let quantised = state.weights().quantise(plan.topology())?;
    let mut sum = ExactRound::new(plan, round)?;
    for unit in 0..plan.units_per_round() {
        let rows = data.select(&order.rows_of_unit(plan, round, unit)?);
        sum.add(plan, unit, &run_exact_step(plan, round, unit, &quantised, &rows)?.result)?;
    }
    sum.finish(plan, state)
}
