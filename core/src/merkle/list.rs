//! A Merkle tree over a list, shaped as in RFC 6962 section 2.1 (left subtree: the largest power of
//! two below the length), with BLAKE3 contexts in place of SHA-256 and prefix bytes.

use crate::{
    codec::BoundedVec,
    crypto::hash::{HashContext, hash},
    types::Digest,
};
use borsh::{BorshDeserialize, BorshSerialize};

/// A list of 2^32 items has paths of 32 digests.
pub const PATH_MAX: usize = 32;

/// The audit path of one item (RFC 6962 section 2.1.1), from the leaf upwards.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ListProof {
    /// Position of the item.
    pub index: u32,
    /// Length of the list.
    pub len: u32,
    /// Sibling digests.
    pub path: BoundedVec<Digest, PATH_MAX>,
}

/// The digest of an item.
pub fn leaf(item: &[u8]) -> Digest {
    hash(HashContext::TransactionLeaf, item)
}

/// The root of a list of leaf digests. An empty list has the digest of the empty string.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => leaf(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// Proves the item at `index`, where there is one.
pub fn prove(leaves: &[Digest], index: usize) -> Option<ListProof> {
    let (mut part, mut at) = (leaves, index);
    leaves.get(index)?;
    let mut path = alloc::vec::Vec::new();
    while part.len() > 1 {
        let (left, right) = part.split_at(split(part.len()));
        let (inside, outside) = if at < left.len() { (left, right) } else { (right, left) };
        if at >= left.len() {
            at -= left.len();
        }
        path.push(root(outside));
        part = inside;
    }
    path.reverse();
    Some(ListProof {
        index: index.try_into().ok()?,
        len: leaves.len().try_into().ok()?,
        path: path.try_into().ok()?,
    })
}

impl ListProof {
    /// The root that follows from an item and this proof; compare it with the trusted root.
    pub fn root(&self, leaf: Digest) -> Option<Digest> {
        if self.index >= self.len {
            return None;
        }
        // RFC 9162 section 2.1.3.2.
        let (mut index, mut last, mut digest) = (self.index, self.len - 1, leaf);
        for sibling in self.path.iter() {
            if last == 0 {
                return None;
            }
            if index & 1 == 1 || index == last {
                digest = node(sibling, &digest);
                while index & 1 == 0 && index != 0 {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                digest = node(&digest, sibling);
            }
            index >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(digest)
    }
}

fn split(len: usize) -> usize {
    len.next_power_of_two() / 2
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&left.0);
    bytes[32..].copy_from_slice(&right.0);
    hash(HashContext::TransactionNode, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn each_item_of_a_small_list_has_a_proof_that_fits_no_other_item() {
        for len in 1..40u32 {
            let leaves: Vec<Digest> = (0..len).map(|i| leaf(&i.to_be_bytes())).collect();
            let root = root(&leaves);
            for (i, digest) in leaves.iter().enumerate() {
                let proof = prove(&leaves, i).unwrap();
                assert_eq!(proof.root(*digest), Some(root), "{i} of {len}");
                assert_ne!(proof.root(leaf(b"other")), Some(root));
                let moved = ListProof { index: (proof.index + 1) % len, ..proof.clone() };
                assert!(len == 1 || moved.root(*digest) != Some(root));
                let mut longer = proof.clone();
                longer.path.push(*digest).unwrap();
                assert_ne!(longer.root(*digest), Some(root));
            }
            assert_eq!(prove(&leaves, len as usize), None);
        }
    }
}
