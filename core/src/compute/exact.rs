//! Work units of one exact step, for jobs that exchange every step: the worker's computation and
//! its result.
//!
//! The trace holds all products of the step, so that checking is faster than computing them (see
//! [`super::freivalds`]). The result is the part that enters the weights.

use super::{
    array::{Array, update_hash},
    dataset::Samples,
    error::{ComputeError, check_count, check_position},
    fixed::GRADIENT_FRACTION,
    limits::{DIMS_MAX, PARAMETERS_MAX, TRACE_VALUES_MAX},
    params::{Mode, Plan},
    state::QuantisedWeights,
    step::{Position, Workspace},
    work_unit::{WorkUnitId, check_rows},
};
use crate::{
    codec::{self, BoundedVec},
    crypto::hash::HashContext,
    types::Digest,
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Every sum of products stays below this, by section 6 of the specification; a sum at or above it
/// is false.
pub const PRODUCT_LIMIT: u32 = 1 << 30;

/// The gradients of a work unit, layer after layer, and the exponent of each layer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ExactStepResult {
    /// `G_l`, in the layout of the weights.
    pub gradients: Array<i32, PARAMETERS_MAX>,
    /// `s_l`.
    pub exponents: BoundedVec<u8, DIMS_MAX>,
}

impl ExactStepResult {
    /// Refuses wrong lengths and numbers that no honest result has.
    pub fn check_form(&self, plan: &Plan) -> Result<(), ComputeError> {
        check_count("gradients", self.gradients.len(), plan.topology().parameters())?;
        check_count("exponents", self.exponents.len(), plan.topology().layers().len())?;
        if let Some(index) = self.exponents.iter().position(|e| u32::from(*e) > GRADIENT_FRACTION) {
            return Err(ComputeError::Range { what: "exponents", index });
        }
        check_products("gradients", &self.gradients)
    }
}

/// Refuses sums that products of int8 cannot have; rounding them could overflow.
pub(super) fn check_products(what: &'static str, values: &[i32]) -> Result<(), ComputeError> {
    match values.iter().position(|v| v.unsigned_abs() >= PRODUCT_LIMIT) {
        None => Ok(()),
        Some(index) => Err(ComputeError::Range { what, index }),
    }
}

/// All products of a work unit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ExactStepTrace {
    /// `Z_l` of every layer, one after another.
    pub forward: Array<i32, TRACE_VALUES_MAX>,
    /// `E_l` of every layer but the first, one after another.
    pub backward: Array<i32, TRACE_VALUES_MAX>,
    /// The part that enters the weights.
    pub result: ExactStepResult,
}

impl ExactStepTrace {
    /// The digest that a worker commits to before the verifier draws its secrets.
    pub fn digest(&self, id: &WorkUnitId) -> Digest {
        let mut hasher = HashContext::UnitResult.hasher();
        let lengths = [
            self.forward.len() as u32,
            self.backward.len() as u32,
            self.result.gradients.len() as u32,
        ];
        hasher.update(&codec::encode(&(id, lengths, &self.result.exponents)));
        update_hash(&mut hasher, &self.forward);
        update_hash(&mut hasher, &self.backward);
        update_hash(&mut hasher, &self.result.gradients);
        Digest(*hasher.finalize().as_bytes())
    }

    /// Refuses wrong lengths and numbers that no honest trace has.
    pub fn check_form(&self, plan: &Plan) -> Result<(), ComputeError> {
        let (rows, layers) = (plan.rows_per_step(), plan.topology().layers());
        check_count(
            "forward products",
            self.forward.len(),
            layers.iter().map(|l| rows * l.outputs).sum(),
        )?;
        check_count(
            "backward products",
            self.backward.len(),
            layers.iter().skip(1).map(|l| rows * l.inputs).sum(),
        )?;
        check_products("forward products", &self.forward)?;
        check_products("backward products", &self.backward)?;
        self.result.check_form(plan)
    }
}

/// Computes a work unit of a round from the quantised weights; `rows` are those of
/// [`super::work_unit::EpochOrder::rows_of_unit`].
pub fn run_exact_step(
    plan: &Plan,
    round: u32,
    unit: u32,
    quantised: &QuantisedWeights,
    rows: &Samples,
) -> Result<ExactStepTrace, ComputeError> {
    if !matches!(plan.params().mode, Mode::Exact { .. }) {
        return Err(ComputeError::Mode);
    }
    check_position("round", round, plan.rounds())?;
    check_position("unit", unit, plan.units_per_round())?;
    check_rows(plan, rows, plan.rows_per_step())?;
    quantised.check(plan.topology())?;
    let mut workspace = Workspace::new(plan.topology());
    workspace.forward(plan.topology(), quantised, rows.values())?;
    workspace.backward(plan, quantised, Position { round, unit }, rows.labels())?;
    Ok(ExactStepTrace {
        forward: bounded("forward products", workspace.products.concat())?,
        backward: bounded("backward products", workspace.back.concat())?,
        result: ExactStepResult {
            gradients: bounded("gradients", workspace.gradients.concat())?,
            exponents: BoundedVec::truncated(workspace.exponents.iter().map(|e| *e as u8)),
        },
    })
}

pub(super) fn bounded<const N: usize>(
    what: &'static str,
    values: Vec<i32>,
) -> Result<Array<i32, N>, ComputeError> {
    Array::new(values).map_err(|values| ComputeError::Count {
        what,
        found: values.len(),
        expected: N,
    })
}
