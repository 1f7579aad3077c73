//! Exact steps. Each one includes all its products, so Freivalds' check verifies it at once,
//! without recomputation or disputes.
//!
//! The secret vectors are drawn after the first commitment of a round, never leave this machine,
//! and are replaced after every rejection. Soundness: section 7 of the training specification.

use super::training::Training;
use crate::{
    compute::{
        ComputeError,
        exact::ExactStepTrace,
        freivalds::{Rejection, RoundSecrets, check_exact_step},
        local_steps::WorkUnitId,
        state::QuantisedWeights,
    },
    scheduler::seeded_rng::SeededRng,
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

impl Training {
    /// The reason to reject an exact step, if it is invalid.
    pub(super) fn exact_step_rejection_reason(
        &mut self,
        id: WorkUnitId,
        trace: &ExactStepTrace,
        rng: &mut SeededRng,
    ) -> Result<Option<Reason>, ComputeError> {
        let rows = self.unit_input(id)?.rows;
        let secrets = match self.secrets.take() {
            Some(secrets) => secrets,
            None => {
                let quantised =
                    self.weights().quantise(self.plan.topology()).map_err(ComputeError::from)?;
                let vectors = RoundSecrets::draw(&self.plan, &quantised, &rng.next_bytes())?;
                Secrets { vectors, quantised }
            }
        };
        let Secrets { vectors, quantised } = &secrets;
        let reason = match check_exact_step(
            &self.plan,
            vectors,
            quantised,
            (id.round, id.unit),
            &rows,
            trace,
        ) {
            Ok(()) => None,
            Err(Rejection::Form(_)) => Some(Reason::Malformed),
            Err(_) => Some(Reason::WrongProduct),
        };
        self.secrets = Some(secrets);
        Ok(reason)
    }
}
