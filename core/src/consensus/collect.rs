//! Votes by way of collectors: the cheaper way for members that stand close together, as in SBFT (Golan Gueta and others,
//! DSN 2019, section V) without its fast path. It is a way of carrying votes, and no rule of safety knows of it.
//!
//! In the first view of a height votes go to a few collectors, which add them up and give each certificate to all: two
//! hops in place of one, and about `2cn` messages a phase in place of `n²`. As soon as a member has to say its votes again, it says
//! them to all, and so it does with all later votes of that height; from the second view on nobody collects.
//! So collectors that keep silent cost a height some patience, and never more.

use super::{instance::weight_of, output::Event, output::To, replica::Replica};
use crate::{
    ledger::{Certificate, Phase},
    types::{Digest, Height, View},
    wire::consensus::{Message, SignedVote},
};
use alloc::vec::Vec;

/// Most collectors of a height: the leader, and others against its silence.
pub const COLLECTORS_MAX: usize = 3;
/// The only view whose votes are collected.
pub(super) const COLLECTED_VIEW: View = 0;

/// To whom a member sends its votes. Members of one committee may differ: all take what comes either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VotesTo {
    /// To every member: three hops to finality, for committees that stand far apart.
    #[default]
    All,
    /// To the collectors of the height: five hops and the least work, for committees of one site.
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
    /// The seats that collect the votes of the present height, or of a later one of the same term: those that lead its first views, until one of them
    /// must be correct, but at most [`COLLECTORS_MAX`].
    pub fn collectors(&self, height: Height) -> Vec<usize> {
        let committee = &self.head.committee;
        let mut weight = 0;
        let mut seats = Vec::new();
        for view in 0..COLLECTORS_MAX.min(committee.seats().len()) as View {
            if weight >= committee.blocking() {
                break;
            }
            let seat = self.leader_at(height, view);
            weight += weight_of(seat, committee);
            seats.push(seat);
        }
        seats
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
        for seat in self.collectors(signed.vote.height).into_iter().filter(|seat| self.seat != Some(*seat)) {
            let node = self.node_at(seat);
            self.outbox.send(To::One(node), Message::Vote(signed));
        }
    }

    /// The collectors have not answered in time, or may not have heard: from here on votes of this height go to all.
    pub(super) fn fall_back(&mut self, digest: Digest) {
        if self.is_collected(self.instance.height, self.instance.view) {
            self.outbox.event(Event::FellBack { height: self.instance.height, digest });
        }
        self.instance.fell_back = true;
    }

    /// A collector gives each certificate of the view that it collects to all, once, whoever has made it.
    pub(super) fn spread(&mut self, certificate: &Certificate) {
        let (view, phase) = (certificate.vote.view, certificate.vote.phase);
        if self.config.votes_to != VotesTo::Collectors || view != COLLECTED_VIEW {
            return;
        }
        let collects = self.seat.is_some_and(|seat| self.collectors(self.instance.height).contains(&seat));
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
