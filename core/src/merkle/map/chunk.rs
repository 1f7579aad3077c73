//! A map in chunks: all entries below one node of the tree, with a proof that they are complete.
//!
//! A client fetches a whole map in the order of its keys: each chunk begins where the last one
//! ended, and the server chooses the size of its subtree. Refused: a chunk that lacks an entry, has
//! one too many or a changed one, is out of order, or belongs to another position. Accepted chunks
//! are nodes of the real tree, so fetching ends.

use super::{
    BadProof, Map,
    digest::{DEPTH_MAX, EMPTY, bit, branch_digest, leaf_digest},
    node::{Node, NodeRef},
};
use crate::{codec::BoundedVec, types::Digest};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// The path from a subtree up to the root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ChunkProof {
    /// Siblings from the root downwards. Their number is the depth of the subtree.
    siblings: BoundedVec<Digest, DEPTH_MAX>,
}

/// Limits of a chunk. One entry always fits, so that each chunk makes progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Most entries.
    pub count_max: usize,
    /// Most bytes of all values.
    pub len_max: usize,
}

impl<V> Map<V> {
    /// The largest subtree that begins at key `from` and fits; `len` gives the length of a value.
    /// `None` if no subtree begins there: then `from` is not the end of a chunk of this map.
    pub fn chunk(
        &self,
        from: &Digest,
        limits: ChunkLimits,
        len: impl Fn(&V) -> usize,
    ) -> Option<(Vec<&V>, ChunkProof)> {
        // The siblings on the path to `from`, from the root downwards.
        let mut node = self.root_node();
        let mut siblings: Vec<NodeRef<'_, V>> = Vec::new();
        while let Node::Branch(left, right) = node.resolve() {
            let (inside, outside) =
                if bit(from, siblings.len()) { (right, left) } else { (left, right) };
            siblings.push(outside);
            node = inside;
        }
        let highest = alignment(from);
        if siblings.len() < highest {
            return None;
        }
        let mut values: Vec<&V> = node.items().collect();
        let mut len_sum: usize = values.iter().map(|v| len(v)).sum();
        // Upwards while `from` is still the first key below the node: then the path goes left, and
        // the sibling comes after.
        while siblings.len() > highest {
            let count_before = values.len();
            for value in siblings.last()?.items() {
                len_sum = len_sum.saturating_add(len(value));
                values.push(value);
                if values.len() > limits.count_max || len_sum > limits.len_max {
                    values.truncate(count_before);
                    return Some((values, ChunkProof::new(&siblings)));
                }
            }
            siblings.pop();
        }
        Some((values, ChunkProof::new(&siblings)))
    }
}

impl ChunkProof {
    fn new<V>(siblings: &[NodeRef<'_, V>]) -> Self {
        Self { siblings: BoundedVec::truncated(siblings.iter().map(|node| node.digest())) }
    }

    /// Checks that `leaves`, keys with their values' digests, are all entries of the subtree that
    /// begins at `from`. Returns the key at which the next one begins, or `None` after the last.
    pub fn verify(
        &self,
        root: &Digest,
        from: &Digest,
        leaves: &[(Digest, Digest)],
    ) -> Result<Option<Digest>, BadProof> {
        let depth = self.siblings.len();
        let is_ascending = leaves.iter().zip(leaves.iter().skip(1)).all(|((a, _), (b, _))| a < b);
        let is_inside =
            leaves.iter().all(|(key, _)| (0..depth).all(|i| bit(key, i) == bit(from, i)));
        if alignment(from) > depth || !is_ascending || !is_inside {
            return Err(BadProof);
        }
        let start = subtree(leaves, depth);
        let found =
            self.siblings.iter().enumerate().rev().fold(start, |inside, (depth, outside)| {
                if bit(from, depth) {
                    branch_digest(outside, &inside)
                } else {
                    branch_digest(&inside, outside)
                }
            });
        if found == *root { Ok(after(from, depth)) } else { Err(BadProof) }
    }
}

/// Length of the shortest prefix after which a key has only zero bits: the least depth of a subtree
/// that begins there.
fn alignment(key: &Digest) -> usize {
    (0..DEPTH_MAX).rev().find(|i| bit(key, *i)).map_or(0, |last| last + 1)
}

/// The digest of a subtree that holds exactly these leaves, which ascend and share their first
/// `depth` bits.
fn subtree(leaves: &[(Digest, Digest)], depth: usize) -> Digest {
    match leaves {
        [] => EMPTY,
        [(key, value)] => leaf_digest(key, value),
        _ => {
            let (left, right) =
                leaves.split_at(leaves.partition_point(|(key, _)| !bit(key, depth)));
            branch_digest(&subtree(left, depth + 1), &subtree(right, depth + 1))
        }
    }
}

/// The first key after all that share `depth` bits with `from`.
fn after(from: &Digest, depth: usize) -> Option<Digest> {
    let mut next = *from;
    for i in (0..depth).rev() {
        let byte = next.0.get_mut(i / 8)?;
        let mask = 1u8 << (7 - i % 8);
        *byte ^= mask;
        if *byte & mask != 0 {
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: ChunkLimits = ChunkLimits { count_max: 4, len_max: 4 };

    /// Some keys share long prefixes, most do not.
    fn key(n: u16) -> Digest {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        if n.is_multiple_of(3) {
            key[0] = 7;
            key[31] = n as u8;
        }
        Digest(key)
    }

    fn map(keys: impl IntoIterator<Item = u16>) -> Map<(Digest, Digest)> {
        let mut map = Map::default();
        for n in keys {
            let value = Digest([n as u8; 32]);
            map.insert(key(n), value, (key(n), value));
        }
        map
    }

    type Chunk = (Digest, Vec<(Digest, Digest)>, ChunkProof);

    /// All chunks from the first key to the end, each verified.
    fn all_chunks(map: &Map<(Digest, Digest)>, limits: ChunkLimits) -> Vec<Chunk> {
        let (mut chunks, mut next) = (Vec::new(), Some(Digest([0; 32])));
        while let Some(from) = next {
            let (leaves, proof) = map.chunk(&from, limits, |_| 1).unwrap();
            let leaves: Vec<_> = leaves.into_iter().copied().collect();
            next = proof.verify(&map.root(), &from, &leaves).unwrap();
            chunks.push((from, leaves, proof));
        }
        chunks
    }

    proptest! {
        #[test]
        fn chunks_give_every_entry_once_and_in_order(keys: Vec<u16>, count_max in 1usize..9) {
            let map = map(keys);
            let chunks = all_chunks(&map, ChunkLimits { count_max, len_max: 100 });
            let found = chunks.iter().flat_map(|(_, leaves, _)| leaves.iter().copied());
            prop_assert_eq!(found.collect::<Vec<_>>(), map.values().copied().collect::<Vec<_>>());
            prop_assert!(chunks.iter().all(|(_, leaves, _)| leaves.len() <= count_max));
            prop_assert!(chunks.len() <= 4 * map.len() * 16 + 1);
        }

        #[test]
        fn the_root_is_that_of_a_binary_tree_of_all_leaves(keys: Vec<u16>, removed in 0usize..20) {
            let mut map = map(keys);
            let keys: Vec<Digest> = map.values().map(|(key, _)| *key).collect();
            for key in keys.iter().step_by(3).take(removed) {
                map.remove(key);
            }
            let leaves: Vec<_> = map.values().copied().collect();
            prop_assert_eq!(map.root(), subtree(&leaves, 0));
        }

        #[test]
        fn a_chunk_that_lacks_adds_or_changes_anything_is_refused(
            keys in proptest::collection::vec(any::<u16>(), 8..60),
        ) {
            let map = map(keys);
            let root = map.root();
            let chunks = all_chunks(&map, SMALL);
            for (i, (from, leaves, proof)) in chunks.iter().enumerate() {
                for at in 0..leaves.len() {
                    let mut missing = leaves.clone();
                    missing.remove(at);
                    prop_assert_eq!(proof.verify(&root, from, &missing), Err(BadProof));
                    let mut twice = leaves.clone();
                    twice.insert(at, leaves[at]);
                    prop_assert_eq!(proof.verify(&root, from, &twice), Err(BadProof));
                    let mut changed = leaves.clone();
                    changed[at].1.0[9] ^= 1;
                    prop_assert_eq!(proof.verify(&root, from, &changed), Err(BadProof));
                    let mut moved = leaves.clone();
                    moved[at].0.0[31] ^= 0x80;
                    prop_assert_eq!(proof.verify(&root, from, &moved), Err(BadProof));
                }
                let mut extra = leaves.clone();
                let mut inside = *from;
                inside.0[30] |= 0x55;
                extra.push((inside, Digest([1; 32])));
                extra.sort_unstable();
                prop_assert_eq!(proof.verify(&root, from, &extra), Err(BadProof));
                // A chunk of another position, with its own proof or with this one.
                for (j, (other, others, other_proof)) in chunks.iter().enumerate() {
                    if i != j {
                        let is_ok = proof.verify(&root, from, others).is_ok();
                        prop_assert_eq!(is_ok, others == leaves);
                        let is_err = other_proof.verify(&root, from, others).is_err();
                        prop_assert!(is_err || other_proof == proof);
                        prop_assert!(other != from);
                    }
                }
                prop_assert_eq!(proof.verify(&Digest([3; 32]), from, leaves), Err(BadProof));
                let mut unaligned = *from;
                unaligned.0[31] |= 1;
                prop_assert_eq!(proof.verify(&root, &unaligned, leaves), Err(BadProof));
            }
        }
    }

    #[test]
    fn no_chunk_begins_inside_a_leaf() {
        let map = map([1]);
        assert!(map.chunk(&key(2), SMALL, |_| 1).is_none());
        assert_eq!(all_chunks(&map, SMALL).len(), 1);
        assert_eq!(all_chunks(&super::tests::map([]), SMALL).len(), 1);
    }

    #[test]
    fn a_value_above_the_limit_is_a_chunk_of_its_own() {
        let map = map(0..20);
        let (leaves, _) = map.chunk(&Digest([0; 32]), SMALL, |_| 1000).unwrap();
        assert!(leaves.len() <= 1);
    }
}
