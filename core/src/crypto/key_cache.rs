//! A cache of decoded public keys. Decoding a point from its 32 bytes costs a quarter of checking a
//! signature in a batch, and a sender usually sends more than one transaction.
//!
//! The cache changes the cost of a check, never its result: a point follows from the bytes alone.

use crate::types::NodeId;
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use curve25519_dalek::{EdwardsPoint, edwards::CompressedEdwardsY};

/// Slots, each for two keys. A full cache takes 1.7 MB.
const SLOTS: usize = 4096;

/// The point of a key by the rules of ZIP-215, which accept non-canonical encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPoint(pub(super) EdwardsPoint);

impl KeyPoint {
    /// Decodes the point. `None`: there is no such point.
    pub fn of(key: &NodeId) -> Option<Self> {
        CompressedEdwardsY(key.0).decompress().map(Self)
    }
}

/// A source of decoded points.
pub trait KeyLookup {
    /// The point of a key. `None`: there is no such point.
    fn point(&mut self, key: &NodeId) -> Option<KeyPoint>;
}

type Entry = Box<(NodeId, KeyPoint)>;

/// A cache of points. Of the keys that share a slot, the last two are kept. A sender with keys that
/// share another's slot only causes that point to be decoded again.
#[derive(Clone, Default)]
pub struct KeyCache(Vec<[Option<Entry>; 2]>);

impl KeyCache {
    /// The point of a key, if it is in the cache.
    pub fn get(&self, key: &NodeId) -> Option<KeyPoint> {
        let entry = self.0.get(slot_of(key))?.iter().flatten().find(|entry| entry.0 == *key)?;
        Some(entry.1)
    }

    /// Adds a key.
    pub fn insert(&mut self, key: &NodeId, point: KeyPoint) {
        if self.0.is_empty() {
            self.0.resize_with(SLOTS, Default::default);
        }
        if let Some(entries) = self.0.get_mut(slot_of(key)) {
            entries.swap(0, 1);
            entries[0] = Some(Box::new((*key, point)));
        }
    }

    /// Number of keys in the cache.
    pub fn len(&self) -> usize {
        self.0.iter().flatten().flatten().count()
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeyLookup for KeyCache {
    fn point(&mut self, key: &NodeId) -> Option<KeyPoint> {
        if let Some(point) = self.get(key) {
            return Some(point);
        }
        let point = KeyPoint::of(key)?;
        self.insert(key, point);
        Some(point)
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cached keys", self.len())
    }
}

fn slot_of(key: &NodeId) -> usize {
    usize::from(u16::from_le_bytes([key.0[0], key.0[1]])) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::NodeKey;

    /// Keys that share a slot.
    fn sharing(count: usize) -> Vec<NodeId> {
        let ids = (0..u32::MAX).map(|number| {
            let mut secret = [7; 32];
            secret[..4].copy_from_slice(&number.to_le_bytes());
            NodeKey::from_bytes(&secret).id()
        });
        ids.filter(|id| slot_of(id) == 0x0101).take(count).collect()
    }

    #[test]
    fn caches_the_last_two_keys_and_returns_the_point_of_each() {
        let ids = sharing(3);
        let mut keys = KeyCache::default();
        for id in ids.iter().chain(&ids).chain([&ids[2], &ids[1], &ids[1]]) {
            assert_eq!(keys.point(id), KeyPoint::of(id));
            assert_eq!(keys.get(id), KeyPoint::of(id));
            assert!(keys.len() <= 2);
        }
        assert_eq!([keys.get(&ids[0]), keys.get(&ids[1])], [None, KeyPoint::of(&ids[1])]);
    }

    #[test]
    fn an_invalid_point_is_not_cached() {
        let mut keys = KeyCache::default();
        let no_point = (0..=u8::MAX).map(|n| NodeId([n; 32])).find(|id| KeyPoint::of(id).is_none());
        assert_eq!(keys.point(&no_point.unwrap()), None);
        assert!(keys.is_empty());
    }
}
