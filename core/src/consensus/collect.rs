//! Votes by way of a collector: the cheaper way for members that stand close together, as in SBFT
//! (Golan Gueta and others, DSN 2019, section V) without its fast path and with one collector. It
//! is a way of carrying votes, and no rule of safety knows of it.
//!
//! In the first view of a height votes go to its leader, which adds them up and gives each
//! certificate to all: two hops in place of one, and about `2n` messages a phase in place of `n²`.
//! As soon as a member has to say its votes again, it says them to all, and so it does with all
//! later votes of that height; from the second view on nobody collects. So a leader that keeps
//! silent costs a height some patience, and never more: it can delay its own proposal for as long.

use super::{output::Event, output::To, replica::Replica};
use crate::{
    ledger::{Certificate, Phase},
    types::{Digest, Height, View},
    wire::consensus::{Message, SignedVote},
};

/// The only view whose votes are collected.
pub(super) const COLLECTED_VIEW: View = 0;

/// To whom a member sends its votes. Members of one committee may differ: all take what comes
/// either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VotesTo {
    /// To every member: three hops to finality, for committees that stand far apart.
    #[default]
    All,
    /// To the collector of the height: five hops and the least work, for committees of one site.
    Collectors,
}

impl VotesTo {
    /// By its name in configurations and on command lines.
    pub fn named(name: &str) -> Option<Self> {
        [Self::All, Self::Collectors].into_iter().find(|votes_to| votes_to.name() == name)
    }

    /// Its name there.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Collectors => "collectors",
        }
    }
}

impl Replica {
    /// The seat that collects the votes of the present height, or of a later one of the same term:
    /// the one that leads its first view.
    pub fn collector(&self, height: Height) -> usize {
        self.leader_at(height, COLLECTED_VIEW)
    }

    fn is_collected(&self, height: Height, view: View) -> bool {
        let fell_back = height == self.instance.height && self.instance.fell_back;
        self.config.votes_to == VotesTo::Collectors && view == COLLECTED_VIEW && !fell_back
    }

    /// Sends this node's own vote where votes go.
    pub(super) fn send_vote(&mut self, signed: SignedVote) {
        if !self.is_collected(signed.vote.height, signed.vote.view) {
            return self.outbox.send(To::All, Message::Vote(signed));
        }
        let seat = self.collector(signed.vote.height);
        if self.seat != Some(seat) {
            self.outbox.send(To::One(self.node_at(seat)), Message::Vote(signed));
        }
    }

    /// The collector has not answered in time, or may not have heard: from here on votes of this
    /// height go to all.
    pub(super) fn fall_back(&mut self, digest: Digest) {
        if self.is_collected(self.instance.height, self.instance.view) {
            self.outbox.event(Event::FellBack { height: self.instance.height, digest });
        }
        self.instance.fell_back = true;
    }

    /// The collector gives each certificate of its view to all, once, whoever has made it and
    /// wherever its own votes go: some may wait for it.
    pub(super) fn spread(&mut self, certificate: &Certificate) {
        let (view, phase) = (certificate.vote.view, certificate.vote.phase);
        let collects =
            view == COLLECTED_VIEW && self.seat == Some(self.collector(self.instance.height));
        if !collects || !self.instance.spread.insert(phase) {
            return;
        }
        let message = match phase {
            Phase::Prepare => Message::Prepared(certificate.clone()),
            Phase::Commit => Message::Finalised(certificate.clone()),
        };
        self.outbox.send(To::All, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for votes_to in [VotesTo::All, VotesTo::Collectors] {
            assert_eq!(VotesTo::named(votes_to.name()), Some(votes_to));
        }
        assert_eq!(VotesTo::named("some"), None);
    }
}
