//! This node's turn: what it proposes, and when it asks the mempool for it.

use crate::{
    codec::BoundedVec,
    consensus::{
        error::Error,
        instance::newest_prepared,
        output::{BuildBlock, Output},
        pace::Pipeline,
        replica::{Head, Replica},
        validate,
    },
    ledger::{
        Block, BlockContext, Header, Outcome, SignedTransaction, State,
        block::{BLOCK_LEN_MAX, BLOCK_TRANSACTIONS_MAX, transactions_root},
        seed,
    },
    types::{Digest, Height, TimeMs, Verified, View},
    wire::consensus::{NewView, Proposal},
};
use alloc::vec::Vec;

/// Room for the header and the length of the list.
const HEADER_LEN_MAX: usize = 1024;
/// What is left for transactions, bytes.
const TRANSACTIONS_LEN_MAX: usize = BLOCK_LEN_MAX - HEADER_LEN_MAX;

impl Replica {
    pub(in crate::consensus) fn on_built(
        &mut self,
        (height, view, parent): (Height, View, Digest),
        transactions: Vec<Verified<SignedTransaction>>,
        is_busy: bool,
    ) -> Result<(), Error> {
        let instance = &mut self.instance;
        if height == instance.height.saturating_add(1) {
            return self.on_built_ahead(&parent, transactions, is_busy);
        }
        let place = (instance.height, instance.view, *self.head.digest());
        if (height, view, parent) != place || !instance.building {
            return Err(Error::NotRequested);
        }
        instance.building = false;
        // It may have been asked before the parent was final: then an empty block is not due, and
        // another perhaps not yet.
        instance.wanted |= !transactions.is_empty();
        if view == 0 && self.now_ms < self.propose_at_ms() {
            return Ok(());
        }
        let justification = match view {
            0 => None,
            _ => match self.instance.new_view(&self.head.committee) {
                // A prepared block became known in the meantime.
                Some(new_view) if newest_prepared(&new_view).is_some() => {
                    return self.propose_again(new_view);
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

    /// Proposes, or asks for transactions, if it is this node's turn and time.
    pub(in crate::consensus) fn try_propose(&mut self) -> Result<(), Error> {
        let view = self.instance.view;
        if !self.leads(view) || self.instance.accepted.is_some() || self.instance.building {
            return Ok(());
        }
        if view > 0 {
            match self.instance.new_view(&self.head.committee) {
                None => return Ok(()),
                Some(new_view) if newest_prepared(&new_view).is_some() => {
                    return self.propose_again(new_view);
                }
                Some(_) => {}
            }
        } else if self.now_ms < self.propose_at_ms() {
            return Ok(());
        }
        self.instance.building = true;
        let (parent, state) = (*self.head.digest(), self.head.state.clone());
        self.ask_for_block(self.instance.height, view, parent, state);
        Ok(())
    }

    /// Asks the mempool.
    pub(in crate::consensus) fn ask_for_block(
        &mut self,
        height: Height,
        view: View,
        parent: Digest,
        state: State,
    ) {
        let (len_max, transactions_max) = (TRANSACTIONS_LEN_MAX, BLOCK_TRANSACTIONS_MAX);
        self.outbox.push(Output::Request(BuildBlock {
            height,
            view,
            parent,
            state,
            len_max,
            transactions_max,
        }));
    }

    /// When the leader of view 0 proposes: as soon as there is something to decide and it has
    /// rested, else when an empty block is due.
    pub(in crate::consensus) fn propose_at_ms(&self) -> TimeMs {
        let parent = &self.head.header;
        let earliest_ms = validate::earliest_ms(parent, &self.params);
        if self.instance.wanted {
            return earliest_ms.max(self.instance.entered_ms.saturating_add(self.rest_ms()));
        }
        let interval_ms = self.params.block_interval_ms_max;
        parent.time_ms.min(self.instance.entered_ms).saturating_add(interval_ms).max(earliest_ms)
    }

    /// Where processors are contended, a block that comes at once competes with what the one before
    /// has left to do: with members that are not through with it, and with transactions that
    /// came meanwhile. All of that is done first, and more goes into one block.
    fn rest_ms(&self) -> TimeMs {
        match self.is_contended && self.config.pipeline != Pipeline::On {
            true => self.pace.rest_ms(),
            false => 0,
        }
    }

    /// The newest certificate binds the new leader: the block is proposed again byte for byte.
    fn propose_again(&mut self, new_view: NewView) -> Result<(), Error> {
        let digest = newest_prepared(&new_view).map(|c| c.vote.digest);
        let Some(held) = digest.and_then(|digest| self.instance.held.get(&digest)) else {
            return Ok(());
        };
        let block = held.block.clone();
        // A quorum has executed it. If its transactions' signatures came damaged, another member's
        // copy is waited for.
        let Ok(outcome) = validate::again(&self.head, &self.params, &mut self.remembered, &block)
        else {
            self.instance.held.retain(|held, _| Some(*held) != digest);
            return Ok(());
        };
        let proposal =
            Proposal::sign(self.instance.view, block, Some(new_view), &self.config.node_key);
        self.accept(proposal, outcome)
    }

    /// The block after `head`. None where this node cannot prove the seed that is due, which a VRF
    /// key fails to do once in 2^256 times.
    pub(in crate::consensus) fn make_block(
        &self,
        head: &Head,
        view: View,
        transactions: Vec<Verified<SignedTransaction>>,
    ) -> Option<(Block, Outcome)> {
        let height = head.header.height.checked_add(1)?;
        let transactions = fitting(transactions);
        let proof = match seed::ends_term(&self.params, height) {
            false => None,
            true => {
                let input = seed::input(&head.header.chain, height, head.seed());
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

/// As many as a block has room for.
fn fitting(transactions: Vec<Verified<SignedTransaction>>) -> Vec<Verified<SignedTransaction>> {
    let mut len = 0usize;
    let fits = |transaction: &Verified<SignedTransaction>| {
        len = len.saturating_add(borsh::object_length(&**transaction).unwrap_or(usize::MAX));
        len <= TRANSACTIONS_LEN_MAX
    };
    transactions.into_iter().take(BLOCK_TRANSACTIONS_MAX).take_while(fits).collect()
}
