//! Compression of bodies that are mostly transactions, above a size: a tag byte, and if the tag is
//! 1, the length as u32 LE and an LZ4 block. Transactions repeat their chain and sender, so they
//! compress well.
//!
//! Allocation is bounded by the caller's limit and by the compressed length. LZ4 expands at most
//! 255 times, so a larger claim is false.

use crate::codec::{self, DecodeError};
use alloc::{borrow::Cow, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Smaller bodies are not compressed.
pub const COMPRESS_LEN_MIN: usize = 1024;
/// Largest expansion of one compressed byte (LZ4 block format: a length byte adds at most 255).
const EXPANSION_MAX: usize = 255;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// The reason why a compressed body is refused. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The tag or the length is missing or unknown.
    #[error("the body is not compressed")]
    Malformed,
    /// The body is longer than allowed.
    #[error("{len} bytes unpacked, where {len_max} are allowed")]
    TooLong {
        /// The claimed length, bytes.
        len: usize,
        /// The allowed length, bytes.
        len_max: usize,
    },
    /// The block does not decompress, or not to the claimed length.
    #[error("damaged LZ4 block")]
    Damaged,
    /// The decompressed body does not decode.
    #[error("{0}")]
    Body(#[from] DecodeError),
}

/// Encodes and compresses a value.
pub fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    compress(&codec::encode(value))
}

/// Decompresses and decodes a value of at most `len_max` decompressed bytes.
pub fn decode<T: BorshDeserialize>(packed: &[u8], len_max: usize) -> Result<T, DecompressError> {
    Ok(codec::decode(&decompress(packed, len_max)?, len_max)?)
}

/// Compresses a body if that saves space. The result is at most one byte longer than the body.
pub fn compress(body: &[u8]) -> Vec<u8> {
    if body.len() >= COMPRESS_LEN_MIN
        && let Ok(len) = u32::try_from(body.len())
    {
        let packed = lz4_flex::block::compress(body);
        if packed.len() + 4 < body.len() {
            return [&[LZ4][..], &len.to_le_bytes(), &packed].concat();
        }
    }
    [&[PLAIN], body].concat()
}

/// Decompresses at most `len_max` bytes.
pub fn decompress(packed: &[u8], len_max: usize) -> Result<Cow<'_, [u8]>, DecompressError> {
    let within = |len: usize| {
        if len > len_max { Err(DecompressError::TooLong { len, len_max }) } else { Ok(len) }
    };
    match packed.split_first().ok_or(DecompressError::Malformed)? {
        (&PLAIN, body) => within(body.len()).map(|_| Cow::Borrowed(body)),
        (&LZ4, rest) => {
            let (len, block) = rest.split_first_chunk::<4>().ok_or(DecompressError::Malformed)?;
            let len = within(
                usize::try_from(u32::from_le_bytes(*len))
                    .map_err(|_| DecompressError::Malformed)?,
            )?;
            if len > block.len().saturating_mul(EXPANSION_MAX) {
                return Err(DecompressError::Damaged);
            }
            let body =
                lz4_flex::block::decompress(block, len).map_err(|_| DecompressError::Damaged)?;
            if body.len() == len { Ok(Cow::Owned(body)) } else { Err(DecompressError::Damaged) }
        }
        _ => Err(DecompressError::Malformed),
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
        assert!(compress(&same).len() < 100);
        let noise: Vec<u8> = (0..10_000u32)
            .flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..1].to_vec())
            .collect();
        assert_eq!(compress(&noise).len(), noise.len() + 1);
        assert_eq!(compress(b"small").len(), 6);
    }

    #[test]
    fn a_claimed_length_is_checked_before_memory_is_allocated() {
        let claim = |len: u32, block: &[u8]| [&[LZ4][..], &len.to_le_bytes(), block].concat();
        assert_eq!(
            decompress(&claim(u32::MAX, &[0; 9]), 100),
            Err(DecompressError::TooLong { len: u32::MAX as usize, len_max: 100 })
        );
        assert_eq!(
            decompress(&claim(10 * 255, &[0; 9]), 1 << 20),
            Err(DecompressError::Damaged),
            "more than nine bytes can hold"
        );
        let packed = compress(&vec![7; 5000]);
        assert_eq!(
            decompress(&packed, 4999),
            Err(DecompressError::TooLong { len: 5000, len_max: 4999 })
        );
        let mut less = packed.clone();
        less[1] -= 1;
        assert_eq!(decompress(&less, 5000), Err(DecompressError::Damaged), "longer than it says");
        let mut more = packed;
        more[1] += 1;
        assert_eq!(decompress(&more, 6000), Err(DecompressError::Damaged), "shorter than it says");
        assert_eq!(decompress(&[], 10), Err(DecompressError::Malformed));
        assert_eq!(decompress(&[2, 1], 10), Err(DecompressError::Malformed));
        assert_eq!(decompress(&[0, 1, 2], 1), Err(DecompressError::TooLong { len: 2, len_max: 1 }));
    }

    proptest! {
        #[test]
        fn round_trips(body in prop::collection::vec(0u8..4, 0..5000)) {
            let packed = compress(&body);
            prop_assert!(packed.len() <= body.len() + 1);
            prop_assert_eq!(&*decompress(&packed, body.len()).unwrap(), &body[..]);
        }

        #[test]
        fn decompression_accepts_any_bytes_without_panic(bytes: Vec<u8>) {
            if let Ok(body) = decompress(&bytes, 4096) {
                prop_assert!(body.len() <= 4096);
            }
        }
    }
}
