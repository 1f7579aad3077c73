//! Messages of the next heights that come before this node has finished the present one. Others may
//! be half a round trip ahead, not more: who is further ahead has to be caught up with by sync.
//!
//! Kept, of each of [`HEIGHTS_MAX`] heights: of each seat one vote for each phase and one
//! certificate, each of the first views, one view change without its block, one proposal for each
//! of the first views and only from its leader. So the memory is bounded by [`VIEWS_MAX`] blocks a
//! height and some kilobytes a seat, and no seat can push out another's messages.

use crate::{
    ledger::Phase,
    types::{Digest, Height, NodeId, View},
    wire::consensus::{Message, Proposal},
};
use alloc::collections::BTreeMap;

/// Views of a height from which messages are kept.
pub(super) const VIEWS_MAX: View = 4;
/// Who works on the next height may speak of the one after it already.
pub(super) const HEIGHTS_MAX: Height = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Proposal(View),
    ViewChange,
    Vote(View, Phase),
    Prepared(View),
}

#[derive(Debug, Default)]
pub(super) struct Future {
    messages: BTreeMap<(Height, Slot, NodeId), Message>,
}

/// The first key of a height.
fn first(height: Height) -> (Height, Slot, NodeId) {
    (height, Slot::Proposal(0), NodeId([0; 32]))
}

impl Future {
    /// Keeps a message of a height after the present one. `is_leader`: whether the sender leads the
    /// view it speaks of.
    pub(super) fn keep(
        &mut self,
        present: Height,
        from: NodeId,
        mut message: Message,
        is_leader: bool,
    ) {
        let height = message.height();
        if height <= present || height > present.saturating_add(HEIGHTS_MAX) {
            return;
        }
        let slot = match &mut message {
            Message::Proposal(proposal) if proposal.view < VIEWS_MAX && is_leader => {
                Slot::Proposal(proposal.view)
            }
            Message::Vote(signed) if signed.vote.view < VIEWS_MAX => {
                Slot::Vote(signed.vote.view, signed.vote.phase)
            }
            Message::Prepared(certificate) if certificate.vote.view < VIEWS_MAX => {
                Slot::Prepared(certificate.vote.view)
            }
            Message::ViewChange { block, .. } => {
                *block = None; // Sent again to whoever leads.
                Slot::ViewChange
            }
            _ => return,
        };
        // The first one stays, but for view changes, of which only the last one matters.
        if slot == Slot::ViewChange {
            self.messages.insert((height, slot, from), message);
        } else {
            self.messages.entry((height, slot, from)).or_insert(message);
        }
    }

    /// The first view's proposal of this height, if it is built upon that block.
    pub(super) fn take_proposal(
        &mut self,
        height: Height,
        parent: &Digest,
    ) -> Option<(NodeId, Proposal)> {
        let kept = self.messages.range(first(height)..(height, Slot::Proposal(1), NodeId([0; 32])));
        let is_upon = |message: &Message| match message {
            Message::Proposal(proposal) => proposal.block.header.parent == *parent,
            _ => false,
        };
        let key = kept.filter(|(_, message)| is_upon(message)).map(|(key, _)| *key).next()?;
        match self.messages.remove(&key) {
            Some(Message::Proposal(proposal)) => Some((key.2, proposal)),
            _ => None,
        }
    }

    /// The next message that was kept for this height. Those of heights below are dropped.
    pub(super) fn take(&mut self, height: Height) -> Option<(NodeId, Message)> {
        while let Some(entry) = self.messages.first_entry().filter(|entry| entry.key().0 <= height)
        {
            let ((kept, _, from), message) = entry.remove_entry();
            if kept == height {
                return Some((from, message));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::bls,
        ledger::Vote,
        types::{ChainId, Digest},
        wire::consensus::SignedVote,
    };

    fn vote(height: Height, view: View, digest: u8) -> Message {
        let (chain, digest) = (ChainId([0; 32]), Digest([digest; 32]));
        let vote = Vote { chain, epoch: 0, height, view, phase: Phase::Prepare, digest };
        Message::Vote(SignedVote { vote, signature: bls::Signature([0; 48]) })
    }

    #[test]
    fn keeps_one_of_each_kind_and_gives_them_back_at_their_height() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut future = Future::default();
        future.keep(4, a, vote(5, 0, 1), false);
        future.keep(4, a, vote(5, 0, 2), false);
        future.keep(4, b, vote(5, 0, 3), false);
        future.keep(4, b, vote(5, VIEWS_MAX, 4), false);
        future.keep(4, b, vote(6, 0, 5), false);
        future.keep(4, b, vote(4, 0, 6), false);
        future.keep(4, b, vote(7, 0, 6), false);
        assert_eq!(future.take(4), None);
        assert_eq!(future.take(5), Some((a, vote(5, 0, 1))));
        assert_eq!(future.take(5), Some((b, vote(5, 0, 3))));
        assert_eq!(future.take(5), None);
        future.keep(4, a, vote(5, 0, 1), false);
        assert_eq!(future.take(6), Some((b, vote(6, 0, 5))));
        assert_eq!((future.take(6), future.take(7), future.messages.len()), (None, None, 0));
    }
}
