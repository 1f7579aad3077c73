//! Messages of the next height that come before this node has finished the present one. Others may be half
//! a round trip ahead, not more: who is further ahead has to be caught up with by sync.
//!
//! Kept: of each seat one vote for each phase and one certificate, each of the first views, one view change without its
//! block, one proposal for each of the first views and only from its leader. So the memory is bounded by
//! [`VIEWS_MAX`] blocks and some kilobytes a seat, and no seat can push out another's messages.

use crate::{
    ledger::Phase,
    types::{Height, NodeId, View},
    wire::consensus::Message,
};
use alloc::collections::BTreeMap;

/// Views of the next height from which messages are kept.
pub(super) const VIEWS_MAX: View = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Proposal(View),
    ViewChange,
    Vote(View, Phase),
    Prepared(View),
}

#[derive(Debug, Default)]
pub(super) struct Future {
    /// Of all kept messages.
    height: Height,
    messages: BTreeMap<(Slot, NodeId), Message>,
}

impl Future {
    /// Keeps a message of the next height. `is_leader`: whether the sender leads the view it speaks of.
    pub(super) fn keep(&mut self, from: NodeId, mut message: Message, is_leader: bool) {
        let slot = match &mut message {
            Message::Proposal(proposal) if proposal.view < VIEWS_MAX && is_leader => Slot::Proposal(proposal.view),
            Message::Vote(signed) if signed.vote.view < VIEWS_MAX => Slot::Vote(signed.vote.view, signed.vote.phase),
            Message::Prepared(certificate) if certificate.vote.view < VIEWS_MAX => {
                Slot::Prepared(certificate.vote.view)
            }
            Message::ViewChange { block, .. } => {
                *block = None; // Sent again to whoever leads.
                Slot::ViewChange
            }
            _ => return,
        };
        if message.height() != self.height {
            self.height = message.height();
            self.messages.clear();
        }
        // The first one stays, but for view changes, of which only the last one matters.
        if slot == Slot::ViewChange {
            self.messages.insert((slot, from), message);
        } else {
            self.messages.entry((slot, from)).or_insert(message);
        }
    }

    /// The next message that was kept for this height.
    pub(super) fn take(&mut self, height: Height) -> Option<(NodeId, Message)> {
        if height != self.height {
            return None;
        }
        self.messages.pop_first().map(|((_, from), message)| (from, message))
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
        future.keep(a, vote(5, 0, 1), false);
        future.keep(a, vote(5, 0, 2), false);
        future.keep(b, vote(5, 0, 3), false);
        future.keep(b, vote(5, VIEWS_MAX, 4), false);
        assert_eq!(future.take(4), None);
        assert_eq!(future.take(5), Some((a, vote(5, 0, 1))));
        assert_eq!(future.take(5), Some((b, vote(5, 0, 3))));
        assert_eq!(future.take(5), None);
        future.keep(a, vote(5, 0, 1), false);
        future.keep(a, vote(6, 0, 1), false);
        assert_eq!(future.take(5), None);
        assert_eq!(future.take(6), Some((a, vote(6, 0, 1))));
        assert_eq!(future.take(6), None);
    }
}
