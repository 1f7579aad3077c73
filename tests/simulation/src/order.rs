//! Who leads, worked out anew from docs/format.md and from nothing of the ledger's own: a fault in
//! the one place that knows whose turn it is would be every host's and every light client's, and no
//! two of them would differ.

use tequio_core::{
    crypto::hash::{Context, hash},
    ledger::{Committee, Header},
    types::{ChainId, Digest},
};

/// The seed of the first term.
pub fn first_seed(chain: &ChainId) -> Digest {
    hash(Context::Seed, &chain.0)
}

/// The seed that the header after this one bears; none where this one bears a proof that says
/// nothing.
pub fn seed_after(header: &Header) -> Option<Digest> {
    let Some(proof) = &header.proof else { return Some(header.seed) };
    let output = proof.output().ok()?;
    Some(hash(Context::Seed, &[&header.seed.0[..], &output.0[..]].concat()))
}

/// What is wrong with a header's place in the order of leaders, if this is the seed of its term.
pub fn fault(header: &Header, committee: &Committee, seed: &Digest) -> Option<&'static str> {
    if header.seed != *seed {
        return Some("bears another seed than its term");
    }
    let seat = leader(committee, header);
    if committee.seats()[seat].node != header.proposer {
        return Some("is of a proposer whose turn it was not");
    }
    let Some(proof) = &header.proof else { return None };
    let place = [&header.chain.0[..], &header.height.to_le_bytes(), &header.seed.0].concat();
    let name = Context::SeedProof.name();
    let input = [&(name.len() as u32).to_le_bytes()[..], name.as_bytes(), &place].concat();
    let holds = committee.vrf_key(seat).is_some_and(|key| key.verify(&input, proof).is_ok());
    (!holds).then_some("bears a proof that is not its proposer's")
}

/// The seat drawn at the turn of the header's view.
fn leader(committee: &Committee, header: &Header) -> usize {
    let mut left: Vec<(usize, u128)> =
        committee.seats().iter().map(|seat| u128::from(seat.weight)).enumerate().collect();
    let turns = header.view % left.len() as u64;
    for turn in 0u64.. {
        let drawn =
            [&header.seed.0[..], &header.height.to_le_bytes(), &turn.to_le_bytes()].concat();
        let drawn = u128::from_le_bytes(*hash(Context::Leader, &drawn).0.first_chunk().unwrap());
        let mut slot = drawn % left.iter().map(|(_, weight)| weight).sum::<u128>();
        let at = left.iter().position(|(_, weight)| {
            let is_here = slot < *weight;
            slot = slot.saturating_sub(*weight);
            is_here
        });
        let (seat, _) = left.remove(at.unwrap());
        if turn == turns {
            return seat;
        }
    }
    unreachable!("every view has a turn")
}
