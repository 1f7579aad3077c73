//! Computes leaders anew from docs/format.md, without the ledger's own code. A fault in that code
//! would affect every host and every light client alike, so a comparison of hosts would not show
//! it.

use tequio_core::{
    crypto::hash::{HashContext, hash},
    ledger::{Committee, Header},
    types::{ChainId, Digest},
};

/// Returns the seed of the first term.
pub fn first_seed(chain: &ChainId) -> Digest {
    hash(HashContext::Seed, &chain.0)
}

/// Returns the seed of the header after this one, or nothing if this header's proof is invalid.
pub fn seed_after(header: &Header) -> Option<Digest> {
    let Some(proof) = &header.proof else { return Some(header.seed) };
    let output = proof.output().ok()?;
    Some(hash(HashContext::Seed, &[&header.seed.0[..], &output.0[..]].concat()))
}

/// Returns the error in a header's leader, seed or proof, given the seed of its term.
pub fn header_error(header: &Header, committee: &Committee, seed: &Digest) -> Option<&'static str> {
    if header.seed != *seed {
        return Some("its seed is not the seed of its leader term");
    }
    let seat = leader(committee, header);
    if committee.seats()[seat].node != header.proposer {
        return Some("is of a proposer that does not lead the view");
    }
    let Some(proof) = &header.proof else { return None };
    let message = [&header.chain.0[..], &header.height.to_le_bytes(), &header.seed.0].concat();
    let name = HashContext::SeedProof.name();
    let input = [&(name.len() as u32).to_le_bytes()[..], name.as_bytes(), &message].concat();
    let holds = committee.vrf_key(seat).is_some_and(|key| key.verify(&input, proof).is_ok());
    (!holds).then_some("contains a proof that is not its proposer's")
}

/// Returns the seat that is drawn for the header's view.
fn leader(committee: &Committee, header: &Header) -> usize {
    let mut left: Vec<(usize, u128)> =
        committee.seats().iter().map(|seat| u128::from(seat.weight)).enumerate().collect();
    let view = header.view % left.len() as u64;
    for draw in 0u64.. {
        let drawn =
            [&header.seed.0[..], &header.height.to_le_bytes(), &draw.to_le_bytes()].concat();
        let drawn =
            u128::from_le_bytes(*hash(HashContext::Leader, &drawn).0.first_chunk().unwrap());
        let mut slot = drawn % left.iter().map(|(_, weight)| weight).sum::<u128>();
        let at = left.iter().position(|(_, weight)| {
            let is_here = slot < *weight;
            slot = slot.saturating_sub(*weight);
            is_here
        });
        let (seat, _) = left.remove(at.unwrap());
        if draw == view {
            return seat;
        }
    }
    unreachable!("every view has a leader")
}
