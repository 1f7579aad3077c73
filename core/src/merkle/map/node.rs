//! The nodes of the map's tree in memory.
//!
//! A [`Fork`] holds [`LEVELS`] levels of the tree: the links below them, and the digests of its
//! inner nodes. A path therefore has fewer nodes, and creating or dropping a version allocates or
//! frees fewer. Where the states of many blocks exceed the processor's caches, these dominate the
//! cost. The tree itself is unchanged: [`NodeRef`] shows it as binary, and a leaf that is alone in
//! a part of a fork is the root of that part.

use super::digest::{EMPTY, branch_digest, leaf_digest};
use crate::types::Digest;
use alloc::{sync::Arc, vec::Vec};

/// Levels of the tree in one fork. Divides 8, so that a fork's part of a key is within one byte.
const LEVELS: usize = 2;
/// Links below a fork.
const WIDTH: usize = 1 << LEVELS;

/// An entry of the map.
#[derive(Debug)]
pub struct Leaf<V> {
    key: Digest,
    value: Digest,
    digest: Digest,
    item: V,
}

/// The content below a fork, or of the root: a fork wherever there are two entries or more.
#[derive(Debug)]
pub(super) enum Link<V> {
    Empty,
    Leaf(Arc<Leaf<V>>),
    Fork(Arc<Fork<V>>),
}

/// A part of the tree, from a depth that [`LEVELS`] divides down to the next one.
#[derive(Debug)]
pub(super) struct Fork<V> {
    /// Links by the next bits of their keys.
    links: [Link<V>; WIDTH],
    /// Digests of the inner nodes, level by level: the children of number `n` are `2n + 1` and
    /// `2n + 2`, where the links are numbered after the inner nodes.
    digests: [Digest; WIDTH - 1],
}

/// A node of the binary tree.
#[derive(Debug)]
pub(super) enum NodeRef<'m, V> {
    Link(&'m Link<V>),
    /// An inner node of a fork, and its number.
    Inside(&'m Fork<V>, usize),
}

/// The content of a node of the binary tree.
#[derive(Debug)]
pub(super) enum Node<'m, V> {
    Empty,
    Leaf(&'m Arc<Leaf<V>>),
    /// An inner node with its left and right child.
    Branch(NodeRef<'m, V>, NodeRef<'m, V>),
}

impl<V> Leaf<V> {
    /// The value of a key, committed to by its digest.
    pub fn new(key: Digest, value: Digest, item: V) -> Self {
        Self { key, value, digest: leaf_digest(&key, &value), item }
    }

    /// The key of the entry.
    pub fn key(&self) -> &Digest {
        &self.key
    }

    /// The value of the entry.
    pub fn item(&self) -> &V {
        &self.item
    }

    pub(super) fn value(&self) -> &Digest {
        &self.value
    }
}

impl<V> Clone for Link<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Fork(fork) => Self::Fork(fork.clone()),
        }
    }
}

impl<V> Link<V> {
    pub(super) fn find(&self, key: &Digest) -> Option<&Leaf<V>> {
        let (mut at, mut depth) = (self, 0);
        loop {
            match at {
                Self::Empty => return None,
                Self::Leaf(leaf) => return (leaf.key == *key).then_some(leaf),
                Self::Fork(fork) => at = &fork.links[slot(key, depth)],
            }
            depth += LEVELS;
        }
    }

    /// The existing leaves of many keys. All lookups go down together, one fork at a time, so that
    /// none waits for another's memory.
    pub(super) fn find_all(&self, keys: &[Digest]) -> impl Iterator<Item = &Leaf<V>> {
        let mut nodes: Vec<&Self> = keys.iter().map(|_| self).collect();
        let (mut depth, mut is_over) = (0, false);
        while !is_over {
            is_over = true;
            for (at, key) in nodes.iter_mut().zip(keys) {
                if let Self::Fork(fork) = at {
                    *at = &fork.links[slot(key, depth)];
                    is_over = false;
                }
            }
            depth += LEVELS;
        }
        nodes.into_iter().zip(keys).filter_map(|(at, key)| match at {
            Self::Leaf(leaf) if leaf.key == *key => Some(&**leaf),
            _ => None,
        })
    }

    /// A copy with these leaves, sorted by key, inserted. Adds the number of new keys to `len`.
    pub(super) fn with(&self, leaves: &[Arc<Leaf<V>>], depth: usize, len: &mut usize) -> Self {
        match (leaves, self) {
            ([], _) => return self.clone(),
            ([leaf], Self::Empty) => {
                *len += 1;
                return Self::Leaf(leaf.clone());
            }
            ([leaf], Self::Leaf(old)) if old.key == leaf.key => return Self::Leaf(leaf.clone()),
            _ => {}
        }
        let (mut rest, mut changed, empty) = (leaves, 0, Self::Empty);
        let links = core::array::from_fn(|at| {
            let (here, later) =
                rest.split_at(rest.partition_point(|leaf| slot(&leaf.key, depth) <= at));
            rest = later;
            let old = match self {
                Self::Fork(fork) => &fork.links[at],
                // The old leaf moves down. If it has one of the keys, it meets the new leaf there.
                Self::Leaf(old) if slot(&old.key, depth) == at => self,
                _ => &empty,
            };
            changed |= usize::from(!here.is_empty()) << at;
            old.with(here, depth + LEVELS, len)
        });
        Self::Fork(Arc::new(match self {
            Self::Fork(old) => Fork::new(links, old.digests, changed),
            _ => Fork::new(links, [EMPTY; WIDTH - 1], ALL),
        }))
    }

    /// A copy without the leaf of a key.
    pub(super) fn without(&self, key: &Digest, depth: usize) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf(leaf) if leaf.key == *key => Self::Empty,
            Self::Leaf(_) => self.clone(),
            Self::Fork(fork) => {
                let at = slot(key, depth);
                let mut links = fork.links.clone();
                links[at] = links[at].without(key, depth + LEVELS);
                // A lone leaf moves up, so that equal contents have one shape.
                match Occupancy::of(&links) {
                    Occupancy::Empty => Self::Empty,
                    Occupancy::Leaf(leaf) => Self::Leaf(leaf.clone()),
                    Occupancy::Many => {
                        Self::Fork(Arc::new(Fork::new(links, fork.digests, 1 << at)))
                    }
                }
            }
        }
    }
}

/// All links of a fork, as a set of bits.
const ALL: usize = (1 << WIDTH) - 1;

impl<V> Fork<V> {
    /// Computes the digests above the changed links, a set of bits; the others are already correct.
    fn new(links: [Link<V>; WIDTH], digests: [Digest; WIDTH - 1], changed: usize) -> Self {
        let mut fork = Self { links, digests };
        for number in (0..WIDTH - 1).rev() {
            let (first, count) = span(number);
            if changed >> first & ((1 << count) - 1) != 0 {
                fork.digests[number] = match NodeRef::Inside(&fork, number).resolve() {
                    Node::Empty => EMPTY,
                    Node::Leaf(leaf) => leaf.digest,
                    Node::Branch(left, right) => branch_digest(&left.digest(), &right.digest()),
                };
            }
        }
        fork
    }

    /// A node by its number; the links are numbered after the inner nodes.
    fn node(&self, number: usize) -> NodeRef<'_, V> {
        match number.checked_sub(WIDTH - 1) {
            None => NodeRef::Inside(self, number),
            Some(at) => NodeRef::Link(&self.links[at]),
        }
    }
}

impl<V> Clone for NodeRef<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for NodeRef<'_, V> {}

impl<'m, V> NodeRef<'m, V> {
    pub(super) fn of(link: &'m Link<V>) -> Self {
        Self::Link(link)
    }

    pub(super) fn digest(self) -> Digest {
        match self {
            Self::Link(Link::Empty) => EMPTY,
            Self::Link(Link::Leaf(leaf)) => leaf.digest,
            Self::Link(Link::Fork(fork)) => fork.digests[0],
            Self::Inside(fork, number) => fork.digests[number],
        }
    }

    pub(super) fn resolve(self) -> Node<'m, V> {
        let (fork, number) = match self {
            Self::Link(Link::Empty) => return Node::Empty,
            Self::Link(Link::Leaf(leaf)) => return Node::Leaf(leaf),
            Self::Link(Link::Fork(fork)) => (&**fork, 0),
            Self::Inside(fork, number) => (fork, number),
        };
        match Occupancy::of(self.links()) {
            Occupancy::Empty => Node::Empty,
            Occupancy::Leaf(leaf) => Node::Leaf(leaf),
            Occupancy::Many => Node::Branch(fork.node(2 * number + 1), fork.node(2 * number + 2)),
        }
    }

    /// The values below, in the order of their keys.
    pub(super) fn items(self) -> impl Iterator<Item = &'m V> {
        let mut stack: Vec<&Link<V>> = self.links().iter().rev().collect();
        core::iter::from_fn(move || {
            loop {
                match stack.pop()? {
                    Link::Empty => {}
                    Link::Leaf(leaf) => return Some(&leaf.item),
                    Link::Fork(fork) => stack.extend(fork.links.iter().rev()),
                }
            }
        })
    }

    /// The links below this node, or this one link.
    fn links(self) -> &'m [Link<V>] {
        match self {
            Self::Link(Link::Fork(fork)) => &fork.links,
            Self::Link(link) => core::slice::from_ref(link),
            Self::Inside(fork, number) => {
                let (first, count) = span(number);
                &fork.links[first..first + count]
            }
        }
    }
}

/// Whether a part of a fork has fewer than two entries.
enum Occupancy<'m, V> {
    Empty,
    Leaf(&'m Arc<Leaf<V>>),
    Many,
}

impl<'m, V> Occupancy<'m, V> {
    fn of(links: &'m [Link<V>]) -> Self {
        let mut lone = Self::Empty;
        for link in links {
            lone = match (link, lone) {
                (Link::Empty, lone) => lone,
                (Link::Leaf(leaf), Self::Empty) => Self::Leaf(leaf),
                _ => return Self::Many,
            };
        }
        lone
    }
}

/// The links below an inner node: the first one, and their number.
fn span(number: usize) -> (usize, usize) {
    let level = (number + 1).ilog2();
    let count = WIDTH >> level;
    ((number + 1 - (1 << level)) * count, count)
}

/// The index of the fork's link that leads to a key.
fn slot(key: &Digest, depth: usize) -> usize {
    let byte = key.0.get(depth / 8).copied().unwrap_or_default();
    usize::from(byte) >> (8 - LEVELS - depth % 8) & (WIDTH - 1)
}

const _: () = assert!(8 % LEVELS == 0);
