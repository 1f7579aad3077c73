//! An authenticated map: a compact sparse Merkle tree over 256-bit keys.
//!
//! A subtree with one entry is that entry's leaf, wherever it stands, so depth follows the logarithm
//! of the size and not the length of keys. Versions share their structure: an update copies one path.
//! A proof shows either that a key has a value or that it has none; both use the same [`MapProof`].
//! A whole map travels in [`ChunkProof`]s.

mod chunk;

pub use chunk::{ChunkLimits, ChunkProof};

use crate::{
    codec::BoundedVec,
    crypto::hash::{Context, hash},
    types::Digest,
};
use alloc::{sync::Arc, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Keys have 256 bits.
const DEPTH_MAX: usize = 256;
/// The digest of an empty subtree.
const EMPTY: Digest = Digest([0; 32]);

/// A map from 32-byte keys to values `V` that are committed to by their digests, with a root.
#[derive(Clone, Debug)]
pub struct Map<V> {
    root: Link<V>,
    len: usize,
}

type Link<V> = Option<Arc<Node<V>>>;

#[derive(Debug)]
enum Node<V> {
    Leaf { key: Digest, digest: Digest, value: Digest, item: V },
    Branch { left: Link<V>, right: Link<V>, digest: Digest },
}

impl<V> Default for Map<V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

/// The path from a key's place up to the root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MapProof {
    /// Siblings from the root downwards.
    siblings: BoundedVec<Digest, DEPTH_MAX>,
    /// The other leaf that stands in the key's place, where the key is absent and one does.
    other: Option<(Digest, Digest)>,
}

/// The proof does not lead to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to the trusted state root")]
pub struct BadProof;

impl<V: Clone> Map<V> {
    /// The digest that commits to all entries.
    pub fn root(&self) -> Digest {
        digest(&self.root)
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
        self.root = Some(insert(self.root.as_ref(), &Entry { key, digest, item }, 0, &mut self.len));
    }

    /// Sets the values of many keys, each committed to by its digest; of equal keys the last counts. The same as one after the other,
    /// but each node on their ways is made and hashed once.
    pub fn insert_all(&mut self, entries: impl IntoIterator<Item = (Digest, Digest, V)>) {
        let mut entries: Vec<_> = entries.into_iter().map(|(key, digest, item)| Entry { key, digest, item }).collect();
        entries.sort_by_key(|entry| entry.key);
        entries.dedup_by(|later, earlier| {
            let is_same = later.key == earlier.key;
            if is_same {
                core::mem::swap(later, earlier);
            }
            is_same
        });
        self.root = insert_all(self.root.as_ref(), &entries, 0, &mut self.len);
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &Digest) {
        if self.entry(key).is_some() {
            self.len -= 1;
            self.root = remove(self.root.as_ref(), key, 0);
        }
    }

    /// The value of a key.
    pub fn value(&self, key: &Digest) -> Option<&V> {
        self.entry(key).map(|(_, item)| item)
    }

    fn entry(&self, key: &Digest) -> Option<(Digest, &V)> {
        let (mut at, mut depth) = (self.root.as_ref(), 0);
        while let Some(node) = at {
            match &**node {
                Node::Leaf { key: k, value, item, .. } => return (k == key).then_some((*value, item)),
                Node::Branch { left, right, .. } => at = if bit(key, depth) { right } else { left }.as_ref(),
            }
            depth += 1;
        }
        None
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        items(&self.root)
    }

    /// Proves that a key has its value, or that it has none.
    pub fn prove(&self, key: &Digest) -> MapProof {
        let mut siblings = Vec::new();
        let (mut at, mut other) = (self.root.as_ref(), None);
        while let Some(node) = at {
            match &**node {
                Node::Leaf { key: k, value, .. } => {
                    other = (k != key).then_some((*k, *value));
                    break;
                }
                Node::Branch { left, right, .. } => {
                    let (inside, outside) = if bit(key, siblings.len()) { (right, left) } else { (left, right) };
                    siblings.push(digest(outside));
                    at = inside.as_ref();
                }
            }
        }
        MapProof { siblings: BoundedVec::truncated(siblings), other }
    }
}

impl MapProof {
    /// Checks that under `root` the key has this value's digest, or, with `None`, that it is absent.
    pub fn verify(&self, root: &Digest, key: &Digest, value: Option<Digest>) -> Result<(), BadProof> {
        let depth = self.siblings.len();
        let start = match (value, self.other) {
            (Some(value), None) => leaf_digest(key, &value),
            (None, None) => EMPTY,
            // Another leaf stands here: it must belong here, and must not be the key itself.
            (None, Some((k, v))) if k != *key && (0..depth).all(|i| bit(&k, i) == bit(key, i)) => leaf_digest(&k, &v),
            _ => return Err(BadProof),
        };
        let found = self.siblings.iter().enumerate().rev().fold(start, |inside, (depth, outside)| {
            if bit(key, depth) { branch_digest(outside, &inside) } else { branch_digest(&inside, outside) }
        });
        if found == *root { Ok(()) } else { Err(BadProof) }
    }
}

/// The values below a node, in the order of their keys.
fn items<V>(link: &Link<V>) -> impl Iterator<Item = &V> {
    let mut stack: Vec<&Arc<Node<V>>> = link.iter().collect();
    core::iter::from_fn(move || {
        loop {
            match &**stack.pop()? {
                Node::Leaf { item, .. } => return Some(item),
                Node::Branch { left, right, .. } => stack.extend(right.iter().chain(left)),
            }
        }
    })
}

struct Entry<V> {
    key: Digest,
    digest: Digest,
    item: V,
}

/// Puts an entry in its place. `len` counts it where its key is new.
fn insert<V: Clone>(node: Option<&Arc<Node<V>>>, entry: &Entry<V>, depth: usize, len: &mut usize) -> Arc<Node<V>> {
    let (mut left, mut right) = match node.map(|n| &**n) {
        None => {
            *len += 1;
            return leaf(entry);
        }
        Some(Node::Leaf { key, .. }) if *key == entry.key => return leaf(entry),
        // Split: push the old leaf one level down and try again there.
        Some(Node::Leaf { key, .. }) if bit(key, depth) => (None, node.cloned()),
        Some(Node::Leaf { .. }) => (node.cloned(), None),
        Some(Node::Branch { left, right, .. }) => (left.clone(), right.clone()),
    };
    let side = if bit(&entry.key, depth) { &mut right } else { &mut left };
    *side = Some(insert(side.as_ref(), entry, depth + 1, len));
    branch(left, right)
}

/// Puts entries, which are in the order of their keys, in their places. `len` counts those whose keys are new.
fn insert_all<V: Clone>(node: Option<&Arc<Node<V>>>, entries: &[Entry<V>], depth: usize, len: &mut usize) -> Link<V> {
    match entries {
        [] => return node.cloned(),
        [entry] => return Some(insert(node, entry, depth, len)),
        _ => {}
    }
    let (left, right) = match node.map(|n| &**n) {
        None => (None, None),
        // Split, as above. If it is one of the keys, it meets its entry further down.
        Some(Node::Leaf { key, .. }) if bit(key, depth) => (None, node.cloned()),
        Some(Node::Leaf { .. }) => (node.cloned(), None),
        Some(Node::Branch { left, right, .. }) => (left.clone(), right.clone()),
    };
    let (of_left, of_right) = entries.split_at(entries.partition_point(|entry| !bit(&entry.key, depth)));
    let left = insert_all(left.as_ref(), of_left, depth + 1, len);
    let right = insert_all(right.as_ref(), of_right, depth + 1, len);
    Some(branch(left, right))
}

fn remove<V: Clone>(node: Option<&Arc<Node<V>>>, key: &Digest, depth: usize) -> Link<V> {
    match &**node? {
        Node::Leaf { key: k, .. } => (k != key).then(|| node.cloned()).flatten(),
        Node::Branch { left, right, .. } => {
            let (mut left, mut right) = (left.clone(), right.clone());
            let side = if bit(key, depth) { &mut right } else { &mut left };
            *side = remove(side.as_ref(), key, depth + 1);
            match (&left, &right) {
                (None, None) => None,
                // A lone leaf moves up, so that equal contents have one shape.
                (Some(only), None) | (None, Some(only)) if matches!(**only, Node::Leaf { .. }) => Some(only.clone()),
                _ => Some(branch(left, right)),
            }
        }
    }
}

fn leaf<V: Clone>(entry: &Entry<V>) -> Arc<Node<V>> {
    let Entry { key, digest: value, item } = entry;
    Arc::new(Node::Leaf { key: *key, value: *value, digest: leaf_digest(key, value), item: item.clone() })
}

fn branch<V>(left: Link<V>, right: Link<V>) -> Arc<Node<V>> {
    let digest = branch_digest(&digest(&left), &digest(&right));
    Arc::new(Node::Branch { left, right, digest })
}

fn digest<V>(node: &Link<V>) -> Digest {
    match node.as_deref() {
        None => EMPTY,
        Some(Node::Leaf { digest, .. } | Node::Branch { digest, .. }) => *digest,
    }
}

fn leaf_digest(key: &Digest, value: &Digest) -> Digest {
    pair(Context::StateLeaf, key, value)
}

fn branch_digest(left: &Digest, right: &Digest) -> Digest {
    pair(Context::StateNode, left, right)
}

fn pair(context: Context, a: &Digest, b: &Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&a.0);
    bytes[32..].copy_from_slice(&b.0);
    hash(context, &bytes)
}

/// Bit `i` of a key, the most significant first.
fn bit(key: &Digest, i: usize) -> bool {
    key.0.get(i / 8).is_some_and(|byte| byte >> (7 - i % 8) & 1 == 1)
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
                prop_assert_eq!(proof.verify(&root, &k, Some(Digest([255; 32]))).is_ok(), value == Some(Digest([255; 32])));
                prop_assert_eq!(proof.verify(&Digest([9; 32]), &k, value), Err(BadProof));
            }
        }
    }

    proptest! {
        #[test]
        fn many_at_once_are_the_same_as_one_after_the_other(before: Vec<(u16, u8)>, batches: Vec<Vec<(u16, u8)>>) {
            let mut one_by_one = Map::default();
            before.iter().for_each(|(k, v)| one_by_one.insert(key(*k), Digest([*v; 32]), *v));
            let mut at_once = one_by_one.clone();
            for batch in batches {
                batch.iter().for_each(|(k, v)| one_by_one.insert(key(*k), Digest([*v; 32]), *v));
                at_once.insert_all(batch.iter().map(|(k, v)| (key(*k), Digest([*v; 32]), *v)));
                prop_assert_eq!((at_once.root(), at_once.len()), (one_by_one.root(), one_by_one.len()));
                prop_assert_eq!(at_once.values().collect::<Vec<_>>(), one_by_one.values().collect::<Vec<_>>());
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
