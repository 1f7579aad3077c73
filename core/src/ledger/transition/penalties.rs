//! The penalty for evidence: the bond, the reputation, and the seat.
//!
//! The weight of a committee is frozen for its epoch, so a convicted member keeps its vote until
//! the epoch ends. The epoch boundary takes its seat; the member is drawn for no audit and can
//! never bond again. The bond is burnt: a reward would pay members for reporting themselves. A
//! member is convicted once.

use super::{
    error::{TransactionError, TransactionResult},
    executor::BlockExecutor,
};
use crate::{
    ledger::{
        committee::Committee,
        evidence::{ConvictionReason, Evidence, EvidenceError},
        state::{Account, Conviction, Entry},
    },
    types::NodeId,
};

/// Reports that one block verifies; each may cost two pairings.
pub const REPORTS_PER_BLOCK_MAX: usize = 4;

impl BlockExecutor<'_> {
    pub(super) fn report(
        &mut self,
        reporter: NodeId,
        accused: NodeId,
        evidence: &Evidence,
    ) -> TransactionResult {
        if let Some(conviction) = self.state.conviction(&accused) {
            return Err(TransactionError::AlreadyConvicted(conviction.height));
        }
        if self.reports >= REPORTS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyReports);
        }
        self.reports += 1;
        let reason =
            self.verify_evidence(&accused, evidence).map_err(TransactionError::Evidence)?;
        let account = self.state.account(&accused).cloned();
        let bond = account.as_ref().map_or(0, |account| account.bond);
        if let Some(account) = account {
            self.put(Entry::Account(Account { bond: 0, reputation: 0, ..account }));
        }
        self.put(Entry::Conviction(Conviction {
            node: accused,
            reason,
            height: self.height,
            reporter,
            bond,
        }));
        Ok(())
    }

    /// Uses the keys of the offence's epoch: a member that has left is liable with its locked bond.
    fn verify_evidence(
        &self,
        accused: &NodeId,
        evidence: &Evidence,
    ) -> Result<ConvictionReason, EvidenceError> {
        let epoch = evidence.epoch();
        if epoch == self.committee.epoch() {
            return evidence.verify(accused, &self.chain, self.committee);
        }
        let next = epoch.checked_add(1).and_then(|next| self.state.committee(next));
        let (record, next) =
            self.state.committee(epoch).zip(next).ok_or(EvidenceError::WrongChainOrEpoch)?;
        if self.parent_ms.saturating_sub(next.formed_ms) > self.params.unbonding_ms {
            return Err(EvidenceError::TooOld);
        }
        // Decoding a committee is costly: only for one that can convict.
        if record.seat_of(accused).is_none() {
            return Err(EvidenceError::NotSeated);
        }
        if !evidence.is_contradiction() {
            return Err(EvidenceError::NoContradiction);
        }
        let committee =
            Committee::from_state(record.clone()).map_err(|_| EvidenceError::WrongChainOrEpoch)?;
        evidence.verify(accused, &self.chain, &committee)
    }
}
