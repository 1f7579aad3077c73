//! Invalid and conflicting blocks, certificates and messages.

use super::sender::{ByzantineSender, Outgoing};
use tequio_core::{
    codec::BoundedVec,
    crypto::bls,
    ledger::{Block, Certificate, Phase, Vote, block::transactions_root, leader, leader_seed},
    types::Digest,
    wire::consensus::{Message, Proposal, SignedVote},
};

/// A nonce that no client reaches.
const UNSENT_NONCE: u64 = 1 << 40;

/// Makes another block that is equally valid: one millisecond later.
pub(super) fn conflicting_block(block: &Block) -> Block {
    let mut block = block.clone();
    block.header.time_ms += 1;
    block
}

pub(super) fn corrupt_block(sender: &mut ByzantineSender<'_>, mut block: Block) -> Block {
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
pub(super) fn corrupt_seed(sender: &mut ByzantineSender<'_>, mut block: Block) -> Block {
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
pub(super) fn gains_leadership(sender: &ByzantineSender<'_>, block: &Block) -> bool {
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
pub(super) fn impersonated(sender: &mut ByzantineSender<'_>, message: Message) -> Message {
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

pub(super) fn forge(sender: &mut ByzantineSender<'_>, message: Message) -> Outgoing {
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
pub(super) fn forge_certificate(sender: &mut ByzantineSender<'_>, message: Message) -> Outgoing {
    let mut all = [0; 32];
    (0..sender.fixture.seats()).for_each(|seat| all[seat / 8] |= 1 << (seat % 8));
    let everyone: Vec<usize> =
        (0..sender.fixture.keys.len()).filter(|member| *member != sender.seat).collect();
    let to_everyone = |certificate: Certificate| {
        let message = Message::PrepareCertificate(certificate);
        everyone.iter().map(move |to| (*to, message.clone())).collect::<Outgoing>()
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
            outgoing.extend(to_everyone(certificate(digest)));
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
