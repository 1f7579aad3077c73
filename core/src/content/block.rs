//! One block of bytes under one [`Cid`], as it is stored and sent.
//!
//! Refused: blocks above [`BLOCK_LEN_MAX`], and bytes that do not match the CID.

use super::cid::Cid;
use crate::types::{Unverified, Verified};
use alloc::vec::Vec;

/// Largest block, bytes.
pub const BLOCK_LEN_MAX: usize = 1024 * 1024;

/// A block with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The name.
    pub cid: Cid,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The reason why bytes are not the requested object.
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
    use crate::content::object::split;

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
