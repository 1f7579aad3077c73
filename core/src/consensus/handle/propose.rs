//! Proposals of this node, and its requests to the mempool.

use crate::{
    codec::BoundedVec,
    consensus::{
        error::Error,
        head::Head,
        output::{BuildBlock, Output},
        replica::Replica,
        state::height_state::newest_prepared,
        validate,
    },
    ledger::{
        Block, BlockContext, Header, Outcome, SignedTransaction, State,
        block::{BLOCK_LEN_MAX, BLOCK_TRANSACTIONS_MAX, transactions_root},
        leader_seed,
    },
    types::{Digest, Height, TimeMs, Verified, View},
    wire::consensus::{NewView, Proposal},
};
use alloc::vec::Vec;

/// Most bytes of the header and the length prefix of the list.
const HEADER_LEN_MAX: usize = 1024;
/// Most bytes of transactions.
const TRANSACTIONS_LEN_MAX: usize = BLOCK_LEN_MAX - HEADER_LEN_MAX;

impl Replica {
    pub(in crate::consensus) fn on_built(
        &mut self,
        (height, view, parent): (Height, View, Digest),
        transactions: Vec<Verified<SignedTransaction>>,
        is_busy: bool,
    ) -> Result<(), Error> {
        let height_state = &mut self.height_state;
        if height == height_state.height.saturating_add(1) {
            return self.on_built_pipelined(&parent, transactions, is_busy);
        }
        let current = (height_state.height, height_state.view, *self.head.digest());
        if (height, view, parent) != current || !height_state.is_building {
            return Err(Error::NotRequested);
        }
        height_state.is_building = false;
        // The request may be older than the finality of the parent. Then an empty block is not due
        // yet.
        height_state.transactions_waiting |= !transactions.is_empty();
        if view == 0 && self.now_ms < self.propose_at_ms() {
            return Ok(());
        }
        let justification = match view {
            0 => None,
            _ => match self.height_state.new_view(&self.head.committee) {
                // A prepared block became known after the request.
                Some(new_view) if newest_prepared(&new_view).is_some() => {
                    return self.repropose(new_view);
                }
                Some(new_view) => Some(new_view),
                None => return Ok(()),
            },
        };
        let Some((block, outcome)) = self.make_block(&self.head, view, transactions) else {
            return Ok(());
        };
        let proposal = Proposal::sign(view, block, justification, &self.config.node_key);
        self.accept(proposal, outcome)
    }

    /// Proposes a block or requests transactions, if this node leads the view and a block is due.
    pub(in crate::consensus) fn try_propose(&mut self) -> Result<(), Error> {
        let view = self.height_state.view;
        if !self.leads(view)
            || self.height_state.accepted.is_some()
            || self.height_state.is_building
        {
            return Ok(());
        }
        if view > 0 {
            match self.height_state.new_view(&self.head.committee) {
                None => return Ok(()),
                Some(new_view) if newest_prepared(&new_view).is_some() => {
                    return self.repropose(new_view);
                }
                Some(_) => {}
            }
        } else if self.now_ms < self.propose_at_ms() {
            return Ok(());
        }
        self.height_state.is_building = true;
        let (parent, state) = (*self.head.digest(), self.head.state.clone());
        self.request_block(self.height_state.height, view, parent, state);
        Ok(())
    }

    /// Requests transactions from the mempool.
    pub(in crate::consensus) fn request_block(
        &mut self,
        height: Height,
        view: View,
        parent: Digest,
        state: State,
    ) {
        let (len_max, transactions_max) = (TRANSACTIONS_LEN_MAX, BLOCK_TRANSACTIONS_MAX);
        self.outbox.push(Output::BuildBlock(BuildBlock {
            height,
            view,
            parent,
            state,
            len_max,
            transactions_max,
        }));
    }

    /// When the leader of view 0 proposes: as soon as the parent allows it if transactions
    /// wait, otherwise when an empty block is due.
    pub(in crate::consensus) fn propose_at_ms(&self) -> TimeMs {
        let parent = &self.head.header;
        let earliest_ms = validate::earliest_ms(parent, &self.params);
        if self.height_state.transactions_waiting {
            return earliest_ms;
        }
        let interval_ms = self.params.block_interval_ms_max;
        parent
            .time_ms
            .min(self.height_state.entered_ms)
            .saturating_add(interval_ms)
            .max(earliest_ms)
    }

    /// Proposes the block of the newest certificate again, byte for byte: the certificate binds the
    /// leader.
    fn repropose(&mut self, new_view: NewView) -> Result<(), Error> {
        let digest = newest_prepared(&new_view).map(|c| c.vote.digest);
        let Some(candidate) = digest.and_then(|digest| self.height_state.candidates.get(&digest))
        else {
            return Ok(());
        };
        let block = candidate.block.clone();
        // A quorum has executed the block. If this copy has damaged transaction signatures, the
        // node waits for another member's copy.
        let Ok(outcome) = validate::prepared_block(
            &self.head,
            &self.params,
            &mut self.verification_cache,
            &block,
        ) else {
            self.height_state.candidates.retain(|candidate, _| Some(*candidate) != digest);
            return Ok(());
        };
        let proposal =
            Proposal::sign(self.height_state.view, block, Some(new_view), &self.config.node_key);
        self.accept(proposal, outcome)
    }

    /// Builds the block after `head`. None if this node cannot prove the due seed, which happens
    /// for one VRF input in 2^256.
    pub(in crate::consensus) fn make_block(
        &self,
        head: &Head,
        view: View,
        transactions: Vec<Verified<SignedTransaction>>,
    ) -> Option<(Block, Outcome)> {
        let height = head.header.height.checked_add(1)?;
        let transactions = truncate_to_block(transactions);
        let proof = match leader_seed::ends_leader_term(&self.params, height) {
            false => None,
            true => {
                let input = leader_seed::vrf_input(&head.header.chain, height, head.seed());
                Some(self.keys.as_ref()?.vrf.prove(&input).ok()?)
            }
        };
        let context = BlockContext { parent: &head.header, committee: &head.committee };
        let outcome = head.state.apply(context, &transactions);
        let transactions: Vec<SignedTransaction> =
            transactions.into_iter().map(Verified::into_inner).collect();
        let header = Header {
            chain: head.header.chain,
            height,
            view,
            epoch: head.committee.epoch(),
            parent: *head.digest(),
            time_ms: self.now_ms.max(validate::earliest_ms(&head.header, &self.params)),
            proposer: self.config.node_key.id(),
            transactions: transactions_root(&transactions),
            state: outcome.state.root(),
            next_committee: validate::next_committee(head, &self.params, height, &outcome),
            seed: *head.seed(),
            proof,
        };
        Some((Block { header, transactions: BoundedVec::truncated(transactions) }, outcome))
    }
}

/// The longest prefix that fits a block.
fn truncate_to_block(
    transactions: Vec<Verified<SignedTransaction>>,
) -> Vec<Verified<SignedTransaction>> {
    let mut len = 0usize;
    let fits = |transaction: &Verified<SignedTransaction>| {
        len = len.saturating_add(borsh::object_length(&**transaction).unwrap_or(usize::MAX));
        len <= TRANSACTIONS_LEN_MAX
    };
    transactions.into_iter().take(BLOCK_TRANSACTIONS_MAX).take_while(fits).collect()
}
