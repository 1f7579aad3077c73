//! Random orders of nodes that every replica computes alike.

use crate::{
    crypto::hash::{HashContext, hash_of},
    types::{Digest, NodeId},
};
use alloc::vec::Vec;

/// Shuffles nodes by a seed that was unpredictable when they registered.
pub fn seeded_shuffle(
    context: HashContext,
    seed: &Digest,
    salt: &Digest,
    nodes: impl IntoIterator<Item = NodeId>,
) -> Vec<NodeId> {
    let mut ranked: Vec<(Digest, NodeId)> =
        nodes.into_iter().map(|node| (hash_of(context, &(seed, salt, node)), node)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, node)| node).collect()
}
