//! Exact steps. Each one includes all its products, so Freivalds' check verifies it at once,
//! without recomputation or disputes.
//!
//! The secret vectors are drawn after the first commitment of a round, never leave this machine,
//! and are replaced after every rejection. Soundness: section 7 of the training specification.

use crate::{
    compute::{
        ComputeError,
        dataset::Samples,
        exact::ExactStepTrace,
        freivalds::{Rejection, RoundSecrets, check_exact_step},
        local_steps::WorkUnitId,
        params::Plan,
        state::{QuantisedWeights, Weights},
    },
    scheduler::common::seeded_rng::SeededRng,
    wire::work::Reason,
};
use core::fmt;

/// The secret vectors that check the exact steps of a round.
pub(super) struct Secrets {
    vectors: RoundSecrets,
    quantised: QuantisedWeights,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Draws the vectors of a round that starts with these weights.
    pub(super) fn draw(
        plan: &Plan,
        weights: &Weights,
        rng: &mut SeededRng,
    ) -> Result<Self, ComputeError> {
        let quantised = weights.quantise(plan.topology()).map_err(ComputeError::from)?;
        let vectors = RoundSecrets::draw(plan, &quantised, &rng.next_bytes())?;
        Ok(Self { vectors, quantised })
    }

    /// The reason to reject an exact step, if it is invalid.
    pub(super) fn rejection_reason(
        &self,
        plan: &Plan,
        id: WorkUnitId,
        rows: &Samples,
        trace: &ExactStepTrace,
    ) -> Option<Reason> {
        let Self { vectors, quantised } = self;
        match check_exact_step(plan, vectors, quantised, (id.round, id.unit), rows, trace) {
            Ok(()) => None,
            Err(Rejection::Form(_)) => Some(Reason::Malformed),
            Err(_) => Some(Reason::WrongProduct),
        }
    }
}
