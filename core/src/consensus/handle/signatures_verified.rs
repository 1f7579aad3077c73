//! Handles signatures that the host has verified before their block arrives. The type allows this
//! only for core's own check, so the replica does not repeat it. All other signatures are checked
//! with the block.

use crate::{
    consensus::{error::Error, replica::Replica},
    ledger::VerifiedSignature,
};
use alloc::vec::Vec;

impl Replica {
    pub(in crate::consensus) fn on_signatures_verified(
        &mut self,
        transactions: Vec<VerifiedSignature>,
    ) -> Result<(), Error> {
        for transaction in transactions {
            self.verification_cache.signatures.insert(transaction);
        }
        Ok(())
    }
}
