//! The constants of a chain, fixed by its genesis.

use crate::types::Height;
use borsh::{BorshDeserialize, BorshSerialize};

/// Constants of a chain.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Params {
    /// Longest time between two proposals; a block may be empty.
    pub block_interval_ms_max: u64,
    /// Shortest time between two proposals.
    pub block_interval_ms_min: u64,
    /// Time before the leader of a view is replaced; doubles with each view.
    pub view_timeout_ms: u64,
    /// Largest difference between a fresh proposal's time and the voter's clock.
    pub clock_skew_ms_max: u64,
    /// A result stays pending for at least this many blocks.
    pub audit_blocks_min: Height,
    /// A pending result fails after this many blocks.
    pub audit_blocks_max: Height,
    /// Leading zero bits of the admission puzzle.
    pub admission_bits: u8,
    /// Reputation that one submitter's jobs may mint in
    /// [`super::transition::rewards::MINT_WINDOW`] blocks.
    pub mint_max: u64,
    /// How long a light node may trust a checkpoint.
    pub trust_period_ms: u64,
    /// Blocks of a leader term: one seed fixes the order of its leaders.
    pub leader_term_blocks: Height,
    /// Blocks of an epoch, a multiple of `leader_term_blocks`: one committee decides them.
    pub epoch_blocks: Height,
    /// Least bond of a seat.
    pub bond_min: u64,
    /// Least reputation of a node that requests a seat.
    pub reputation_min: u64,
    /// How long a bond stays locked after its seat is gone: longer than any light node trusts that
    /// seat's committee.
    pub unbonding_ms: u64,
}

impl Params {
    /// Parameters that admit nothing, for a state without any.
    pub(crate) const EMPTY: Self = Self {
        block_interval_ms_max: 0,
        block_interval_ms_min: 0,
        view_timeout_ms: 0,
        clock_skew_ms_max: 0,
        audit_blocks_min: 0,
        audit_blocks_max: 0,
        admission_bits: u8::MAX,
        mint_max: 0,
        trust_period_ms: 0,
        leader_term_blocks: 1,
        epoch_blocks: Height::MAX,
        bond_min: u64::MAX,
        reputation_min: u64::MAX,
        unbonding_ms: u64::MAX,
    };

    /// Whether the constants fit one another.
    pub(super) fn is_consistent(&self) -> bool {
        let terms = self.leader_term_blocks > 0
            && self.epoch_blocks.is_multiple_of(self.leader_term_blocks);
        terms
            && self.epoch_blocks > 1
            && self.bond_min > 0
            && self.unbonding_ms > self.trust_period_ms
    }
}
