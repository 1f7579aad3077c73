//! What evidence costs: the bond, the reputation, and the seat.
//!
//! The weight of a committee is frozen for its epoch, so a convicted member keeps its vote until
//! the epoch ends; the turn takes its seat, it is drawn for no audit, and it can bond nothing
//! again. The bond is burnt: a reward would pay members for reporting themselves. A member is
//! convicted once.

use super::{Account, Applied, Applying, Entry, TransactionError};
use crate::{
    ledger::{Committee, Crime, EvidenceError, evidence::Evidence, state::Conviction},
    types::NodeId,
};

/// Reports that one block judges; each may cost two pairings.
pub const REPORTS_PER_BLOCK_MAX: usize = 4;

impl Applying<'_> {
    pub(super) fn report(
        &mut self,
        reporter: NodeId,
        accused: NodeId,
        evidence: &Evidence,
    ) -> Applied {
        if let Some(conviction) = self.state.conviction(&accused) {
            return Err(TransactionError::ConvictedAlready(conviction.height));
        }
        if self.reports >= REPORTS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyReports);
        }
        self.reports += 1;
        let crime = self.judge(&accused, evidence).map_err(TransactionError::Evidence)?;
        let account = self.state.account(&accused).cloned();
        let bond = account.as_ref().map_or(0, |account| account.bond);
        if let Some(account) = account {
            self.put(Entry::Account(Account { bond: 0, reputation: 0, ..account }));
        }
        self.put(Entry::Conviction(Conviction {
            node: accused,
            crime,
            height: self.height,
            reporter,
            bond,
        }));
        Ok(())
    }

    /// By the keys of the epoch in which it happened: whoever has left answers with the bond that
    /// is still bound.
    fn judge(&self, accused: &NodeId, evidence: &Evidence) -> Result<Crime, EvidenceError> {
        let epoch = evidence.epoch();
        if epoch == self.committee.epoch() {
            return evidence.verify(accused, &self.chain, self.committee);
        }
        let next = epoch.checked_add(1).and_then(|next| self.state.committee(next));
        let (record, next) = self.state.committee(epoch).zip(next).ok_or(EvidenceError::Foreign)?;
        if self.parent_ms.saturating_sub(next.formed_ms) > self.params.unbonding_ms {
            return Err(EvidenceError::TooOld);
        }
        // Decoding a committee costs something: only for one that can convict.
        if record.seat_of(accused).is_none() {
            return Err(EvidenceError::NotSeated);
        }
        if !evidence.is_contradiction() {
            return Err(EvidenceError::NoContradiction);
        }
        let committee = Committee::of_state(record.clone()).map_err(|_| EvidenceError::Foreign)?;
        evidence.verify(accused, &self.chain, &committee)
    }
}
