//! Byzantine members. Each wraps a correct replica and rewrites its messages, so core needs no
//! malicious switch.

use crate::{chain_fixture::ChainFixture, random::Rng};
use std::collections::{BTreeMap, VecDeque};
use tequio_core::{
    codec::BoundedVec,
    consensus::Recipient,
    crypto::bls,
    ledger::{Block, Certificate, Phase, Vote, block::transactions_root, leader, leader_seed},
    types::{Digest, NodeId, TimeMs, View},
    wire::consensus::{Message, NewView, Proposal, SignedVote, ViewChange},
};

/// Messages that Byzantine members keep for replay.
const OBSERVED_MAX: usize = 48;

/// A nonce that no client reaches.
const UNSENT_NONCE: u64 = 1 << 40;

/// The fault of a Byzantine seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ByzantineFault {
    /// Sends nothing.
    Silence,
    /// As leader sends one block to half of the others and another to the rest, and votes for both.
    Equivocate,
    /// As leader sends both blocks to all.
    ProposeTwice,
    /// Signs each vote wrongly.
    BadVoteSignature,
    /// Votes for two blocks, to all.
    VoteTwice,
    /// Claims in view changes that nothing was prepared.
    HideLock,
    /// Proposes invalid blocks, or blocks with forged transactions.
    BadBlock,
    /// Proposes blocks with another seed, another member's proof, an old proof, a damaged one, or
    /// one where none is due.
    WrongVrf,
    /// As leader of a term's last height withholds its block, if the seed that follows from it
    /// gives this seat no more than its share.
    WithholdSeed,
    /// Sends forged certificates, distant heights and absurd views.
    Forge,
    /// Withholds each message from a random half of its receivers.
    SelectiveOmission,
    /// Repeats old messages, its own and those of others.
    Replay,
    /// Presents others' votes, proposals and view changes as its own.
    Impersonate,
    /// Proposes in views that other seats lead.
    ProposeOutOfTurn,
    /// As leader of a later view proposes a block of its own, although the view changes bind it to
    /// another.
    IgnoreLock,
    /// As leader of a later view justifies its own block by its own view change many times, or by
    /// too few view changes.
    BadJustification,
    /// Claims in view changes that its own block was prepared.
    ForgeLock,
    /// As collector withholds all certificates.
    WithholdCertificates,
    /// As collector sends certificates of other blocks, with forged signatures, with too few
    /// signers, or too early.
    ForgeCertificates,
    /// As collector sends a certificate to some members only, and decides alone.
    SelectiveCertificates,
    /// Loses its log at each restart, and restarts often.
    Amnesia,
    /// Is correct, but bits of its disk flip.
    DiskCorruption,
}

/// All faults.
pub const BYZANTINE_FAULTS: [ByzantineFault; 22] = [
    ByzantineFault::Silence,
    ByzantineFault::Equivocate,
    ByzantineFault::ProposeTwice,
    ByzantineFault::BadVoteSignature,
    ByzantineFault::VoteTwice,
    ByzantineFault::HideLock,
    ByzantineFault::BadBlock,
    ByzantineFault::WrongVrf,
    ByzantineFault::WithholdSeed,
    ByzantineFault::Forge,
    ByzantineFault::SelectiveOmission,
    ByzantineFault::Replay,
    ByzantineFault::Impersonate,
    ByzantineFault::ProposeOutOfTurn,
    ByzantineFault::IgnoreLock,
    ByzantineFault::BadJustification,
    ByzantineFault::ForgeLock,
    ByzantineFault::WithholdCertificates,
    ByzantineFault::ForgeCertificates,
    ByzantineFault::SelectiveCertificates,
    ByzantineFault::Amnesia,
    ByzantineFault::DiskCorruption,
];

impl ByzantineFault {
    /// Returns the name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Equivocate => "equivocate",
            Self::ProposeTwice => "propose_twice",
            Self::BadVoteSignature => "bad_share",
            Self::VoteTwice => "vote_twice",
            Self::HideLock => "hide_lock",
            Self::BadBlock => "bad_block",
            Self::WrongVrf => "wrong_vrf",
            Self::WithholdSeed => "withhold_seed",
            Self::Forge => "forge",
            Self::SelectiveOmission => "withhold",
            Self::Replay => "stale",
            Self::Impersonate => "impersonate",
            Self::ProposeOutOfTurn => "out_of_turn",
            Self::IgnoreLock => "ignore_lock",
            Self::BadJustification => "bad_justification",
            Self::ForgeLock => "forge_lock",
            Self::WithholdCertificates => "keep_certificates",
            Self::ForgeCertificates => "forge_certificates",
            Self::SelectiveCertificates => "choose_receivers",
            Self::Amnesia => "amnesia",
            Self::DiskCorruption => "rot",
        }
    }
}

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

/// The Byzantine sender of a message.
pub struct ByzantineSender<'a> {
    /// The sender's seat.
    pub seat: usize,
    /// The sender's fault.
    pub fault: ByzantineFault,
    /// Keys of all members.
    pub fixture: &'static ChainFixture,
    /// The seats to which the replica would send the message.
    pub receivers: Vec<usize>,
    /// The time of the sender's clock.
    pub now_ms: TimeMs,
    /// Source of random choices.
    pub rng: &'a mut Rng,
}

type Outgoing = Vec<(usize, Message)>;

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

impl ByzantineSender<'_> {
    fn to_all(&self, message: &Message) -> Outgoing {
        self.receivers.iter().map(|to| (*to, message.clone())).collect()
    }

    fn vote_key(&self) -> &bls::SecretKey {
        &self.fixture.keys[self.seat].1
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

/// Makes another block that is equally valid: one millisecond later.
fn conflicting_block(block: &Block) -> Block {
    let mut block = block.clone();
    block.header.time_ms += 1;
    block
}

fn corrupt_block(sender: &mut ByzantineSender<'_>, mut block: Block) -> Block {
    match sender.rng.range(0, 6) {
        0 => block.header.state = Digest([1; 32]),
        1 => block.header.transactions = Digest([2; 32]),
        2 => block.header.parent = Digest([3; 32]),
        3 => block.header.time_ms += 1_000_000,
        4 => {
            block.header.proposer =
                sender.fixture.keys[(sender.seat + 1) % sender.fixture.seats()].0.id()
        }
        _ => {
            // A transaction with the signature of another.
            let mut forged = sender.fixture.transaction(0, UNSENT_NONCE, 0);
            forged.signature = sender.fixture.transaction(1, UNSENT_NONCE, 0).signature;
            block.transactions = BoundedVec::truncated([forged]);
            block.header.transactions = transactions_root(&block.transactions);
        }
    }
    block
}

/// Makes a block with a seed or proof that does not belong to its term.
fn corrupt_seed(sender: &mut ByzantineSender<'_>, mut block: Block) -> Block {
    let header = &mut block.header;
    let prove = |seat: usize, height, seed: &Digest| {
        sender.fixture.vrf_keys[seat]
            .prove(&leader_seed::vrf_input(&header.chain, height, seed))
            .ok()
    };
    let kind = sender.rng.range(0, 5);
    header.proof = match (kind, header.proof) {
        // The seed of another term, with a matching proof where one is due.
        (0, due) => {
            let seed = Digest([sender.rng.next_u64() as u8; 32]);
            let proof = due.and_then(|_| prove(sender.seat, header.height, &seed));
            header.seed = seed;
            proof
        }
        // No proof is due.
        (_, None) => prove(sender.seat, header.height, &header.seed),
        (1, Some(_)) => None,
        (2, Some(_)) => {
            prove((sender.seat + 1) % sender.fixture.seats(), header.height, &header.seed)
        }
        (3, Some(_)) => prove(sender.seat, header.height.saturating_sub(4), &header.seed),
        (_, Some(mut proof)) => {
            proof.0[sender.rng.below(proof.0.len())] ^= 1;
            Some(proof)
        }
    };
    block
}

/// Whether the next term, by the seed that follows from this block, gives this seat more first
/// views than its share. True for blocks from which no seed follows.
fn gains_leadership(sender: &ByzantineSender<'_>, block: &Block) -> bool {
    let (header, start) = (&block.header, &sender.fixture.genesis);
    let Some(seed) = leader_seed::next(header).ok().filter(|_| header.proof.is_some()) else {
        return true;
    };
    let heights = 1..=start.params.leader_term_blocks;
    let led = heights
        .filter(|n| leader(&start.committee, &seed, header.height + n, 0) == sender.seat)
        .count() as u64;
    led * start.committee.weight()
        > start.params.leader_term_blocks * start.committee.seats()[sender.seat].weight
}

/// Rewrites another member's message as if this seat, or a third one, had sent it.
fn impersonated(sender: &mut ByzantineSender<'_>, message: Message) -> Message {
    let (node_key, vote_key) = &sender.fixture.keys[sender.seat];
    let resign = sender.rng.chance(300);
    match message {
        Message::Vote(signed) if resign => Message::Vote(SignedVote::sign(signed.vote, vote_key)),
        Message::ViewChange { change, block } if resign => {
            let mut own = change.change.sign(node_key);
            own.node = sender.fixture.keys[sender.rng.below(sender.fixture.seats())].0.id();
            Message::ViewChange { change: own, block }
        }
        other => other,
    }
}

fn forge(sender: &mut ByzantineSender<'_>, message: Message) -> Outgoing {
    let (node_key, vote_key) = &sender.fixture.keys[sender.seat];
    let mut outgoing = sender.to_all(&message);
    match message {
        Message::Vote(signed) => {
            let mut vote = signed.vote;
            vote.view = sender.rng.pick(&[vote.view + 1, vote.view + 3, u64::MAX]);
            vote.height =
                sender.rng.pick(&[vote.height, vote.height + 1, vote.height + 2, u64::MAX]);
            vote.digest = Digest([sender.rng.next_u64() as u8; 32]);
            let signature = vote_key.sign(&vote.message());
            outgoing.extend(sender.to_all(&Message::Vote(SignedVote { vote, signature })));
            let certificate = Certificate { vote, signers: [0x0f; 32], signature };
            outgoing.extend(sender.to_all(&Message::CommitCertificate(certificate)));
        }
        Message::ViewChange { change, block } => {
            let mut change = change.change;
            change.view = sender.rng.pick(&[change.view + 1, u64::MAX]);
            let change = change.sign(node_key);
            outgoing.extend(sender.to_all(&Message::ViewChange { change, block }));
        }
        Message::Proposal(proposal) => {
            // A view that no view changes justify.
            let early = Proposal::sign(proposal.view + 4, proposal.block, None, node_key);
            outgoing.extend(sender.to_all(&Message::Proposal(early)));
        }
        Message::CommitCertificate(_) | Message::PrepareCertificate(_) => {}
    }
    outgoing
}

/// Makes invalid certificates, beside the true message or in its place.
fn forge_certificate(sender: &mut ByzantineSender<'_>, message: Message) -> Outgoing {
    let mut all = [0; 32];
    (0..sender.fixture.seats()).for_each(|seat| all[seat / 8] |= 1 << (seat % 8));
    let everybody: Vec<usize> =
        (0..sender.fixture.keys.len()).filter(|member| *member != sender.seat).collect();
    let to_everybody = |certificate: Certificate| {
        let message = Message::PrepareCertificate(certificate);
        everybody.iter().map(move |to| (*to, message.clone())).collect::<Outgoing>()
    };
    match message {
        // Before any certificate can exist: half of the members receive one for this block, half
        // for another.
        Message::Vote(signed) if signed.vote.phase == Phase::Prepare => {
            let signature = sender.vote_key().sign(&signed.vote.message());
            let certificate = |digest| Certificate {
                vote: Vote { digest, ..signed.vote },
                signers: all,
                signature,
            };
            let mut outgoing = sender.to_all(&message);
            let digest = if sender.rng.chance(500) {
                signed.vote.digest
            } else {
                Digest([sender.rng.next_u64() as u8; 32])
            };
            outgoing.extend(to_everybody(certificate(digest)));
            outgoing
        }
        Message::PrepareCertificate(mut certificate) => {
            match sender.rng.range(0, 3) {
                0 => certificate.signature = bls::Signature([sender.rng.next_u64() as u8; 48]),
                1 => certificate.signers = [0; 32],
                _ => certificate.vote.view += 1,
            }
            sender.to_all(&Message::PrepareCertificate(certificate))
        }
        Message::CommitCertificate(mut certificate) => {
            certificate.vote.digest = Digest([sender.rng.next_u64() as u8; 32]);
            sender.to_all(&Message::CommitCertificate(certificate))
        }
        message => sender.to_all(&message),
    }
}

/// Returns the members that receive a message, if it is addressed to all members that the sender
/// knows.
pub fn receivers(
    fixture: &ChainFixture,
    audience: &[NodeId],
    member: usize,
    to: Recipient,
) -> Vec<usize> {
    match to {
        Recipient::All => audience
            .iter()
            .filter_map(|node| fixture.member(node))
            .filter(|other| *other != member)
            .collect(),
        Recipient::One(node) => fixture.member(&node).into_iter().collect(),
    }
}
