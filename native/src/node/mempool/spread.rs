//! To whom new transactions are passed on. A node tells what clients have brought, or is its own, to all full nodes that it
//! is connected with; what full nodes have told it, it tells a few of them, chosen anew for each batch.
//!
//! So each node gets about [`FANOUT`] copies, however many nodes there are, in place of one from everybody. Where the first
//! node reaches all, the others' copies only make up for losses. Where it does not, this is a rumour that everybody
//! tells once to [`FANOUT`] others: a share *m* of the nodes with *m* = e^(-FANOUT·(1-m)) misses it, 3 in 10,000, or 5 in
//! 1,000 while a third of the nodes tell nothing (Kermarrec, Massoulié and Ganesh, *Probabilistic Reliable
//! Dissemination in Large-Scale Systems*, 2003). A node that misses it sees it in a block.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
};
use tequio_core::types::NodeId;

/// Full nodes that hear of what another one has told.
pub const FANOUT: usize = 8;

/// Who is told of one batch.
#[derive(Debug)]
pub struct Spread {
    full_nodes: BTreeSet<NodeId>,
    chosen: BTreeSet<NodeId>,
}

impl Spread {
    /// Among the full nodes that are connected now.
    pub fn among(full_nodes: &[NodeId]) -> Self {
        // Each of these has other keys, which nobody else knows: a peer cannot see to it that it is always chosen, or never.
        let random = RandomState::new();
        let chosen = ranked(full_nodes, |peer| random.hash_one(peer.0));
        Self { full_nodes: full_nodes.iter().copied().collect(), chosen }
    }

    /// Whether a full node is told of a transaction that this one has brought; nobody, where it is this node's own or came
    /// over HTTP.
    pub fn tells(&self, peer: &NodeId, from: Option<&NodeId>) -> bool {
        match from {
            Some(from) if self.full_nodes.contains(from) => from != peer && self.chosen.contains(peer),
            _ => true,
        }
    }
}

fn ranked(peers: &[NodeId], rank: impl Fn(&NodeId) -> u64) -> BTreeSet<NodeId> {
    let mut peers = peers.to_vec();
    peers.sort_by_cached_key(rank);
    peers.into_iter().take(FANOUT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn told(peers: &[NodeId], from: Option<NodeId>) -> usize {
        let spread = Spread::among(peers);
        peers.iter().filter(|peer| spread.tells(peer, from.as_ref())).count()
    }

    #[test]
    fn all_hear_of_what_clients_bring_and_few_of_what_others_tell() {
        let peers: Vec<_> = (0..50).map(node).collect();
        assert_eq!(told(&peers, None), 50);
        assert_eq!(told(&peers, Some(node(99))), 50, "a browser, say: nobody else tells it further");
        let by_another = told(&peers, Some(node(7)));
        assert!((FANOUT - 1..=FANOUT).contains(&by_another), "{by_another}: not the one that told it");
        // A small network is told as a whole.
        assert_eq!(told(&peers[..FANOUT], Some(node(7))), FANOUT - 1);
        assert_eq!(told(&[], None), 0);
    }

    #[test]
    fn a_rumour_that_starts_at_one_node_reaches_nearly_all_with_few_copies() {
        const NODES: u8 = 50;
        let fixed = BuildHasherDefault::<DefaultHasher>::default();
        let (mut missed, mut copies) = (0, 0);
        let rumours = 1000_u64;
        for rumour in 0..rumours {
            let mut knows = BTreeSet::from([0]);
            let mut telling = vec![0];
            while let Some(teller) = telling.pop() {
                let peers: Vec<_> = (0..NODES).filter(|n| *n != teller).map(node).collect();
                for told in ranked(&peers, |peer| fixed.hash_one((rumour, teller, peer.0))) {
                    copies += 1;
                    if knows.insert(told.0[0]) {
                        telling.push(told.0[0]);
                    }
                }
            }
            missed += u64::from(NODES) - knows.len() as u64;
        }
        assert!(copies <= rumours * u64::from(NODES) * FANOUT as u64);
        assert!(missed * 1000 < rumours * u64::from(NODES), "{missed} of {}", rumours * u64::from(NODES));
    }
}
