//! The Byzantine members together: the messages that each sends in place of its replica's.

use super::{
    fault::ByzantineFault,
    forgery::{
        conflicting_block, corrupt_block, corrupt_seed, forge, forge_certificate, gains_leadership,
        impersonated,
    },
    sender::{ByzantineSender, Outgoing},
};
use crate::random::Rng;
use std::collections::{BTreeMap, VecDeque};
use tequio_core::{
    crypto::bls,
    ledger::{Block, Certificate, Phase, Vote},
    types::{Digest, View},
    wire::consensus::{Message, NewView, Proposal, SignedVote, ViewChange},
};

/// Messages that Byzantine members keep for replay.
const OBSERVED_MAX: usize = 48;

/// State that Byzantine members share: they conspire.
#[derive(Debug, Default)]
pub struct Coalition {
    /// The conflicting block that was made beside each block, both by digest.
    conflicting: BTreeMap<Digest, Digest>,
    observed: VecDeque<Message>,
    /// The block that a Byzantine leader proposed in place of its replica's block, by view and
    /// digest of the latter.
    replacements: BTreeMap<(View, Digest), Digest>,
}

impl Coalition {
    /// Records a message: Byzantine members receive all messages.
    pub fn observe(&mut self, message: &Message) {
        if self.observed.len() >= OBSERVED_MAX {
            self.observed.pop_front();
        }
        self.observed.push_back(message.clone());
    }

    /// Returns the messages that a Byzantine member sends in place of this one, with their
    /// receivers.
    pub fn rewrite(&mut self, sender: &mut ByzantineSender<'_>, message: Message) -> Outgoing {
        match (sender.fault, message) {
            (ByzantineFault::Silence, _) => Vec::new(),
            (ByzantineFault::Equivocate, message) => {
                let other = self.conflicting_message(sender, &message);
                // All Byzantine members send the same of the two blocks to the same member,
                // whichever block their own replica took.
                let (message, other) = if subject_digest(&message) <= subject_digest(&other) {
                    (message, other)
                } else {
                    (other, message)
                };
                let choose =
                    |to: &usize| if to.is_multiple_of(2) { message.clone() } else { other.clone() };
                sender.receivers.iter().map(|to| (*to, choose(to))).collect()
            }
            (ByzantineFault::ProposeTwice, message @ Message::Proposal(_)) => {
                let other = self.conflicting_message(sender, &message);
                [sender.to_all(&message), sender.to_all(&other)].concat()
            }
            (ByzantineFault::VoteTwice, message @ Message::Vote(_)) => {
                let other = self.conflicting_message(sender, &message);
                let (first, second) =
                    if sender.rng.chance(500) { (message, other) } else { (other, message) };
                [sender.to_all(&first), sender.to_all(&second)].concat()
            }
            (ByzantineFault::BadVoteSignature, Message::Vote(signed)) => {
                let signature = match sender.rng.chance(500) {
                    true => bls::Signature([sender.rng.next_u64() as u8; 48]),
                    false => sender.vote_key().sign(b"something else"),
                };
                sender.to_all(&Message::Vote(SignedVote { signature, ..signed }))
            }
            (ByzantineFault::HideLock, Message::ViewChange { change, .. }) => {
                let mut change = change.change;
                change.prepared = None;
                let change = change.sign(&sender.fixture.keys[sender.seat].0);
                sender.to_all(&Message::ViewChange { change, block: None })
            }
            (ByzantineFault::BadBlock, Message::Proposal(proposal)) => {
                let block = corrupt_block(sender, proposal.block);
                let key = &sender.fixture.keys[sender.seat].0;
                sender.to_all(&Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    key,
                )))
            }
            (ByzantineFault::WrongVrf, Message::Proposal(proposal)) => {
                let block = corrupt_seed(sender, proposal.block);
                let key = &sender.fixture.keys[sender.seat].0;
                sender.to_all(&Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    key,
                )))
            }
            (ByzantineFault::WithholdSeed, Message::Proposal(proposal))
                if !gains_leadership(sender, &proposal.block) =>
            {
                Vec::new()
            }
            (ByzantineFault::Forge, message) => forge(sender, message),
            (ByzantineFault::SelectiveOmission, message) => {
                let mut outgoing = sender.to_all(&message);
                outgoing.retain(|_| sender.rng.chance(500));
                outgoing
            }
            (ByzantineFault::Replay, message) => {
                let mut outgoing = sender.to_all(&message);
                if let Some(old) = self.random_observed(sender.rng) {
                    outgoing.extend(sender.to_all(&old));
                }
                outgoing
            }
            (ByzantineFault::Impersonate, message) => {
                let mut outgoing = sender.to_all(&message);
                if let Some(other) =
                    self.random_observed(sender.rng).map(|observed| impersonated(sender, observed))
                {
                    outgoing.extend(sender.to_all(&other));
                }
                outgoing
            }
            (ByzantineFault::ProposeOutOfTurn, message) => {
                let mut outgoing = sender.to_all(&message);
                let proposals = self.observed.iter().rev();
                let newest = proposals
                    .filter_map(|m| if let Message::Proposal(p) = m { Some(p) } else { None })
                    .next();
                if let Some(proposal) = newest {
                    let view = proposal.view + sender.rng.range(0, 3);
                    let block = conflicting_block(&proposal.block);
                    let key = &sender.fixture.keys[sender.seat].0;
                    let own = Proposal::sign(view, block, proposal.justification.clone(), key);
                    outgoing.extend(sender.to_all(&Message::Proposal(own)));
                }
                outgoing
            }
            (
                ByzantineFault::IgnoreLock,
                Message::Proposal(Proposal {
                    view, block, justification: Some(justification), ..
                }),
            ) => self.propose_instead(sender, view, &block, justification),
            (
                ByzantineFault::BadJustification,
                Message::Proposal(Proposal {
                    view, block, justification: Some(justification), ..
                }),
            ) => {
                let header = &block.header;
                let change = ViewChange {
                    chain: header.chain,
                    epoch: header.epoch,
                    height: header.height,
                    view,
                    prepared: None,
                };
                let change = change.sign(&sender.fixture.keys[sender.seat].0);
                // Its own view change alone, many times, or with those of others that bind no
                // leader.
                let free = justification
                    .iter()
                    .filter(|c| c.change.prepared.is_none() && c.node != change.node);
                let members: Vec<_> = match sender.rng.chance(500) {
                    true => std::iter::repeat_n(change, sender.fixture.seats()).collect(),
                    false => free.cloned().chain([change.clone()]).collect(),
                };
                self.propose_instead(sender, view, &block, NewView::truncated(members))
            }
            (
                ByzantineFault::IgnoreLock | ByzantineFault::BadJustification,
                Message::Vote(signed),
            ) => {
                let vote = signed.vote;
                let Some(digest) = self.replacements.get(&(vote.view, vote.digest)).copied() else {
                    return sender.to_all(&Message::Vote(signed));
                };
                let votes =
                    [Phase::Prepare, Phase::Commit].map(|phase| Vote { digest, phase, ..vote });
                let outgoing =
                    votes.map(|vote| Message::Vote(SignedVote::sign(vote, sender.vote_key())));
                outgoing.iter().flat_map(|message| sender.to_all(message)).collect()
            }
            (ByzantineFault::ForgeLock, Message::ViewChange { change, .. }) => {
                let newest = self
                    .observed
                    .iter()
                    .rev()
                    .find_map(|m| if let Message::Proposal(p) = m { Some(p) } else { None });
                let Some(proposal) = newest else { return Vec::new() };
                let (mut change, block) = (change.change, conflicting_block(&proposal.block));
                let (chain, epoch, height) = (change.chain, change.epoch, change.height);
                let (view, digest) = (change.view - 1, block.header.digest());
                let vote = Vote { chain, epoch, height, view, phase: Phase::Prepare, digest };
                let mut signers = [0; 32];
                (0..sender.fixture.seats()).for_each(|seat| signers[seat / 8] |= 1 << (seat % 8));
                let signature = sender.vote_key().sign(&vote.message());
                change.prepared = Some(Certificate { vote, signers, signature });
                let change = change.sign(&sender.fixture.keys[sender.seat].0);
                sender.to_all(&Message::ViewChange { change, block: Some(block) })
            }
            (
                ByzantineFault::WithholdCertificates,
                Message::PrepareCertificate(_) | Message::CommitCertificate(_),
            ) => Vec::new(),
            (ByzantineFault::ForgeCertificates, message) => forge_certificate(sender, message),
            (
                ByzantineFault::SelectiveCertificates,
                message @ (Message::PrepareCertificate(_) | Message::CommitCertificate(_)),
            ) => {
                // The same half each time, so that these members stay behind.
                let mut outgoing = sender.to_all(&message);
                outgoing.retain(|(to, _)| to % 2 == sender.seat % 2);
                outgoing
            }
            (_, message) => sender.to_all(&message),
        }
    }

    /// Returns the same kind of message for the other block.
    fn conflicting_message(&mut self, sender: &ByzantineSender<'_>, message: &Message) -> Message {
        let (node_key, vote_key) = &sender.fixture.keys[sender.seat];
        match message {
            Message::Proposal(proposal) => {
                let block = conflicting_block(&proposal.block);
                let (first, second) = (proposal.block.header.digest(), block.header.digest());
                self.conflicting.extend([(first, second), (second, first)]);
                Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification.clone(),
                    node_key,
                ))
            }
            Message::Vote(signed) => {
                let digest =
                    self.conflicting.get(&signed.vote.digest).copied().unwrap_or(Digest([7; 32]));
                Message::Vote(SignedVote::sign(Vote { digest, ..signed.vote }, vote_key))
            }
            other => other.clone(),
        }
    }

    /// Makes a valid block of this member in place of the one that binds it, in this view.
    fn propose_instead(
        &mut self,
        sender: &ByzantineSender<'_>,
        view: View,
        bound: &Block,
        justification: NewView,
    ) -> Outgoing {
        let key = &sender.fixture.keys[sender.seat].0;
        let mut block = bound.clone();
        block.header.view = view;
        block.header.proposer = key.id();
        block.header.time_ms = sender.now_ms.max(block.header.time_ms + 1);
        self.replacements.insert((view, bound.header.digest()), block.header.digest());
        sender.to_all(&Message::Proposal(Proposal::sign(view, block, Some(justification), key)))
    }

    fn random_observed(&self, rng: &mut Rng) -> Option<Message> {
        self.observed.get(rng.below(self.observed.len().max(1))).cloned()
    }
}

/// Returns the block that a message concerns.
fn subject_digest(message: &Message) -> Option<Digest> {
    match message {
        Message::Proposal(proposal) => Some(proposal.block.header.digest()),
        Message::Vote(signed) => Some(signed.vote.digest),
        _ => None,
    }
}
