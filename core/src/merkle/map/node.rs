//! The nodes of the map's tree in memory.
//!
//! A [`Fork`] holds [`LEVELS`] levels of the tree at once: the links below them, and the digests of
//! its inner nodes. So a way down passes fewer nodes, and a version that is made or dropped makes
//! or frees fewer: where the states of many blocks are larger than the processor's caches, that is
//! what they cost. It changes nothing of the tree itself, which is binary for all who look at it
//! through [`Place`]: a leaf that is alone in a part of a fork stands at the top of that part.

use super::{EMPTY, branch_digest, leaf_digest};
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

/// What stands below a fork, or at the top: a fork wherever there are two entries or more.
#[derive(Debug)]
pub(super) enum Link<V> {
    Empty,
    Leaf(Arc<Leaf<V>>),
    Fork(Arc<Fork<V>>),
}

/// A part of the tree, from a depth that [`LEVELS`] divides down to the next one.
#[derive(Debug)]
pub(super) struct Fork<V> {
    /// By the next bits of their keys.
    links: [Link<V>; WIDTH],
    /// Of the inner nodes, level by level: those below number `n` are `2n + 1` and `2n + 2`, where
    /// the links are counted on after them.
    digests: [Digest; WIDTH - 1],
}

/// A node of the binary tree.
#[derive(Debug)]
pub(super) enum Place<'m, V> {
    Link(&'m Link<V>),
    /// An inner node of a fork, by its number.
    Inside(&'m Fork<V>, usize),
}

/// What a node of the binary tree is.
#[derive(Debug)]
pub(super) enum Seen<'m, V> {
    Empty,
    Leaf(&'m Arc<Leaf<V>>),
    /// With the nodes to its left and to its right.
    Branch(Place<'m, V>, Place<'m, V>),
}

impl<V> Leaf<V> {
    /// The value of a key, committed to by its digest.
    pub fn new(key: Digest, value: Digest, item: V) -> Self {
        Self { key, value, digest: leaf_digest(&key, &value), item }
    }

    /// Its place.
    pub fn key(&self) -> &Digest {
        &self.key
    }

    /// What stands there.
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

    /// The leaves of many keys, those that there are. All go down together, one fork at a time:
    /// none of them waits for another's memory, as they would one after the other.
    pub(super) fn find_all(&self, keys: &[Digest]) -> impl Iterator<Item = &Leaf<V>> {
        let mut ways: Vec<&Self> = keys.iter().map(|_| self).collect();
        let (mut depth, mut is_over) = (0, false);
        while !is_over {
            is_over = true;
            for (at, key) in ways.iter_mut().zip(keys) {
                if let Self::Fork(fork) = at {
                    *at = &fork.links[slot(key, depth)];
                    is_over = false;
                }
            }
            depth += LEVELS;
        }
        ways.into_iter().zip(keys).filter_map(|(at, key)| match at {
            Self::Leaf(leaf) if leaf.key == *key => Some(&**leaf),
            _ => None,
        })
    }

    /// With leaves, which are in the order of their keys, put in their places. `len` counts those
    /// whose keys are new.
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
                // It goes down. If it is one of the keys, it meets its leaf there.
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

    /// Without the leaf of a key.
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
                match Lone::of(&links) {
                    Lone::Empty => Self::Empty,
                    Lone::Leaf(leaf) => Self::Leaf(leaf.clone()),
                    Lone::Not => Self::Fork(Arc::new(Fork::new(links, fork.digests, 1 << at))),
                }
            }
        }
    }
}

/// All links of a fork, as a set of bits.
const ALL: usize = (1 << WIDTH) - 1;

impl<V> Fork<V> {
    /// Works out the digests above the changed links, a set of bits; the others are right already.
    fn new(links: [Link<V>; WIDTH], digests: [Digest; WIDTH - 1], changed: usize) -> Self {
        let mut fork = Self { links, digests };
        for number in (0..WIDTH - 1).rev() {
            let (first, count) = span(number);
            if changed >> first & ((1 << count) - 1) != 0 {
                fork.digests[number] = match Place::Inside(&fork, number).look() {
                    Seen::Empty => EMPTY,
                    Seen::Leaf(leaf) => leaf.digest,
                    Seen::Branch(left, right) => branch_digest(&left.digest(), &right.digest()),
                };
            }
        }
        fork
    }

    /// A node by its number, where the links are counted on after the inner nodes.
    fn node(&self, number: usize) -> Place<'_, V> {
        match number.checked_sub(WIDTH - 1) {
            None => Place::Inside(self, number),
            Some(at) => Place::Link(&self.links[at]),
        }
    }
}

impl<V> Clone for Place<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Place<'_, V> {}

impl<'m, V> Place<'m, V> {
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

    pub(super) fn look(self) -> Seen<'m, V> {
        let (fork, number) = match self {
            Self::Link(Link::Empty) => return Seen::Empty,
            Self::Link(Link::Leaf(leaf)) => return Seen::Leaf(leaf),
            Self::Link(Link::Fork(fork)) => (&**fork, 0),
            Self::Inside(fork, number) => (fork, number),
        };
        match Lone::of(self.links()) {
            Lone::Empty => Seen::Empty,
            Lone::Leaf(leaf) => Seen::Leaf(leaf),
            Lone::Not => Seen::Branch(fork.node(2 * number + 1), fork.node(2 * number + 2)),
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

    /// The links that are below, or this one.
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

/// Whether a part of a fork is less than a branch.
enum Lone<'m, V> {
    Empty,
    Leaf(&'m Arc<Leaf<V>>),
    Not,
}

impl<'m, V> Lone<'m, V> {
    fn of(links: &'m [Link<V>]) -> Self {
        let mut lone = Self::Empty;
        for link in links {
            lone = match (link, lone) {
                (Link::Empty, lone) => lone,
                (Link::Leaf(leaf), Self::Empty) => Self::Leaf(leaf),
                _ => return Self::Not,
            };
        }
        lone
    }
}

/// The links below an inner node: the first one, and how many.
fn span(number: usize) -> (usize, usize) {
    let level = (number + 1).ilog2();
    let count = WIDTH >> level;
    ((number + 1 - (1 << level)) * count, count)
}

/// Which link of a fork leads to a key.
fn slot(key: &Digest, depth: usize) -> usize {
    let byte = key.0.get(depth / 8).copied().unwrap_or_default();
    usize::from(byte) >> (8 - LEVELS - depth % 8) & (WIDTH - 1)
}

const _: () = assert!(8 % LEVELS == 0);
