//! The admission of new identities: the proof of work that each solves, and the registration.

use super::{
    error::{TransactionError, TransactionResult},
    executor::BlockExecutor,
};
use crate::{
    crypto::hash::{HashContext, hash_of},
    ledger::state::{Account, Entry},
    types::{ChainId, Digest, Height, NodeId},
};

/// New identities in one block.
pub const REGISTRATIONS_PER_BLOCK_MAX: usize = 8;

impl BlockExecutor<'_> {
    pub(super) fn register(
        &mut self,
        node: NodeId,
        anchor: Height,
        solution: u64,
    ) -> TransactionResult {
        let known = self.state.account(&node).cloned();
        if known.as_ref().is_some_and(|a| a.registered) {
            return Err(TransactionError::AlreadyRegistered);
        }
        if self.registrations >= REGISTRATIONS_PER_BLOCK_MAX {
            return Err(TransactionError::TooManyRegistrations);
        }
        let digest = self.state.recent(anchor).ok_or(TransactionError::InvalidAdmission)?;
        let puzzle = admission_digest(&self.chain, &node, &digest, solution);
        if leading_zeros(&puzzle) < self.params.admission_bits.into() {
            return Err(TransactionError::InvalidAdmission);
        }
        self.registrations += 1;
        // A nonce that starts at the height cannot replay what a pruned account once sent.
        let account = known.unwrap_or(Account::new(node, self.height));
        self.put(Entry::Account(Account { registered: true, nonce: self.height, ..account }));
        Ok(())
    }
}

/// The digest whose leading zero bits admit a new identity. It is bound to the identity and to a
/// recent block, so solutions cannot be stockpiled.
pub fn admission_digest(chain: &ChainId, node: &NodeId, anchor: &Digest, solution: u64) -> Digest {
    hash_of(HashContext::Admission, &(chain, node, anchor, solution))
}

/// Searches `tries` numbers from `start` on for a solution of the admission puzzle.
pub fn solve_admission(
    chain: &ChainId,
    node: &NodeId,
    anchor: &Digest,
    bits: u8,
    start: u64,
    tries: u64,
) -> Option<u64> {
    (start..start.saturating_add(tries))
        .find(|s| leading_zeros(&admission_digest(chain, node, anchor, *s)) >= bits.into())
}

/// Zero bits at the front of a digest.
pub fn leading_zeros(digest: &Digest) -> u32 {
    let whole: u32 = digest.0.iter().take_while(|b| **b == 0).map(|_| 8).sum();
    whole + digest.0.iter().find(|b| **b != 0).map_or(0, |b| b.leading_zeros())
}
