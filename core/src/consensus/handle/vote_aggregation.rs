//! Vote aggregation by a collector: the cheaper routing for members close together, as in SBFT
//! (Golan Gueta and others, DSN 2019, section V) without its fast path and with one collector. It
//! only routes votes; safety does not depend on it.
//!
//! In the first view of a height, votes go to its leader, which aggregates them and broadcasts each
//! certificate: two hops instead of one, and about `2n` messages per phase instead of `n²`. Once a
//! member has to retransmit its votes, it sends them and all later votes of that height to all
//! members. From the second view on there is no collector. So a silent leader costs a height one
//! retransmission delay at most, no more than it could cost by delaying its own proposal.

use crate::{
    consensus::{
        config::VoteRouting,
        output::{Event, Recipient},
        replica::Replica,
    },
    ledger::{Certificate, Phase},
    types::{Digest, Height, View},
    wire::consensus::{Message, SignedVote},
};

/// The only view whose votes are collected.
pub(in crate::consensus) const COLLECTED_VIEW: View = 0;

impl Replica {
    /// The seat that collects the votes of the present height, or of a later one of the same term:
    /// the leader of its first view.
    pub fn collector(&self, height: Height) -> usize {
        self.leader_at(height, COLLECTED_VIEW)
    }

    fn uses_collector(&self, height: Height, view: View) -> bool {
        let is_bypassed =
            height == self.height_state.height && self.height_state.collector_bypassed;
        self.config.vote_routing == VoteRouting::Leader && view == COLLECTED_VIEW && !is_bypassed
    }

    /// Sends this node's own vote to the configured recipients.
    pub(in crate::consensus) fn send_vote(&mut self, signed: SignedVote) {
        if !self.uses_collector(signed.vote.height, signed.vote.view) {
            return self.outbox.send(Recipient::All, Message::Vote(signed));
        }
        let seat = self.collector(signed.vote.height);
        if self.seat != Some(seat) {
            self.outbox.send(Recipient::One(self.node_at(seat)), Message::Vote(signed));
        }
    }

    /// Sends the votes of this height to all members from now on, because the collector may have
    /// missed them or not answered in time.
    pub(in crate::consensus) fn bypass_collector(&mut self, digest: Digest) {
        if self.uses_collector(self.height_state.height, self.height_state.view) {
            self.outbox
                .event(Event::CollectorBypassed { height: self.height_state.height, digest });
        }
        self.height_state.collector_bypassed = true;
    }

    /// Broadcasts each certificate of the first view once, if this node is its collector. That does
    /// not depend on this node's own routing or on the origin of the certificate, because some
    /// members may wait for it.
    pub(in crate::consensus) fn broadcast_certificate(&mut self, certificate: &Certificate) {
        let (view, phase) = (certificate.vote.view, certificate.vote.phase);
        let is_collector =
            view == COLLECTED_VIEW && self.seat == Some(self.collector(self.height_state.height));
        if !is_collector || !self.height_state.broadcast_phases.insert(phase) {
            return;
        }
        let message = match phase {
            Phase::Prepare => Message::PrepareCertificate(certificate.clone()),
            Phase::Commit => Message::CommitCertificate(certificate.clone()),
        };
        self.outbox.send(Recipient::All, message);
    }
}
