//! Liars. Each wraps a correct replica and rewrites what it says, so core needs no malicious switch.

use crate::{random::Rng, world::World};
use tequio_core::{
    codec::BoundedVec,
    consensus::To,
    crypto::bls,
    ledger::{Certificate, Vote},
    types::Digest,
    wire::consensus::{Message, Proposal, SignedVote},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Proposes blocks that do not hold.
    BadBlock,
    /// Floods with forged certificates, far heights and absurd views.
    Forge,
}

pub const LIES: [Lie; 8] = [
    Lie::Silence,
    Lie::Equivocate,
    Lie::ProposeTwice,
    Lie::BadShare,
    Lie::VoteTwice,
    Lie::HideLock,
    Lie::BadBlock,
    Lie::Forge,
];

/// What a seat says in place of a message, and to which seats.
pub fn rewrite(lie: Lie, world: &World, seat: usize, to: To, message: Message, rng: &mut Rng) -> Vec<(usize, Message)> {
    let (node_key, vote_key) = &world.keys[seat];
    let receivers = receivers(world, seat, to);
    let to_all = |message: &Message| receivers.iter().map(|to| (*to, message.clone())).collect::<Vec<_>>();
    let resigned = |vote: Vote| Message::Vote(SignedVote::sign(vote, vote_key));
    match (lie, message) {
        (Lie::Silence, _) => Vec::new(),
        (Lie::Equivocate, Message::Proposal(proposal)) => {
            let other = Message::Proposal(Proposal::sign(
                proposal.view,
                twin(&proposal),
                proposal.justification.clone(),
                node_key,
            ));
            let message = Message::Proposal(proposal);
            receivers.iter().map(|to| (*to, if to % 2 == 0 { message.clone() } else { other.clone() })).collect()
        }
        (Lie::Equivocate, Message::Vote(signed)) => {
            let other = resigned(Vote { digest: twin_digest(&signed.vote.digest), ..signed.vote });
            let message = Message::Vote(signed);
            receivers.iter().map(|to| (*to, if to % 2 == 0 { message.clone() } else { other.clone() })).collect()
        }
        (Lie::ProposeTwice, Message::Proposal(proposal)) => {
            let other = Proposal::sign(proposal.view, twin(&proposal), proposal.justification.clone(), node_key);
            [to_all(&Message::Proposal(proposal)), to_all(&Message::Proposal(other))].concat()
        }
        (Lie::BadShare, Message::Vote(signed)) => {
            let signature = match rng.chance(500) {
                true => bls::Signature([rng.next() as u8; 48]),
                false => vote_key.sign(b"something else"),
            };
            to_all(&Message::Vote(SignedVote { signature, ..signed }))
        }
        (Lie::VoteTwice, Message::Vote(signed)) => {
            let other = resigned(Vote { digest: twin_digest(&signed.vote.digest), ..signed.vote });
            let (first, second) =
                if rng.chance(500) { (Message::Vote(signed), other) } else { (other, Message::Vote(signed)) };
            [to_all(&first), to_all(&second)].concat()
        }
        (Lie::HideLock, Message::ViewChange { change, .. }) => {
            let mut change = change.change;
            change.prepared = None;
            to_all(&Message::ViewChange { change: change.sign(node_key), block: None })
        }
        (Lie::BadBlock, Message::Proposal(proposal)) => {
            let mut block = proposal.block.clone();
            match rng.range(0, 6) {
                0 => block.header.state = Digest([1; 32]),
                1 => block.header.transactions = Digest([2; 32]),
                2 => block.header.parent = Digest([3; 32]),
                3 => block.header.time_ms += 1_000_000,
                4 => block.header.proposer = world.keys[(seat + 1) % world.seats()].0.id(),
                _ => {
                    // A transaction whose signature is another's.
                    let mut forged = world.transaction(0, 0);
                    forged.signature = world.transaction(1, 0).signature;
                    block.transactions = BoundedVec::truncated([forged]);
                    block.header.transactions = tequio_core::ledger::block::transactions_root(&block.transactions);
                }
            }
            let proposal = Proposal::sign(proposal.view, block, proposal.justification, node_key);
            to_all(&Message::Proposal(proposal))
        }
        (Lie::Forge, message) => forge(message, vote_key, node_key, &to_all, rng),
        (_, message) => to_all(&message),
    }
}

fn forge(
    message: Message,
    vote_key: &bls::SecretKey,
    node_key: &tequio_core::crypto::NodeKey,
    to_all: &dyn Fn(&Message) -> Vec<(usize, Message)>,
    rng: &mut Rng,
) -> Vec<(usize, Message)> {
    let mut said = to_all(&message);
    match message {
        Message::Vote(signed) => {
            let mut vote = signed.vote;
            vote.view = rng.pick(&[vote.view + 1, vote.view + 3, u64::MAX]);
            vote.height = rng.pick(&[vote.height, vote.height + 1, vote.height + 2, u64::MAX]);
            vote.digest = Digest([rng.next() as u8; 32]);
            let signature = vote_key.sign(&vote.message());
            said.extend(to_all(&Message::Vote(SignedVote { vote, signature })));
            let certificate = Certificate { vote, signers: [0x0f; 32], signature };
            said.extend(to_all(&Message::Finalised(certificate)));
        }
        Message::ViewChange { change, block } => {
            let mut change = change.change;
            change.view = rng.pick(&[change.view + 1, u64::MAX]);
            let change = change.sign(node_key);
            said.extend(to_all(&Message::ViewChange { change, block }));
        }
        Message::Proposal(proposal) => {
            // A view that nobody has justified.
            let early = Proposal::sign(proposal.view + 4, proposal.block, None, node_key);
            said.extend(to_all(&Message::Proposal(early)));
        }
        Message::Finalised(_) => {}
    }
    said
}

pub fn receivers(world: &World, seat: usize, to: To) -> Vec<usize> {
    match to {
        To::All => (0..world.seats()).filter(|other| *other != seat).collect(),
        To::One(node) => world.start.committee.seat_of(&node).into_iter().collect(),
    }
}

/// Another block that is as valid: one millisecond later.
fn twin(proposal: &Proposal) -> tequio_core::ledger::Block {
    let mut block = proposal.block.clone();
    block.header.time_ms += 1;
    TWINS.with_borrow_mut(|twins| twins.push((proposal.block.header.digest(), block.header.digest())));
    block
}

fn twin_digest(digest: &Digest) -> Digest {
    TWINS.with_borrow(|twins| twins.iter().find(|(a, _)| a == digest).map_or(Digest([7; 32]), |(_, b)| *b))
}

thread_local! {
    /// Digests of the blocks of liars, so that they can vote for both.
    static TWINS: std::cell::RefCell<Vec<(Digest, Digest)>> = const { std::cell::RefCell::new(Vec::new()) };
}
