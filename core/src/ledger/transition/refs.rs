//! Refs: named pointers that their owner moves.

use super::{
    error::{TransactionError, TransactionResult},
    executor::{BlockExecutor, TransactionStateKeys},
};
use crate::{
    content::Cid,
    ledger::{
        ids::RefName,
        state::{Account, Entry, Ref, ref_state_key},
    },
    types::{NodeId, hex},
};

/// Most refs of one owner.
pub const REFS_PER_OWNER_MAX: u32 = 1024;

impl BlockExecutor<'_> {
    pub(super) fn update_ref(
        &mut self,
        account: Account,
        state_keys: &TransactionStateKeys,
        name: &RefName,
        expected: u64,
        cid: Cid,
    ) -> TransactionResult {
        if !is_own(name, &account.node) {
            return Err(TransactionError::NotOwner);
        }
        let state_key = state_keys.name.unwrap_or_else(|| ref_state_key(name));
        let found = self.state.reference_at(&state_key).map_or(0, |r| r.sequence);
        if found != expected {
            return Err(TransactionError::WrongRefSequence { found, expected });
        }
        if found == 0 {
            if account.refs >= REFS_PER_OWNER_MAX {
                return Err(TransactionError::QuotaExceeded(REFS_PER_OWNER_MAX));
            }
            self.state.stage(
                state_keys.sender,
                Entry::Account(Account { refs: account.refs + 1, ..account.clone() }),
            );
        }
        let r = Ref {
            name: name.clone(),
            owner: Some(account.node),
            sequence: found + 1,
            cid,
            height: self.height,
        };
        self.state.stage(state_key, Entry::Ref(r));
        Ok(())
    }
}

/// Whether a name begins with its owner's id and a path follows.
pub(super) fn is_own(name: &RefName, owner: &NodeId) -> bool {
    let Some((own, [b'/', _, ..])) = name.as_bytes().split_first_chunk() else { return false };
    *own == hex(&owner.0)
}
