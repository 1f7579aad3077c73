//! Checks that no correct member ever sends what PBFT forbids, whatever it receives and however
//! often it crashes. Every message of every correct host is checked before the network delivers it,
//! so a fault of the implementation shows long before it splits a chain. Each rule is one of PBFT's
//! (Castro and Liskov, OSDI 1999), or one that its proof of safety uses.

use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    ledger::{Committee, Evidence, Phase, Seat, Vote},
    types::{Digest, Height, NodeId, Unverified, View, Weight},
    wire::consensus::{Message, SignedProposalHeader, SignedViewChange, SignedVote},
};

/// Records the messages of all correct members about heights that are still open.
#[derive(Debug, Default)]
pub struct ProtocolMonitor {
    members: BTreeMap<usize, Member>,
    /// Seats, correct or not, whose prepare votes for a block of a view were sent to any member.
    prepares: BTreeMap<(Height, View, Digest), BTreeSet<usize>>,
    /// The parent of each block.
    parents: BTreeMap<(Height, Digest), Digest>,
}

#[derive(Debug, Default)]
struct Member {
    votes: BTreeMap<(Height, View, Phase), Digest>,
    proposals: BTreeMap<(Height, View), Digest>,
    /// The highest view that the member has entered by a view change, by height.
    entered_views: BTreeMap<Height, View>,
    /// The newest view in which the member has committed a block, by height.
    committed: BTreeMap<Height, (View, Digest)>,
    /// Blocks that the member has locked in a first view and prepared while pipelining. The
    /// messages do not show them: a lone collector does not send its votes.
    locked: BTreeMap<Height, Digest>,
    pipelined: BTreeMap<Height, Digest>,
    /// Statements that the member has signed, by height, each once. No two of them may convict it.
    signed: BTreeMap<Height, Vec<Statement>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Statement {
    Vote(SignedVote),
    Claim(SignedProposalHeader),
    Change(SignedViewChange),
}

impl Statement {
    fn of(message: &Message) -> Option<Self> {
        match message {
            Message::Vote(signed) => Some(Self::Vote(*signed)),
            Message::Proposal(proposal) => Some(Self::Claim(proposal.signed_claim())),
            Message::ViewChange { change, .. } => Some(Self::Change(change.clone())),
            Message::CommitCertificate(_) | Message::PrepareCertificate(_) => None,
        }
    }

    fn conflicts_with(&self, other: &Self) -> bool {
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

impl ProtocolMonitor {
    /// Records a prepare vote of any seat. A Byzantine collector may show its own vote in a
    /// certificate only; that vote is checked with the committee of its height. Before there is
    /// such a committee, no valid certificate can be made.
    pub fn observe(
        &mut self,
        seat: usize,
        message: &Message,
        committee: Option<&Committee>,
        member: impl Fn(&NodeId) -> Option<usize>,
    ) {
        if let (Message::PrepareCertificate(certificate), Some(committee)) = (message, committee)
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

    /// Checks a message of a correct seat about an open height. `is_ahead` means that no member has
    /// decided the height below. An error names the rule that the message breaks.
    pub fn check_sent(
        &mut self,
        seat: usize,
        message: &Message,
        is_ahead: bool,
        committee: &Committee,
        member: impl Fn(&NodeId) -> Option<usize>,
    ) -> Result<(), String> {
        self.observe(seat, message, Some(committee), &member);
        let quorum = |height, view, digest| {
            let prepared = self.prepares.get(&(height, view, digest));
            let has = |seat: &&Seat| {
                member(&seat.node).is_some_and(|m| prepared.is_some_and(|p| p.contains(&m)))
            };
            let weight: Weight = committee.seats().iter().filter(has).map(|seat| seat.weight).sum();
            weight >= committee.quorum()
        };
        let member = self.members.entry(seat).or_default();
        let fail = |what: &str| Err(format!("protocol: seat {seat} {what}"));
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
                        "sends more than a first prepare vote of pipelined height {height}"
                    ));
                }
            };
            let locked = member.locked.get(&(height - 1));
            if self.parents.get(&(height, digest)) != locked || locked.is_none() {
                return fail(&format!(
                    "prepares a block of height {height} upon one that it has not committed"
                ));
            }
            let has_left = member.entered_views.get(&(height - 1)).is_some_and(|view| *view > 0);
            if has_left && member.pipelined.get(&height) != Some(&digest) {
                return fail(&format!("opens height {height} in a later view of the one below"));
            }
            member.pipelined.insert(height, digest);
        }
        match message {
            Message::Vote(signed) => {
                let Vote { height, view, phase, digest, .. } = signed.vote;
                if *member.votes.entry((height, view, phase)).or_insert(digest) != digest {
                    return fail(&format!(
                        "votes for two blocks in view {view} of height {height}, {phase:?}"
                    ));
                }
                if member.entered_views.get(&height).is_some_and(|left| view < *left) {
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
                let left = member.entered_views.entry(change.height).or_default();
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
            Message::CommitCertificate(_) | Message::PrepareCertificate(_) => {}
        }
        if let Some(statement) = Statement::of(message) {
            let signed = member.signed.entry(message.height()).or_default();
            if signed.iter().any(|earlier| earlier.conflicts_with(&statement)) {
                return fail("has made two statements that would convict it");
            }
            if !signed.contains(&statement) {
                signed.push(statement);
            }
        }
        Ok(())
    }

    /// Records that a correct seat has locked a block of a first view.
    pub fn record_lock(&mut self, seat: usize, height: Height, digest: Digest) {
        self.members.entry(seat).or_default().locked.insert(height, digest);
    }

    /// Drops the records of heights this far below, about which no message can follow.
    pub fn prune_below(&mut self, height: Height) {
        self.prepares = self.prepares.split_off(&(height, 0, Digest::default()));
        self.parents = self.parents.split_off(&(height, Digest::default()));
        for member in self.members.values_mut() {
            member.votes = member.votes.split_off(&(height, 0, Phase::Prepare));
            member.proposals = member.proposals.split_off(&(height, 0));
            member.signed = member.signed.split_off(&height);
            member.entered_views = member.entered_views.split_off(&height);
            member.committed = member.committed.split_off(&height);
            member.locked = member.locked.split_off(&height);
            member.pipelined = member.pipelined.split_off(&height);
        }
    }
}
