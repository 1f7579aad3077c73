//! Stored messages of the next heights, until this node has finished the present one. Other members
//! may be half a round trip ahead. A node that is further behind catches up by sync.
//!
//! For each of [`HEIGHTS_MAX`] heights, the store keeps per seat: one vote per phase and one
//! prepare certificate, each of the first views, and one view change without its block. It also
//! keeps one proposal for each of the first views, only from the leader. So it holds at most
//! [`VIEWS_MAX`] blocks per height and some kilobytes per seat, and no seat can evict another's
//! messages.

use crate::{
    ledger::Phase,
    types::{Digest, Height, NodeId, View},
    wire::consensus::{Message, Proposal},
};
use alloc::collections::BTreeMap;

/// Messages are stored for this many views of a height.
pub(in crate::consensus) const VIEWS_MAX: View = 4;
/// A member that works on the next height may already send messages of the one after it.
pub(in crate::consensus) const HEIGHTS_MAX: Height = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum MessageSlot {
    Proposal(View),
    ViewChange,
    Vote(View, Phase),
    PrepareCertificate(View),
}

#[derive(Debug, Default)]
pub(in crate::consensus) struct PendingMessages {
    messages: BTreeMap<(Height, MessageSlot, NodeId), Message>,
}

/// The first key of a height.
fn first_key(height: Height) -> (Height, MessageSlot, NodeId) {
    (height, MessageSlot::Proposal(0), NodeId([0; 32]))
}

impl PendingMessages {
    /// Stores a message of a height after the present one. `is_leader`: whether the sender leads
    /// the message's view.
    pub(in crate::consensus) fn insert(
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
                MessageSlot::Proposal(proposal.view)
            }
            Message::Vote(signed) if signed.vote.view < VIEWS_MAX => {
                MessageSlot::Vote(signed.vote.view, signed.vote.phase)
            }
            Message::PrepareCertificate(certificate) if certificate.vote.view < VIEWS_MAX => {
                MessageSlot::PrepareCertificate(certificate.vote.view)
            }
            Message::ViewChange { block, .. } => {
                *block = None; // The sender retransmits the block to the leader.
                MessageSlot::ViewChange
            }
            _ => return,
        };
        // The first message stays, except for view changes, of which only the last one matters.
        if slot == MessageSlot::ViewChange {
            self.messages.insert((height, slot, from), message);
        } else {
            self.messages.entry((height, slot, from)).or_insert(message);
        }
    }

    /// Removes the first view's proposal of this height, if its parent is `parent`.
    pub(in crate::consensus) fn take_proposal(
        &mut self,
        height: Height,
        parent: &Digest,
    ) -> Option<(NodeId, Proposal)> {
        let proposals = self
            .messages
            .range(first_key(height)..(height, MessageSlot::Proposal(1), NodeId([0; 32])));
        let has_parent = |message: &Message| match message {
            Message::Proposal(proposal) => proposal.block.header.parent == *parent,
            _ => false,
        };
        let key =
            proposals.filter(|(_, message)| has_parent(message)).map(|(key, _)| *key).next()?;
        match self.messages.remove(&key) {
            Some(Message::Proposal(proposal)) => Some((key.2, proposal)),
            _ => None,
        }
    }

    /// Removes the next message of this height and drops messages of lower heights.
    pub(in crate::consensus) fn take(&mut self, height: Height) -> Option<(NodeId, Message)> {
        while let Some(entry) = self.messages.first_entry().filter(|entry| entry.key().0 <= height)
        {
            let ((message_height, _, from), message) = entry.remove_entry();
            if message_height == height {
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
    fn stores_one_message_of_each_kind_and_returns_it_at_its_height() {
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut pending = PendingMessages::default();
        pending.insert(4, a, vote(5, 0, 1), false);
        pending.insert(4, a, vote(5, 0, 2), false);
        pending.insert(4, b, vote(5, 0, 3), false);
        pending.insert(4, b, vote(5, VIEWS_MAX, 4), false);
        pending.insert(4, b, vote(6, 0, 5), false);
        pending.insert(4, b, vote(4, 0, 6), false);
        pending.insert(4, b, vote(7, 0, 6), false);
        assert_eq!(pending.take(4), None);
        assert_eq!(pending.take(5), Some((a, vote(5, 0, 1))));
        assert_eq!(pending.take(5), Some((b, vote(5, 0, 3))));
        assert_eq!(pending.take(5), None);
        pending.insert(4, a, vote(5, 0, 1), false);
        assert_eq!(pending.take(6), Some((b, vote(6, 0, 5))));
        assert_eq!((pending.take(6), pending.take(7), pending.messages.len()), (None, None, 0));
    }
}
