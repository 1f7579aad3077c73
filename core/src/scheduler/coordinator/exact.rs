//! Jobs in exact mode: each unit comes with all its products, and Freivalds' check tells at once
//! whether they are right. Nobody recomputes, and nobody disputes.
//!
//! The secret vectors are drawn after the first commitment of a round, never leave this machine,
//! and are replaced after every rejection. Soundness: section 7 of the training specification.

use super::training::Training;
use crate::{
    compute::{
        ComputeError,
        exact::UnitTrace,
        freivalds::{Rejection, RoundSecrets, check_unit},
        lane::LaneId,
        state::Published,
    },
    scheduler::draw::Draw,
    wire::work::Reason,
};
use core::fmt;

/// What the units of a round are checked with.
pub(super) struct Secrets {
    vectors: RoundSecrets,
    published: Published,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Training {
    /// What is wrong with a unit, if anything is.
    pub(super) fn fault_of_unit(
        &mut self,
        id: LaneId,
        trace: &UnitTrace,
        draw: &mut Draw,
    ) -> Result<Option<Reason>, ComputeError> {
        let rows = self.lane_input(id)?.rows;
        let secrets = match self.secrets.take() {
            Some(secrets) => secrets,
            None => {
                let published =
                    self.weights().publish(self.plan.topology()).map_err(ComputeError::from)?;
                let vectors = RoundSecrets::draw(&self.plan, &published, &draw.bytes())?;
                Secrets { vectors, published }
            }
        };
        let Secrets { vectors, published } = &secrets;
        let fault =
            match check_unit(&self.plan, vectors, published, (id.round, id.lane), &rows, trace) {
                Ok(()) => None,
                Err(Rejection::Form(_)) => Some(Reason::Malformed),
                Err(_) => Some(Reason::WrongProduct),
            };
        self.secrets = Some(secrets);
        Ok(fault)
    }
}
