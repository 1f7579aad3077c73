//! The coordinator's part of a round: counts each work unit once, then moves the weights.
//!
//! Sums do not depend on the order of arrival, and a work unit that arrives twice is counted once.
//! Coordinators that have accepted the same units therefore have the same weights.

use super::{
    error::{ComputeError, check_count, check_position},
    exact::ExactStepResult,
    fixed::{GRADIENT_FRACTION, LIM, rshr},
    local_steps::LocalStepsResult,
    params::{Mode, Plan},
    state::{TrainingState, Weights},
    step::update_layer,
};
use alloc::{vec, vec::Vec};

/// The outcome of adding a work unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Counted.
    New,
    /// Already counted; ignored.
    Duplicate,
}

/// The work units of a round that have arrived, and their sum.
#[derive(Clone, Debug)]
struct Sum {
    round: u32,
    seen: Vec<bool>,
    sums: Vec<i64>,
}

impl Sum {
    fn new(plan: &Plan, round: u32) -> Result<Self, ComputeError> {
        check_position("round", round, plan.rounds())?;
        Ok(Self {
            round,
            seen: vec![false; plan.units_per_round() as usize],
            sums: vec![0; plan.topology().parameters()],
        })
    }

    fn mark(&mut self, unit: u32) -> Result<Added, ComputeError> {
        let count = self.seen.len() as u32;
        let seen = self.seen.get_mut(unit as usize).ok_or(ComputeError::Position {
            what: "work unit",
            value: unit,
            count,
        })?;
        Ok(if core::mem::replace(seen, true) { Added::Duplicate } else { Added::New })
    }

    fn missing(&self) -> Vec<u32> {
        (0u32..).zip(&self.seen).filter(|(_, seen)| !**seen).map(|(unit, _)| unit).collect()
    }

    fn require_complete(&self) -> Result<(), ComputeError> {
        match self.missing().len() as u32 {
            0 => Ok(()),
            missing => Err(ComputeError::Incomplete { missing, count: self.seen.len() as u32 }),
        }
    }
}

macro_rules! round_state {
    () => {
        /// The round.
        pub fn round(&self) -> u32 {
            self.0.round
        }

        /// Parts that have not come, in order.
        pub fn missing(&self) -> Vec<u32> {
            self.0.missing()
        }

        /// Whether every part has come.
        pub fn is_complete(&self) -> bool {
            self.0.seen.iter().all(|seen| *seen)
        }
    };
}

/// A round of local steps.
#[derive(Clone, Debug)]
pub struct LocalStepsRound(Sum);

impl LocalStepsRound {
    /// A round without any work unit.
    pub fn new(plan: &Plan, round: u32) -> Result<Self, ComputeError> {
        match plan.params().mode {
            Mode::Local { .. } => Sum::new(plan, round).map(Self),
            Mode::Exact { .. } => Err(ComputeError::Mode),
        }
    }

    round_state!();

    /// Counts a work unit's result, whose form has been checked.
    pub fn add(&mut self, unit: u32, result: &LocalStepsResult) -> Result<Added, ComputeError> {
        check_count("delta", result.delta.len(), self.0.sums.len())?;
        let added = self.0.mark(unit)?;
        if added == Added::New {
            for (sum, delta) in self.0.sums.iter_mut().zip(result.delta.iter()) {
                *sum += i64::from(*delta);
            }
        }
        Ok(added)
    }

    /// Moves the weights by the mean of the units' deltas.
    pub fn finish(self, weights: &mut Weights) -> Result<(), ComputeError> {
        self.0.require_complete()?;
        check_count("weights", weights.as_slice().len(), self.0.sums.len())?;
        let lim = i64::from(LIM);
        let shift = self.0.seen.len().trailing_zeros();
        for (w, sum) in weights.as_mut_slice().iter_mut().zip(&self.0.sums) {
            let step = rshr(*sum, shift).clamp(-lim, lim);
            *w = (i64::from(*w) + step).clamp(-lim, lim) as i32;
        }
        Ok(())
    }
}

/// A round of exact steps.
#[derive(Clone, Debug)]
pub struct ExactRound(Sum);

impl ExactRound {
    /// A round without any work unit.
    pub fn new(plan: &Plan, round: u32) -> Result<Self, ComputeError> {
        match plan.params().mode {
            Mode::Exact { .. } => Sum::new(plan, round).map(Self),
            Mode::Local { .. } => Err(ComputeError::Mode),
        }
    }

    round_state!();

    /// Counts a work unit's gradients, aligned to one exponent.
    pub fn add(
        &mut self,
        plan: &Plan,
        unit: u32,
        result: &ExactStepResult,
    ) -> Result<Added, ComputeError> {
        result.check_form(plan)?;
        check_count("sums", self.0.sums.len(), plan.topology().parameters())?;
        let added = self.0.mark(unit)?;
        if added == Added::New {
            for (layer, exponent) in plan.topology().layers().iter().zip(result.exponents.iter()) {
                let shift = GRADIENT_FRACTION - u32::from(*exponent);
                let (Some(sums), Some(gradient)) =
                    (self.0.sums.get_mut(layer.range()), result.gradients.get(layer.range()))
                else {
                    continue;
                };
                for (sum, g) in sums.iter_mut().zip(gradient) {
                    *sum += i64::from(*g) << shift;
                }
            }
        }
        Ok(added)
    }

    /// The sums `T`, layer after layer.
    pub fn sums(&self) -> &[i64] {
        &self.0.sums
    }

    /// Moves momentum and weights by the round's gradient.
    pub fn finish(self, plan: &Plan, state: &mut TrainingState) -> Result<(), ComputeError> {
        self.0.require_complete()?;
        state.check(plan.topology())?;
        check_position("batch", 0, plan.units_per_round())?;
        let learning_rate = plan.learning_rate(self.0.round);
        for layer in plan.topology().layers() {
            let sums = self.0.sums.get(layer.range()).unwrap_or_default().iter().copied();
            update_layer(
                layer,
                plan.params(),
                learning_rate,
                plan.rows_per_batch().trailing_zeros(),
                sums,
                state,
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::params::tests::params;

    #[test]
    fn rounds_refuse_the_other_mode_and_unknown_units() {
        let local = params(&[4, 2], Mode::Local { units: 2, steps: 3 }).validate().unwrap();
        let exact = params(&[4, 2], Mode::Exact { units: 2 }).validate().unwrap();
        assert_eq!(ExactRound::new(&local, 0).unwrap_err(), ComputeError::Mode);
        assert_eq!(LocalStepsRound::new(&exact, 0).unwrap_err(), ComputeError::Mode);
        assert!(matches!(
            LocalStepsRound::new(&local, 880).unwrap_err(),
            ComputeError::Position { what: "round", .. }
        ));
        let round = LocalStepsRound::new(&local, 0).unwrap();
        assert_eq!(round.missing(), [0, 1]);
        let error = round.finish(&mut Weights::initial(&local)).unwrap_err();
        assert_eq!(error, ComputeError::Incomplete { missing: 2, count: 2 });
    }
}
