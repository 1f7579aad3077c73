//! Liars. Each wraps a correct replica and rewrites what it says, so core needs no malicious
//! switch.

use crate::{random::Rng, world::World};
use std::collections::{BTreeMap, VecDeque};
use tequio_core::{
    codec::BoundedVec,
    consensus::To,
    crypto::bls,
    ledger::{Block, Certificate, Phase, Vote, block::transactions_root, leader, seed},
    types::{Digest, NodeId, TimeMs, View},
    wire::consensus::{Message, NewView, Proposal, SignedVote, ViewChange},
};

/// Messages of all that a liar may say again.
const OVERHEARD_MAX: usize = 48;

/// No client gets this far.
const UNSENT_NONCE: u64 = 1 << 40;

/// What is wrong with a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Says nothing.
    Silence,
    /// As leader shows one block to half of the others and another to the rest, and votes for both.
    Equivocate,
    /// As leader shows both blocks to all.
    ProposeTwice,
    /// Signs each vote wrongly.
    BadShare,
    /// Votes for two blocks, to all.
    VoteTwice,
    /// Says in view changes that nothing was prepared.
    HideLock,
    /// Proposes blocks that do not hold, or whose transactions are forged.
    BadBlock,
    /// Proposes blocks with another seed, another's proof, an old one, a damaged one, or one where
    /// none is due.
    WrongVrf,
    /// As leader of a term's last height keeps its block back, if the seed that it makes gives it
    /// no more than its share.
    WithholdSeed,
    /// Floods with forged certificates, far heights and absurd views.
    Forge,
    /// Keeps each message from a random half of its receivers.
    Withhold,
    /// Says again what it or others have said long ago.
    Stale,
    /// Passes off others' votes, proposals and view changes as its own.
    Impersonate,
    /// Proposes in views that others lead.
    OutOfTurn,
    /// As leader of a later view proposes a block of its own, though the view changes bind it to
    /// another.
    IgnoreLock,
    /// As leader of a later view justifies a block of its own by its own view change, many times,
    /// or by too few.
    BadJustification,
    /// Says in view changes that a block of its own was prepared.
    ForgeLock,
    /// As collector keeps all certificates to itself.
    KeepCertificates,
    /// As collector shows certificates of other blocks, with forged signatures, too few signers, or
    /// too early.
    ForgeCertificates,
    /// As collector gives a certificate to some only, and decides alone.
    ChooseReceivers,
    /// Forgets its log at each restart, and restarts often.
    Amnesia,
    /// Honest, but bits of its disk turn.
    Rot,
}

/// All of them.
pub const LIES: [Lie; 22] = [
    Lie::Silence,
    Lie::Equivocate,
    Lie::ProposeTwice,
    Lie::BadShare,
    Lie::VoteTwice,
    Lie::HideLock,
    Lie::BadBlock,
    Lie::WrongVrf,
    Lie::WithholdSeed,
    Lie::Forge,
    Lie::Withhold,
    Lie::Stale,
    Lie::Impersonate,
    Lie::OutOfTurn,
    Lie::IgnoreLock,
    Lie::BadJustification,
    Lie::ForgeLock,
    Lie::KeepCertificates,
    Lie::ForgeCertificates,
    Lie::ChooseReceivers,
    Lie::Amnesia,
    Lie::Rot,
];

impl Lie {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Equivocate => "equivocate",
            Self::ProposeTwice => "propose_twice",
            Self::BadShare => "bad_share",
            Self::VoteTwice => "vote_twice",
            Self::HideLock => "hide_lock",
            Self::BadBlock => "bad_block",
            Self::WrongVrf => "wrong_vrf",
            Self::WithholdSeed => "withhold_seed",
            Self::Forge => "forge",
            Self::Withhold => "withhold",
            Self::Stale => "stale",
            Self::Impersonate => "impersonate",
            Self::OutOfTurn => "out_of_turn",
            Self::IgnoreLock => "ignore_lock",
            Self::BadJustification => "bad_justification",
            Self::ForgeLock => "forge_lock",
            Self::KeepCertificates => "keep_certificates",
            Self::ForgeCertificates => "forge_certificates",
            Self::ChooseReceivers => "choose_receivers",
            Self::Amnesia => "amnesia",
            Self::Rot => "rot",
        }
    }
}

/// What liars share: they conspire.
#[derive(Debug, Default)]
pub struct Conspiracy {
    /// By digest of a block, that of the other block made beside it.
    twins: BTreeMap<Digest, Digest>,
    overheard: VecDeque<Message>,
    /// By view and digest of the block that a liar's replica proposed, the block that the liar
    /// proposed instead.
    instead: BTreeMap<(View, Digest), Digest>,
}

/// Who speaks.
pub struct Liar<'a> {
    /// The seat.
    pub seat: usize,
    /// Its lie.
    pub lie: Lie,
    /// Keys of all.
    pub world: &'static World,
    /// The seats it was going to speak to.
    pub receivers: Vec<usize>,
    /// What its clock shows.
    pub now_ms: TimeMs,
    /// Chance.
    pub rng: &'a mut Rng,
}

type Said = Vec<(usize, Message)>;

impl Conspiracy {
    /// Liars hear everything.
    pub fn overhear(&mut self, message: &Message) {
        if self.overheard.len() >= OVERHEARD_MAX {
            self.overheard.pop_front();
        }
        self.overheard.push_back(message.clone());
    }

    /// What a liar says in place of a message, and to which seats.
    pub fn rewrite(&mut self, liar: &mut Liar<'_>, message: Message) -> Said {
        match (liar.lie, message) {
            (Lie::Silence, _) => Vec::new(),
            (Lie::Equivocate, message) => {
                let other = self.other(liar, &message);
                // All liars show the same of the two to the same member, whichever their own
                // replica took.
                let (message, other) = if named(&message) <= named(&other) {
                    (message, other)
                } else {
                    (other, message)
                };
                let choose =
                    |to: &usize| if to.is_multiple_of(2) { message.clone() } else { other.clone() };
                liar.receivers.iter().map(|to| (*to, choose(to))).collect()
            }
            (Lie::ProposeTwice, message @ Message::Proposal(_)) => {
                let other = self.other(liar, &message);
                [liar.to_all(&message), liar.to_all(&other)].concat()
            }
            (Lie::VoteTwice, message @ Message::Vote(_)) => {
                let other = self.other(liar, &message);
                let (first, second) =
                    if liar.rng.chance(500) { (message, other) } else { (other, message) };
                [liar.to_all(&first), liar.to_all(&second)].concat()
            }
            (Lie::BadShare, Message::Vote(signed)) => {
                let signature = match liar.rng.chance(500) {
                    true => bls::Signature([liar.rng.draw() as u8; 48]),
                    false => liar.vote_key().sign(b"something else"),
                };
                liar.to_all(&Message::Vote(SignedVote { signature, ..signed }))
            }
            (Lie::HideLock, Message::ViewChange { change, .. }) => {
                let mut change = change.change;
                change.prepared = None;
                let change = change.sign(&liar.world.keys[liar.seat].0);
                liar.to_all(&Message::ViewChange { change, block: None })
            }
            (Lie::BadBlock, Message::Proposal(proposal)) => {
                let block = spoiled(liar, proposal.block);
                let key = &liar.world.keys[liar.seat].0;
                liar.to_all(&Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    key,
                )))
            }
            (Lie::WrongVrf, Message::Proposal(proposal)) => {
                let block = wrongly_drawn(liar, proposal.block);
                let key = &liar.world.keys[liar.seat].0;
                liar.to_all(&Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    key,
                )))
            }
            (Lie::WithholdSeed, Message::Proposal(proposal))
                if !is_worth_showing(liar, &proposal.block) =>
            {
                Vec::new()
            }
            (Lie::Forge, message) => forge(liar, message),
            (Lie::Withhold, message) => {
                let mut said = liar.to_all(&message);
                said.retain(|_| liar.rng.chance(500));
                said
            }
            (Lie::Stale, message) => {
                let mut said = liar.to_all(&message);
                if let Some(old) = self.any(liar.rng) {
                    said.extend(liar.to_all(&old));
                }
                said
            }
            (Lie::Impersonate, message) => {
                let mut said = liar.to_all(&message);
                if let Some(other) = self.any(liar.rng).map(|overheard| disguised(liar, overheard))
                {
                    said.extend(liar.to_all(&other));
                }
                said
            }
            (Lie::OutOfTurn, message) => {
                let mut said = liar.to_all(&message);
                let proposals = self.overheard.iter().rev();
                let newest = proposals
                    .filter_map(|m| if let Message::Proposal(p) = m { Some(p) } else { None })
                    .next();
                if let Some(proposal) = newest {
                    let view = proposal.view + liar.rng.range(0, 3);
                    let block = later(&proposal.block);
                    let key = &liar.world.keys[liar.seat].0;
                    let own = Proposal::sign(view, block, proposal.justification.clone(), key);
                    said.extend(liar.to_all(&Message::Proposal(own)));
                }
                said
            }
            (
                Lie::IgnoreLock,
                Message::Proposal(Proposal {
                    view, block, justification: Some(justification), ..
                }),
            ) => self.propose_instead(liar, view, &block, justification),
            (
                Lie::BadJustification,
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
                let change = change.sign(&liar.world.keys[liar.seat].0);
                // Its own alone, many times; or beside it those of the others that bind nobody.
                let free = justification
                    .iter()
                    .filter(|c| c.change.prepared.is_none() && c.node != change.node);
                let members: Vec<_> = match liar.rng.chance(500) {
                    true => std::iter::repeat_n(change, liar.world.seats()).collect(),
                    false => free.cloned().chain([change.clone()]).collect(),
                };
                self.propose_instead(liar, view, &block, NewView::truncated(members))
            }
            (Lie::IgnoreLock | Lie::BadJustification, Message::Vote(signed)) => {
                let vote = signed.vote;
                let Some(digest) = self.instead.get(&(vote.view, vote.digest)).copied() else {
                    return liar.to_all(&Message::Vote(signed));
                };
                let votes =
                    [Phase::Prepare, Phase::Commit].map(|phase| Vote { digest, phase, ..vote });
                let said = votes.map(|vote| Message::Vote(SignedVote::sign(vote, liar.vote_key())));
                said.iter().flat_map(|message| liar.to_all(message)).collect()
            }
            (Lie::ForgeLock, Message::ViewChange { change, .. }) => {
                let newest = self
                    .overheard
                    .iter()
                    .rev()
                    .find_map(|m| if let Message::Proposal(p) = m { Some(p) } else { None });
                let Some(proposal) = newest else { return Vec::new() };
                let (mut change, block) = (change.change, later(&proposal.block));
                let (chain, epoch, height) = (change.chain, change.epoch, change.height);
                let (view, digest) = (change.view - 1, block.header.digest());
                let vote = Vote { chain, epoch, height, view, phase: Phase::Prepare, digest };
                let mut signers = [0; 32];
                (0..liar.world.seats()).for_each(|seat| signers[seat / 8] |= 1 << (seat % 8));
                let signature = liar.vote_key().sign(&vote.message());
                change.prepared = Some(Certificate { vote, signers, signature });
                let change = change.sign(&liar.world.keys[liar.seat].0);
                liar.to_all(&Message::ViewChange { change, block: Some(block) })
            }
            (Lie::KeepCertificates, Message::Prepared(_) | Message::Finalised(_)) => Vec::new(),
            (Lie::ForgeCertificates, message) => forge_certificate(liar, message),
            (Lie::ChooseReceivers, message @ (Message::Prepared(_) | Message::Finalised(_))) => {
                // The same half each time, so that it stays behind.
                let mut said = liar.to_all(&message);
                said.retain(|(to, _)| to % 2 == liar.seat % 2);
                said
            }
            (_, message) => liar.to_all(&message),
        }
    }

    /// The same kind of message for the other block.
    fn other(&mut self, liar: &Liar<'_>, message: &Message) -> Message {
        let (node_key, vote_key) = &liar.world.keys[liar.seat];
        match message {
            Message::Proposal(proposal) => {
                let block = later(&proposal.block);
                let (first, second) = (proposal.block.header.digest(), block.header.digest());
                self.twins.extend([(first, second), (second, first)]);
                Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification.clone(),
                    node_key,
                ))
            }
            Message::Vote(signed) => {
                let digest =
                    self.twins.get(&signed.vote.digest).copied().unwrap_or(Digest([7; 32]));
                Message::Vote(SignedVote::sign(Vote { digest, ..signed.vote }, vote_key))
            }
            other => other.clone(),
        }
    }

    /// A valid block of the liar's in place of the one that it is bound to, made in this view.
    fn propose_instead(
        &mut self,
        liar: &Liar<'_>,
        view: View,
        bound: &Block,
        justification: NewView,
    ) -> Said {
        let key = &liar.world.keys[liar.seat].0;
        let mut block = bound.clone();
        block.header.view = view;
        block.header.proposer = key.id();
        block.header.time_ms = liar.now_ms.max(block.header.time_ms + 1);
        self.instead.insert((view, bound.header.digest()), block.header.digest());
        liar.to_all(&Message::Proposal(Proposal::sign(view, block, Some(justification), key)))
    }

    fn any(&self, rng: &mut Rng) -> Option<Message> {
        self.overheard.get(rng.below(self.overheard.len().max(1))).cloned()
    }
}

impl Liar<'_> {
    fn to_all(&self, message: &Message) -> Said {
        self.receivers.iter().map(|to| (*to, message.clone())).collect()
    }

    fn vote_key(&self) -> &bls::SecretKey {
        &self.world.keys[self.seat].1
    }
}

/// The block that a message is about.
fn named(message: &Message) -> Option<Digest> {
    match message {
        Message::Proposal(proposal) => Some(proposal.block.header.digest()),
        Message::Vote(signed) => Some(signed.vote.digest),
        _ => None,
    }
}

/// Another block that is as valid: one millisecond later.
fn later(block: &Block) -> Block {
    let mut block = block.clone();
    block.header.time_ms += 1;
    block
}

fn spoiled(liar: &mut Liar<'_>, mut block: Block) -> Block {
    match liar.rng.range(0, 6) {
        0 => block.header.state = Digest([1; 32]),
        1 => block.header.transactions = Digest([2; 32]),
        2 => block.header.parent = Digest([3; 32]),
        3 => block.header.time_ms += 1_000_000,
        4 => block.header.proposer = liar.world.keys[(liar.seat + 1) % liar.world.seats()].0.id(),
        _ => {
            // A transaction whose signature is another's.
            let mut forged = liar.world.transaction(0, UNSENT_NONCE, 0);
            forged.signature = liar.world.transaction(1, UNSENT_NONCE, 0).signature;
            block.transactions = BoundedVec::truncated([forged]);
            block.header.transactions = transactions_root(&block.transactions);
        }
    }
    block
}

/// A block with a seed or proof that its term does not have.
fn wrongly_drawn(liar: &mut Liar<'_>, mut block: Block) -> Block {
    let header = &mut block.header;
    let prove = |seat: usize, height, seed: &Digest| {
        liar.world.vrf_keys[seat].prove(&seed::input(&header.chain, height, seed)).ok()
    };
    let kind = liar.rng.range(0, 5);
    header.proof = match (kind, header.proof) {
        // The seed of a term of its own choice; with a proof that fits it, where one is due.
        (0, due) => {
            let seed = Digest([liar.rng.draw() as u8; 32]);
            let proof = due.and_then(|_| prove(liar.seat, header.height, &seed));
            header.seed = seed;
            proof
        }
        // None is due.
        (_, None) => prove(liar.seat, header.height, &header.seed),
        (1, Some(_)) => None,
        (2, Some(_)) => prove((liar.seat + 1) % liar.world.seats(), header.height, &header.seed),
        (3, Some(_)) => prove(liar.seat, header.height.saturating_sub(4), &header.seed),
        (_, Some(mut proof)) => {
            proof.0[liar.rng.below(proof.0.len())] ^= 1;
            Some(proof)
        }
    };
    block
}

/// Whether the next term, by the seed that a block makes, has more first views for the liar than
/// its share. Blocks that make none are.
fn is_worth_showing(liar: &Liar<'_>, block: &Block) -> bool {
    let (header, start) = (&block.header, &liar.world.start);
    let Some(seed) = seed::after(header).ok().filter(|_| header.proof.is_some()) else {
        return true;
    };
    let heights = 1..=start.params.term_blocks;
    let led = heights
        .filter(|n| leader(&start.committee, &seed, header.height + n, 0) == liar.seat)
        .count() as u64;
    led * start.committee.weight()
        > start.params.term_blocks * start.committee.seats()[liar.seat].weight
}

/// Another member's message, as if this liar had said it, or as if somebody else had.
fn disguised(liar: &mut Liar<'_>, message: Message) -> Message {
    let (node_key, vote_key) = &liar.world.keys[liar.seat];
    let resign = liar.rng.chance(300);
    match message {
        Message::Vote(signed) if resign => Message::Vote(SignedVote::sign(signed.vote, vote_key)),
        Message::ViewChange { change, block } if resign => {
            let mut own = change.change.sign(node_key);
            own.node = liar.world.keys[liar.rng.below(liar.world.seats())].0.id();
            Message::ViewChange { change: own, block }
        }
        other => other,
    }
}

fn forge(liar: &mut Liar<'_>, message: Message) -> Said {
    let (node_key, vote_key) = &liar.world.keys[liar.seat];
    let mut said = liar.to_all(&message);
    match message {
        Message::Vote(signed) => {
            let mut vote = signed.vote;
            vote.view = liar.rng.pick(&[vote.view + 1, vote.view + 3, u64::MAX]);
            vote.height = liar.rng.pick(&[vote.height, vote.height + 1, vote.height + 2, u64::MAX]);
            vote.digest = Digest([liar.rng.draw() as u8; 32]);
            let signature = vote_key.sign(&vote.message());
            said.extend(liar.to_all(&Message::Vote(SignedVote { vote, signature })));
            let certificate = Certificate { vote, signers: [0x0f; 32], signature };
            said.extend(liar.to_all(&Message::Finalised(certificate)));
        }
        Message::ViewChange { change, block } => {
            let mut change = change.change;
            change.view = liar.rng.pick(&[change.view + 1, u64::MAX]);
            let change = change.sign(node_key);
            said.extend(liar.to_all(&Message::ViewChange { change, block }));
        }
        Message::Proposal(proposal) => {
            // A view that nobody has justified.
            let early = Proposal::sign(proposal.view + 4, proposal.block, None, node_key);
            said.extend(liar.to_all(&Message::Proposal(early)));
        }
        Message::Finalised(_) | Message::Prepared(_) => {}
    }
    said
}

/// Certificates that do not hold, beside the true message or in its place.
fn forge_certificate(liar: &mut Liar<'_>, message: Message) -> Said {
    let mut all = [0; 32];
    (0..liar.world.seats()).for_each(|seat| all[seat / 8] |= 1 << (seat % 8));
    let everybody: Vec<usize> =
        (0..liar.world.keys.len()).filter(|member| *member != liar.seat).collect();
    let to_everybody = |certificate: Certificate| {
        let message = Message::Prepared(certificate);
        everybody.iter().map(move |to| (*to, message.clone())).collect::<Said>()
    };
    match message {
        // Before anybody can have one: half of the members hear of this block, half of another.
        Message::Vote(signed) if signed.vote.phase == Phase::Prepare => {
            let signature = liar.vote_key().sign(&signed.vote.message());
            let certificate = |digest| Certificate {
                vote: Vote { digest, ..signed.vote },
                signers: all,
                signature,
            };
            let mut said = liar.to_all(&message);
            let digest = if liar.rng.chance(500) {
                signed.vote.digest
            } else {
                Digest([liar.rng.draw() as u8; 32])
            };
            said.extend(to_everybody(certificate(digest)));
            said
        }
        Message::Prepared(mut certificate) => {
            match liar.rng.range(0, 3) {
                0 => certificate.signature = bls::Signature([liar.rng.draw() as u8; 48]),
                1 => certificate.signers = [0; 32],
                _ => certificate.vote.view += 1,
            }
            liar.to_all(&Message::Prepared(certificate))
        }
        Message::Finalised(mut certificate) => {
            certificate.vote.digest = Digest([liar.rng.draw() as u8; 32]);
            liar.to_all(&Message::Finalised(certificate))
        }
        message => liar.to_all(&message),
    }
}

/// The members that a message goes to, of those that its sender takes for all.
pub fn receivers(world: &World, audience: &[NodeId], member: usize, to: To) -> Vec<usize> {
    match to {
        To::All => audience
            .iter()
            .filter_map(|node| world.member(node))
            .filter(|other| *other != member)
            .collect(),
        To::One(node) => world.member(&node).into_iter().collect(),
    }
}
