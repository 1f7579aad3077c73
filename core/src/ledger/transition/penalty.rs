//! What evidence costs: the bond, the reputation, and the seat.
//!
//! The weight of a committee is frozen for its epoch, so a convicted member keeps its vote until the epoch ends; no
//! later committee has it, it is drawn for no audit, and it can bond nothing again. The bond is burnt: a reward
//! would pay members for reporting themselves. A member is convicted once.

use super::{Account, Applied, Applying, Entry, TransactionError};
use crate::{
    ledger::{evidence::Evidence, state::Conviction},
    types::NodeId,
};

/// Reports that one block judges; each may cost two pairings.
pub const REPORTS_PER_BLOCK_MAX: usize = 4;

impl Applying<'_> {
    pub(super) fn report(&mut self, reporter: NodeId, accused: NodeId, evidence: &Evidence) -> Applied {
        if let Some(conviction) = self.state.conviction(&accused) {
            return Err(TransactionError::ConvictedAlready(conviction.height));
        }
        if self.reports >= REPORTS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyReports);
        }
        self.reports += 1;
        let crime = evidence.verify(&accused, &self.chain, self.committee).map_err(TransactionError::Evidence)?;
        let account = self.state.account(&accused).cloned();
        let bond = account.as_ref().map_or(0, |account| account.bond);
        if let Some(account) = account {
            self.put(Entry::Account(Account { bond: 0, reputation: 0, ..account }));
        }
        self.put(Entry::Conviction(Conviction { node: accused, crime, height: self.height, reporter, bond }));
        Ok(())
    }
}
