//! Objects as they are stored and sent: one block of bytes under one [`Cid`]; larger contents are
//! split into raw parts under a DAG-CBOR list.
//!
//! Refused: contents above [`CONTENT_LEN_MAX`], and lists of another form.

pub use super::block::{BLOCK_LEN_MAX, Block, ObjectError};

use super::{
    cid::{Cid, CidCodec},
    dag_cbor::{decode, encode},
};
use crate::types::Verified;
use alloc::vec::Vec;
use ipld_core::cid::Cid as AnyCid;
use serde::{Deserialize, Serialize};

/// Length of every raw part but the last, bytes.
pub const PART_LEN: usize = 256 * 1024;
/// Largest contents made of parts, bytes.
pub const CONTENT_LEN_MAX: usize = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct List {
    len: u64,
    parts: Vec<AnyCid>,
}

/// Splits contents into blocks. The first block's CID names the whole.
pub fn split(contents: &[u8]) -> Result<Vec<Block>, ObjectError> {
    if contents.len() > CONTENT_LEN_MAX {
        return Err(ObjectError::TooLarge { len: contents.len(), len_max: CONTENT_LEN_MAX });
    }
    let raw = |bytes: &[u8]| Block { cid: Cid::of(CidCodec::Raw, bytes), bytes: bytes.to_vec() };
    if contents.len() <= PART_LEN {
        return Ok(alloc::vec![raw(contents)]);
    }
    let mut parts: Vec<Block> = contents.chunks(PART_LEN).map(raw).collect();
    let list =
        List { len: contents.len() as u64, parts: parts.iter().map(|p| p.cid.into()).collect() };
    parts.insert(0, encode(&list)?);
    Ok(parts)
}

/// The content of the first block of [`split`]: all bytes, or the CIDs of their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// All bytes.
    Whole(Vec<u8>),
    /// Parts to join in this order; together `len` bytes.
    Parts {
        /// Total bytes.
        len: usize,
        /// Raw blocks.
        parts: Vec<Cid>,
    },
}

/// Reads the first block of [`split`].
pub fn contents(block: Verified<Block>) -> Result<Contents, ObjectError> {
    let block = block.into_inner();
    if block.cid.codec == CidCodec::Raw {
        return Ok(Contents::Whole(block.bytes));
    }
    let wrong = ObjectError::WrongForm("list of parts");
    let list: List = decode(&block.bytes)?;
    let len = usize::try_from(list.len)
        .ok()
        .filter(|len| *len <= CONTENT_LEN_MAX)
        .ok_or(wrong.clone())?;
    if list.parts.len() != len.div_ceil(PART_LEN) {
        return Err(wrong);
    }
    let parts: Option<Vec<Cid>> = list
        .parts
        .into_iter()
        .map(|cid| Cid::try_from(cid).ok().filter(|c| c.codec == CidCodec::Raw))
        .collect();
    Ok(Contents::Parts { len, parts: parts.ok_or(wrong)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Unverified;
    use alloc::vec;

    #[test]
    fn contents_split_into_blocks_are_joined_unchanged() {
        for len in [0, 1, PART_LEN, PART_LEN + 1, 3 * PART_LEN] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let blocks = split(&bytes).unwrap();
            let first = Unverified::new(blocks[0].clone()).verify().unwrap();
            let joined = match contents(first).unwrap() {
                Contents::Whole(whole) => whole,
                Contents::Parts { parts, .. } => parts
                    .iter()
                    .flat_map(|cid| blocks.iter().find(|b| b.cid == *cid).unwrap().bytes.clone())
                    .collect(),
            };
            assert_eq!(joined, bytes);
        }
        assert!(split(&vec![0; CONTENT_LEN_MAX + 1]).is_err());
    }
}
