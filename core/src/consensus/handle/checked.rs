//! The host has verified transactions before a block brings them. It can only have done so by
//! core's own check, so it is believed; what it leaves out is checked with the block.

use crate::{
    consensus::{error::Error, replica::Replica},
    ledger::Checked,
};
use alloc::vec::Vec;

impl Replica {
    pub(in crate::consensus) fn on_checked(
        &mut self,
        transactions: Vec<Checked>,
    ) -> Result<(), Error> {
        for transaction in transactions {
            self.remembered.checked.insert(transaction);
        }
        Ok(())
    }
}
