//! Points of the public keys that have signed before: to work one out of its 32 bytes takes a
//! quarter of what checking a signature in a batch takes, and who sends one transaction sends more.
//!
//! What is known changes what a check costs, never what it finds: a point follows from the bytes
//! alone.

use crate::types::NodeId;
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use curve25519_dalek::{EdwardsPoint, edwards::CompressedEdwardsY};

/// Places, each for two keys. With all of them taken it is 1.7 MB.
const PLACES: usize = 4096;

/// The point of a key by the rules of ZIP-215, which take encodings that are not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPoint(pub(super) EdwardsPoint);

impl KeyPoint {
    /// Works it out. `None`: there is no such point.
    pub fn of(key: &NodeId) -> Option<Self> {
        CompressedEdwardsY(key.0).decompress().map(Self)
    }
}

/// Where points come from.
pub trait Keys {
    /// The point of a key. `None`: there is no such point.
    fn point(&mut self, key: &NodeId) -> Option<KeyPoint>;
}

type Entry = Box<(NodeId, KeyPoint)>;

/// Of the keys that share a place the two that came last are known. Who makes keys that share one
/// has another's worked out again, and gains nothing else.
#[derive(Clone, Default)]
pub struct KnownKeys(Vec<[Option<Entry>; 2]>);

impl KnownKeys {
    /// The point of a key that is known.
    pub fn get(&self, key: &NodeId) -> Option<KeyPoint> {
        let entry = self.0.get(place(key))?.iter().flatten().find(|entry| entry.0 == *key)?;
        Some(entry.1)
    }

    /// From now on a key is known.
    pub fn insert(&mut self, key: &NodeId, point: KeyPoint) {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, Default::default);
        }
        if let Some(entries) = self.0.get_mut(place(key)) {
            entries.swap(0, 1);
            entries[0] = Some(Box::new((*key, point)));
        }
    }

    /// Keys that are known.
    pub fn len(&self) -> usize {
        self.0.iter().flatten().flatten().count()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Keys for KnownKeys {
    fn point(&mut self, key: &NodeId) -> Option<KeyPoint> {
        if let Some(point) = self.get(key) {
            return Some(point);
        }
        let point = KeyPoint::of(key)?;
        self.insert(key, point);
        Some(point)
    }
}

impl fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} known keys", self.len())
    }
}

fn place(key: &NodeId) -> usize {
    usize::from(u16::from_le_bytes([key.0[0], key.0[1]])) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::NodeKey;

    /// Keys that share a place.
    fn sharing(count: usize) -> Vec<NodeId> {
        let ids = (0..u32::MAX).map(|number| {
            let mut secret = [7; 32];
            secret[..4].copy_from_slice(&number.to_le_bytes());
            NodeKey::from_bytes(&secret).id()
        });
        ids.filter(|id| place(id) == 0x0101).take(count).collect()
    }

    #[test]
    fn the_two_that_came_last_are_known_and_each_has_the_point_of_its_bytes() {
        let ids = sharing(3);
        let mut keys = KnownKeys::default();
        for id in ids.iter().chain(&ids).chain([&ids[2], &ids[1], &ids[1]]) {
            assert_eq!(keys.point(id), KeyPoint::of(id));
            assert_eq!(keys.get(id), KeyPoint::of(id));
            assert!(keys.len() <= 2);
        }
        assert_eq!([keys.get(&ids[0]), keys.get(&ids[1])], [None, KeyPoint::of(&ids[1])]);
    }

    #[test]
    fn what_is_no_point_takes_no_place() {
        let mut keys = KnownKeys::default();
        let no_point = (0..=u8::MAX).map(|n| NodeId([n; 32])).find(|id| KeyPoint::of(id).is_none());
        assert_eq!(keys.point(&no_point.unwrap()), None);
        assert!(keys.is_empty());
    }
}
