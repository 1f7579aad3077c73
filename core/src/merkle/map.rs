//! An authenticated map: a compact sparse Merkle tree over 256-bit keys.
//!
//! A subtree with one entry is that entry's leaf, at any depth, so depth follows the logarithm of
//! the size and not the length of keys. Versions share their structure: an update copies one path.
//! A proof shows either that a key has a value or that it has none; both use the same [`MapProof`].
//! A whole map travels in [`ChunkProof`]s. Module `node` defines the layout in memory.

mod chunk;
mod digest;
mod node;

pub use chunk::{ChunkLimits, ChunkProof};
pub use node::Leaf;

use crate::{codec::BoundedVec, types::Digest};
use alloc::{sync::Arc, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};
use digest::{DEPTH_MAX, EMPTY, bit, branch_digest, leaf_digest};
use node::{Link, Node, NodeRef};

/// A map from 32-byte keys to values `V` that are committed to by their digests, with a root.
#[derive(Debug)]
pub struct Map<V> {
    root: Link<V>,
    len: usize,
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self { root: Link::Empty, len: 0 }
    }
}

impl<V> Clone for Map<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

/// The path from a key's position up to the root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MapProof {
    /// Siblings from the root downwards.
    siblings: BoundedVec<Digest, DEPTH_MAX>,
    /// The other leaf in the key's position, if the key is absent and there is one.
    other: Option<(Digest, Digest)>,
}

/// The proof does not lead to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to the trusted state root")]
pub struct BadProof;

impl<V> Map<V> {
    /// The digest that commits to all entries.
    pub fn root(&self) -> Digest {
        self.root_node().digest()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the value of a key, committed to by `digest`.
    pub fn insert(&mut self, key: Digest, digest: Digest, item: V) {
        self.insert_all([Arc::new(Leaf::new(key, digest, item))]);
    }

    /// Sets the values of many keys; of equal keys the last counts. Equivalent to single inserts,
    /// but each node on their paths is created and hashed once.
    pub fn insert_all(&mut self, leaves: impl IntoIterator<Item = Arc<Leaf<V>>>) {
        let mut leaves: Vec<_> = leaves.into_iter().collect();
        leaves.sort_by_key(|leaf| *leaf.key());
        leaves.dedup_by(|later, earlier| {
            let is_same = later.key() == earlier.key();
            if is_same {
                core::mem::swap(later, earlier);
            }
            is_same
        });
        self.root = self.root.with(&leaves, 0, &mut self.len);
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &Digest) {
        if self.value(key).is_some() {
            self.len -= 1;
            self.root = self.root.without(key, 0);
        }
    }

    /// The value of a key.
    pub fn value(&self, key: &Digest) -> Option<&V> {
        self.root.find(key).map(Leaf::item)
    }

    /// The existing values of many keys, in the order of `keys`. Faster than single lookups where
    /// the map exceeds the processor's caches.
    pub fn values_of(&self, keys: &[Digest]) -> impl Iterator<Item = &V> {
        self.root.find_all(keys).map(Leaf::item)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.root_node().items()
    }

    /// Proves that a key has its value, or that it has none.
    pub fn prove(&self, key: &Digest) -> MapProof {
        let mut siblings = Vec::new();
        let mut node = self.root_node();
        let other = loop {
            match node.resolve() {
                Node::Empty => break None,
                Node::Leaf(leaf) => {
                    break (leaf.key() != key).then(|| (*leaf.key(), *leaf.value()));
                }
                Node::Branch(left, right) => {
                    let (inside, outside) =
                        if bit(key, siblings.len()) { (right, left) } else { (left, right) };
                    siblings.push(outside.digest());
                    node = inside;
                }
            }
        };
        MapProof { siblings: BoundedVec::truncated(siblings), other }
    }

    fn root_node(&self) -> NodeRef<'_, V> {
        NodeRef::of(&self.root)
    }
}

impl MapProof {
    /// Checks that under `root` the key has this value's digest, or, with `None`, that it is
    /// absent.
    pub fn verify(
        &self,
        root: &Digest,
        key: &Digest,
        value: Option<Digest>,
    ) -> Result<(), BadProof> {
        let depth = self.siblings.len();
        let start = match (value, self.other) {
            (Some(value), None) => leaf_digest(key, &value),
            (None, None) => EMPTY,
            // Another leaf is here: it must belong here, and must not be the key itself.
            (None, Some((k, v))) if k != *key && (0..depth).all(|i| bit(&k, i) == bit(key, i)) => {
                leaf_digest(&k, &v)
            }
            _ => return Err(BadProof),
        };
        let found =
            self.siblings.iter().enumerate().rev().fold(start, |inside, (depth, outside)| {
                if bit(key, depth) {
                    branch_digest(outside, &inside)
                } else {
                    branch_digest(&inside, outside)
                }
            });
        if found == *root { Ok(()) } else { Err(BadProof) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    /// Keys that share long prefixes, so that paths are deep.
    fn key(n: u16) -> Digest {
        let mut key = [0; 32];
        key[0] = (n >> 8) as u8 & 0x81;
        key[31] = n as u8;
        Digest(key)
    }

    proptest! {
        #[test]
        fn shape_follows_contents_and_proofs_hold(ops: Vec<(u16, Option<u8>)>, probe: u16) {
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            for (k, v) in ops {
                match v.map(|v| Digest([v; 32])) {
                    Some(v) => { map.insert(key(k), v, v); model.insert(key(k), v); }
                    None => { map.remove(&key(k)); model.remove(&key(k)); }
                }
            }
            let mut again = Map::default();
            for (k, v) in model.iter().rev() { again.insert(*k, *v, *v); }
            prop_assert_eq!(map.values().collect::<Vec<_>>(), model.values().collect::<Vec<_>>());
            prop_assert_eq!(map.root(), again.root());
            prop_assert_eq!(map.len(), model.len());
            let root = map.root();
            for k in model.keys().copied().chain([key(probe)]) {
                let (proof, value) = (map.prove(&k), model.get(&k).copied());
                prop_assert_eq!(proof.verify(&root, &k, value), Ok(()));
                let wrong = match value { Some(_) => None, None => Some(Digest([1; 32])) };
                prop_assert_eq!(proof.verify(&root, &k, wrong), Err(BadProof));
                let other = Some(Digest([255; 32]));
                prop_assert_eq!(proof.verify(&root, &k, other).is_ok(), value == other);
                prop_assert_eq!(proof.verify(&Digest([9; 32]), &k, value), Err(BadProof));
            }
        }
    }

    proptest! {
        #[test]
        fn a_batch_of_changes_gives_the_same_map_as_single_changes(
            before: Vec<(u16, u8)>,
            batches in proptest::collection::vec(any::<Vec<(u16, u8)>>(), 0..5),
        ) {
            let mut one_by_one = Map::default();
            before.iter().for_each(|(k, v)| one_by_one.insert(key(*k), Digest([*v; 32]), *v));
            let mut at_once = one_by_one.clone();
            for batch in batches {
                batch.iter().for_each(|(k, v)| one_by_one.insert(key(*k), Digest([*v; 32]), *v));
                let leaf = |(k, v): &(u16, u8)| Leaf::new(key(*k), Digest([*v; 32]), *v);
                at_once.insert_all(batch.iter().map(leaf).map(Arc::new));
                prop_assert_eq!(at_once.root(), one_by_one.root());
                prop_assert_eq!(at_once.len(), one_by_one.len());
                let values = |map: &Map<u8>| map.values().copied().collect::<Vec<_>>();
                prop_assert_eq!(values(&at_once), values(&one_by_one));
            }
        }
    }

    #[test]
    fn versions_are_independent() {
        let mut old = Map::default();
        old.insert(key(1), Digest([1; 32]), 1);
        let mut new = old.clone();
        new.insert(key(1), Digest([2; 32]), 2);
        assert_eq!(old.value(&key(1)), Some(&1));
        assert_ne!(old.root(), new.root());
    }
}
