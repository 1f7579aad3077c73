//! Bodies that are mostly transactions, compressed above a size: one tag byte, and if that is 1 the
//! length as u32 LE and an LZ4 block. Transactions name their chain and their sender again and
//! again.
//!
//! Nothing is allocated beyond what the caller allows and what the bytes can hold. LZ4 makes at
//! most 255 bytes of one, so who claims more has lied already.

use crate::codec::{self, DecodeError};
use alloc::{borrow::Cow, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Smaller bodies stay as they are.
pub const PACKED_MIN: usize = 1024;
/// What one compressed byte can become (LZ4 block format: a length byte of 255 stands for as many).
const RATIO_MAX: usize = 255;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Why a packed body is not taken. The fault is the sender's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// No tag, or none that is known, or no length.
    #[error("no packed body")]
    Malformed,
    /// Longer than allowed.
    #[error("{len} bytes unpacked, where {len_max} are allowed")]
    TooLong {
        /// What was claimed.
        len: usize,
        /// What is allowed.
        len_max: usize,
    },
    /// Does not unpack, or to another length than it says.
    #[error("damaged LZ4 block")]
    Damaged,
    /// What it unpacks to is not what it should be.
    #[error("{0}")]
    Body(#[from] DecodeError),
}

/// Encodes and packs a value.
pub fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    pack(&codec::encode(value))
}

/// Unpacks and decodes a value that is at most `len_max` bytes long, unpacked.
pub fn decode<T: BorshDeserialize>(packed: &[u8], len_max: usize) -> Result<T, UnpackError> {
    Ok(codec::decode(&unpack(packed, len_max)?, len_max)?)
}

/// Packs, if it is worth it; at most one byte longer than before.
pub fn pack(body: &[u8]) -> Vec<u8> {
    if body.len() >= PACKED_MIN
        && let Ok(len) = u32::try_from(body.len())
    {
        let packed = lz4_flex::block::compress(body);
        if packed.len() + 4 < body.len() {
            return [&[LZ4][..], &len.to_le_bytes(), &packed].concat();
        }
    }
    [&[PLAIN], body].concat()
}

/// Unpacks at most `len_max` bytes.
pub fn unpack(packed: &[u8], len_max: usize) -> Result<Cow<'_, [u8]>, UnpackError> {
    let within = |len: usize| {
        if len > len_max { Err(UnpackError::TooLong { len, len_max }) } else { Ok(len) }
    };
    match packed.split_first().ok_or(UnpackError::Malformed)? {
        (&PLAIN, body) => within(body.len()).map(|_| Cow::Borrowed(body)),
        (&LZ4, rest) => {
            let (len, block) = rest.split_first_chunk::<4>().ok_or(UnpackError::Malformed)?;
            let len = within(
                usize::try_from(u32::from_le_bytes(*len)).map_err(|_| UnpackError::Malformed)?,
            )?;
            if len > block.len().saturating_mul(RATIO_MAX) {
                return Err(UnpackError::Damaged);
            }
            let body = lz4_flex::block::decompress(block, len).map_err(|_| UnpackError::Damaged)?;
            if body.len() == len { Ok(Cow::Owned(body)) } else { Err(UnpackError::Damaged) }
        }
        _ => Err(UnpackError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn repetition_shrinks_and_noise_does_not_grow() {
        let same = vec![7; 10_000];
        assert!(pack(&same).len() < 100);
        let noise: Vec<u8> = (0..10_000u32)
            .flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..1].to_vec())
            .collect();
        assert_eq!(pack(&noise).len(), noise.len() + 1);
        assert_eq!(pack(b"small").len(), 6);
    }

    #[test]
    fn a_claim_is_judged_before_anything_is_allocated() {
        let claim = |len: u32, block: &[u8]| [&[LZ4][..], &len.to_le_bytes(), block].concat();
        assert_eq!(
            unpack(&claim(u32::MAX, &[0; 9]), 100),
            Err(UnpackError::TooLong { len: u32::MAX as usize, len_max: 100 })
        );
        assert_eq!(
            unpack(&claim(10 * 255, &[0; 9]), 1 << 20),
            Err(UnpackError::Damaged),
            "more than nine bytes can hold"
        );
        let packed = pack(&vec![7; 5000]);
        assert_eq!(unpack(&packed, 4999), Err(UnpackError::TooLong { len: 5000, len_max: 4999 }));
        let mut less = packed.clone();
        less[1] -= 1;
        assert_eq!(unpack(&less, 5000), Err(UnpackError::Damaged), "longer than it says");
        let mut more = packed;
        more[1] += 1;
        assert_eq!(unpack(&more, 6000), Err(UnpackError::Damaged), "shorter than it says");
        assert_eq!(unpack(&[], 10), Err(UnpackError::Malformed));
        assert_eq!(unpack(&[2, 1], 10), Err(UnpackError::Malformed));
        assert_eq!(unpack(&[0, 1, 2], 1), Err(UnpackError::TooLong { len: 2, len_max: 1 }));
    }

    proptest! {
        #[test]
        fn comes_back(body in prop::collection::vec(0u8..4, 0..5000)) {
            let packed = pack(&body);
            prop_assert!(packed.len() <= body.len() + 1);
            prop_assert_eq!(&*unpack(&packed, body.len()).unwrap(), &body[..]);
        }

        #[test]
        fn unpacking_is_total(bytes: Vec<u8>) {
            if let Ok(body) = unpack(&bytes, 4096) {
                prop_assert!(body.len() <= 4096);
            }
        }
    }
}
