//! What a correct member never says, whatever it hears and however often it crashes. Checked on
//! every message of every correct host, before the network gets it, so a fault of the
//! implementation shows long before it splits a chain. Each rule is one of PBFT's (Castro and
//! Liskov, OSDI 1999), or one that its proof of safety uses.

use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    ledger::{Committee, Evidence, Phase, Seat, Vote},
    types::{Digest, Height, NodeId, Unverified, View, Weight},
    wire::consensus::{Message, SignedClaim, SignedViewChange, SignedVote},
};

/// What all correct members have said about the heights that are still open.
#[derive(Debug, Default)]
pub struct Oaths {
    members: BTreeMap<usize, Member>,
    /// Seats, correct or not, whose prepare votes for a block of a view were sent to anybody.
    prepares: BTreeMap<(Height, View, Digest), BTreeSet<usize>>,
    /// The block below, by block.
    parents: BTreeMap<(Height, Digest), Digest>,
}

#[derive(Debug, Default)]
struct Member {
    votes: BTreeMap<(Height, View, Phase), Digest>,
    proposals: BTreeMap<(Height, View), Digest>,
    /// The highest view that it has entered by a view change, by height.
    left: BTreeMap<Height, View>,
    /// The newest view in which it has committed a block, by height.
    committed: BTreeMap<Height, (View, Digest)>,
    /// What it has locked in a first view, and prepared ahead: a lone collector tells nobody of
    /// its votes.
    locked: BTreeMap<Height, Digest>,
    ahead: BTreeMap<Height, Digest>,
    /// What it has signed, by height, each once: no two of them may convict it.
    signed: BTreeMap<Height, Vec<Statement>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Statement {
    Vote(SignedVote),
    Claim(SignedClaim),
    Change(SignedViewChange),
}

impl Statement {
    fn of(message: &Message) -> Option<Self> {
        match message {
            Message::Vote(signed) => Some(Self::Vote(*signed)),
            Message::Proposal(proposal) => Some(Self::Claim(proposal.signed_claim())),
            Message::ViewChange { change, .. } => Some(Self::Change(change.clone())),
            Message::Finalised(_) | Message::Prepared(_) => None,
        }
    }

    fn convicts_with(&self, other: &Self) -> bool {
        let evidence = match (self.clone(), other.clone()) {
            (Self::Vote(first), Self::Vote(second)) => Evidence::Votes(first, second),
            (Self::Claim(first), Self::Claim(second)) => Evidence::Proposals(first, second),
            (Self::Change(first), Self::Change(second)) => Evidence::ViewChanges(first, second),
            (Self::Vote(vote), Self::Change(change)) | (Self::Change(change), Self::Vote(vote)) => {
                Evidence::HiddenLock(vote, change)
            }
            _ => return false,
        };
        evidence.is_contradiction()
    }
}

impl Oaths {
    /// Prepare votes count for others, whoever casts them. A liar that collects may show its own
    /// vote in a certificate only, to be checked with the committee of its height; before there
    /// is one, nobody can make a certificate that holds.
    pub fn hear(
        &mut self,
        seat: usize,
        message: &Message,
        committee: Option<&Committee>,
        member: impl Fn(&NodeId) -> Option<usize>,
    ) {
        if let (Message::Prepared(certificate), Some(committee)) = (message, committee)
            && Unverified::new(certificate.clone())
                .verify(&certificate.vote.chain, Phase::Prepare, committee)
                .is_ok()
        {
            let Vote { height, view, digest, .. } = certificate.vote;
            let signers =
                certificate.seats().filter_map(|seat| member(&committee.seats().get(seat)?.node));
            self.prepares.entry((height, view, digest)).or_default().extend(signers);
        }
        if let Message::Proposal(proposal) = message {
            let header = &proposal.block.header;
            self.parents.insert((header.height, header.digest()), header.parent);
        }
        if let Message::Vote(signed) = message
            && signed.vote.phase == Phase::Prepare
        {
            let Vote { height, view, digest, .. } = signed.vote;
            self.prepares.entry((height, view, digest)).or_default().insert(seat);
        }
    }

    /// A correct seat says this, of a height that is open or, where nobody has decided the one
    /// below, `is_ahead`. An error names the rule that it breaks.
    pub fn say(
        &mut self,
        seat: usize,
        message: &Message,
        is_ahead: bool,
        committee: &Committee,
        member: impl Fn(&NodeId) -> Option<usize>,
    ) -> Result<(), String> {
        self.hear(seat, message, Some(committee), &member);
        let quorum = |height, view, digest| {
            let prepared = self.prepares.get(&(height, view, digest));
            let has = |seat: &&Seat| {
                member(&seat.node).is_some_and(|m| prepared.is_some_and(|p| p.contains(&m)))
            };
            let weight: Weight = committee.seats().iter().filter(has).map(|seat| seat.weight).sum();
            weight >= committee.quorum()
        };
        let member = self.members.entry(seat).or_default();
        let fail = |what: &str| Err(format!("oath: seat {seat} {what}"));
        if is_ahead {
            let height = message.height();
            let digest = match message {
                Message::Vote(SignedVote { vote, .. })
                    if (vote.view, vote.phase) == (0, Phase::Prepare) =>
                {
                    vote.digest
                }
                Message::Proposal(proposal) if proposal.view == 0 => proposal.block.header.digest(),
                _ => {
                    return fail(&format!(
                        "says more than a first prepare vote of height {height}, ahead of decisions"
                    ));
                }
            };
            let locked = member.locked.get(&(height - 1));
            if self.parents.get(&(height, digest)) != locked || locked.is_none() {
                return fail(&format!(
                    "prepares a block of height {height} upon one that it has not committed"
                ));
            }
            let has_left = member.left.get(&(height - 1)).is_some_and(|view| *view > 0);
            if has_left && member.ahead.get(&height) != Some(&digest) {
                return fail(&format!("opens height {height} in a later view of the one below"));
            }
            member.ahead.insert(height, digest);
        }
        match message {
            Message::Vote(signed) => {
                let Vote { height, view, phase, digest, .. } = signed.vote;
                if *member.votes.entry((height, view, phase)).or_insert(digest) != digest {
                    return fail(&format!(
                        "votes for two blocks in view {view} of height {height}, {phase:?}"
                    ));
                }
                if member.left.get(&height).is_some_and(|left| view < *left) {
                    return fail(&format!(
                        "votes in view {view} of height {height}, which it has left"
                    ));
                }
                if phase == Phase::Commit {
                    if !quorum(height, view, digest) {
                        return fail(&format!(
                            "commits a block of height {height} that no quorum has prepared"
                        ));
                    }
                    let newest = member.committed.entry(height).or_insert((view, digest));
                    *newest = (view, digest).max(*newest);
                }
            }
            Message::ViewChange { change, .. } => {
                let change = &change.change;
                let left = member.left.entry(change.height).or_default();
                *left = change.view.max(*left);
                let prepared = change.prepared.as_ref().map(|c| (c.vote.view, c.vote.digest));
                let committed =
                    member.committed.get(&change.height).filter(|(view, _)| *view < change.view);
                if committed.is_some_and(|committed| prepared.is_none_or(|p| p.0 < committed.0)) {
                    return fail(&format!(
                        "hides in view {} what it has committed before",
                        change.view
                    ));
                }
            }
            Message::Proposal(proposal) => {
                let header = &proposal.block.header;
                let digest = header.digest();
                if *member.proposals.entry((header.height, proposal.view)).or_insert(digest)
                    != digest
                {
                    return fail(&format!("proposes two blocks in view {}", proposal.view));
                }
            }
            Message::Finalised(_) | Message::Prepared(_) => {}
        }
        if let Some(statement) = Statement::of(message) {
            let signed = member.signed.entry(message.height()).or_default();
            if signed.iter().any(|earlier| earlier.convicts_with(&statement)) {
                return fail("has said two things that would convict it");
            }
            if !signed.contains(&statement) {
                signed.push(statement);
            }
        }
        Ok(())
    }

    /// A correct seat has locked a block of a first view.
    pub fn locked(&mut self, seat: usize, height: Height, digest: Digest) {
        self.members.entry(seat).or_default().locked.insert(height, digest);
    }

    /// Nothing about heights this far below can be said any more.
    pub fn forget_below(&mut self, height: Height) {
        self.prepares = self.prepares.split_off(&(height, 0, Digest::default()));
        self.parents = self.parents.split_off(&(height, Digest::default()));
        for member in self.members.values_mut() {
            member.votes = member.votes.split_off(&(height, 0, Phase::Prepare));
            member.proposals = member.proposals.split_off(&(height, 0));
            member.signed = member.signed.split_off(&height);
            member.left = member.left.split_off(&height);
            member.committed = member.committed.split_off(&height);
            member.locked = member.locked.split_off(&height);
            member.ahead = member.ahead.split_off(&height);
        }
    }
}
