//! Bits of keys, and the digests of leaves and branches.

use crate::{
    crypto::hash::{HashContext, hash},
    types::Digest,
};

/// Keys have 256 bits.
pub(super) const DEPTH_MAX: usize = 256;
/// The digest of an empty subtree.
pub(super) const EMPTY: Digest = Digest([0; 32]);

/// The digest of a leaf.
pub(super) fn leaf_digest(key: &Digest, value: &Digest) -> Digest {
    pair(HashContext::StateLeaf, key, value)
}

/// The digest of a branch.
pub(super) fn branch_digest(left: &Digest, right: &Digest) -> Digest {
    pair(HashContext::StateNode, left, right)
}

fn pair(context: HashContext, a: &Digest, b: &Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&a.0);
    bytes[32..].copy_from_slice(&b.0);
    hash(context, &bytes)
}

/// Bit `i` of a key, the most significant first.
pub(super) fn bit(key: &Digest, i: usize) -> bool {
    key.0.get(i / 8).is_some_and(|byte| byte >> (7 - i % 8) & 1 == 1)
}
