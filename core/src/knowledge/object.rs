//! Objects as they are stored and sent: one block of bytes under one [`Cid`]; larger contents are
//! split into raw parts under a DAG-CBOR list.
//!
//! Refused: blocks above [`BLOCK_LEN_MAX`], lists of another form, and bytes that do not match the
//! CID.

use super::{Cid, CidCodec};
use crate::types::{Unverified, Verified};
use alloc::vec::Vec;
use ipld_core::cid::Cid as AnyCid;
use serde::{Deserialize, Serialize};

/// Largest block, bytes.
pub const BLOCK_LEN_MAX: usize = 1024 * 1024;
/// Length of every raw part but the last, bytes.
pub const PART_LEN: usize = 256 * 1024;
/// Largest contents made of parts, bytes.
pub const CONTENT_LEN_MAX: usize = 64 * 1024 * 1024;

/// A block with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The name.
    pub cid: Cid,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why bytes are not the requested object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Above a limit.
    #[error("an object of {len} bytes is above the limit of {len_max}")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        len_max: usize,
    },
    /// The digest differs.
    #[error("the bytes are not those of object {0}")]
    WrongBytes(Cid),
    /// Decodes to something else.
    #[error("not a {0}")]
    WrongForm(&'static str),
}

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

/// A DAG-CBOR block of a value.
pub fn encode<T: Serialize>(value: &T) -> Result<Block, ObjectError> {
    let bytes =
        serde_ipld_dagcbor::to_vec(value).map_err(|_| ObjectError::WrongForm("encodable value"))?;
    if bytes.len() > BLOCK_LEN_MAX {
        return Err(ObjectError::TooLarge { len: bytes.len(), len_max: BLOCK_LEN_MAX });
    }
    Ok(Block { cid: Cid::of(CidCodec::DagCbor, &bytes), bytes })
}

/// Reads a value from DAG-CBOR in its canonical form only: encoding it again gives the same bytes.
pub fn decode<T: Serialize + for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, ObjectError> {
    if bytes.len() > BLOCK_LEN_MAX {
        return Err(ObjectError::TooLarge { len: bytes.len(), len_max: BLOCK_LEN_MAX });
    }
    let value: T = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|_| ObjectError::WrongForm("DAG-CBOR object of this kind"))?;
    match serde_ipld_dagcbor::to_vec(&value) {
        Ok(again) if again == bytes => Ok(value),
        _ => Err(ObjectError::WrongForm("canonical DAG-CBOR object")),
    }
}

impl Unverified<Block> {
    /// Checks size and digest.
    pub fn verify(self) -> Result<Verified<Block>, ObjectError> {
        let Block { cid, bytes } = self.unverified();
        if bytes.len() > BLOCK_LEN_MAX {
            return Err(ObjectError::TooLarge { len: bytes.len(), len_max: BLOCK_LEN_MAX });
        }
        if !cid.matches(bytes) {
            return Err(ObjectError::WrongBytes(*cid));
        }
        Ok(self.into_verified())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn contents_are_split_and_joined() {
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

    #[test]
    fn changed_bytes_are_refused() {
        let mut block = split(b"abc").unwrap().remove(0);
        block.bytes[1] ^= 1;
        assert_eq!(
            Unverified::new(block.clone()).verify(),
            Err(ObjectError::WrongBytes(block.cid))
        );
    }
}
