//! Bounded arrays of integers. Their encoding is borsh's encoding of a `Vec`, but written and read
//! by blocks instead of item by item.
//!
//! The cap is checked before memory is allocated, and memory is allocated only as bytes arrive.

use alloc::vec::Vec;
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error, ErrorKind, Read, Result, Write},
};
use core::ops::Deref;

/// An integer with a fixed little-endian form.
pub trait Element: Copy {
    /// Bytes of the encoding.
    const BYTES: usize;
    /// Writes the encoding into exactly `BYTES` bytes.
    fn put(self, out: &mut [u8]);
    /// Reads the encoding from exactly `BYTES` bytes.
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! element {
    ($($int:ty),*) => {$(
        impl Element for $int {
            const BYTES: usize = size_of::<$int>();
            #[inline(always)]
            fn put(self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn take(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(0, <$int>::from_le_bytes)
            }
        }
    )*};
}
element!(i8, u8, i32, i64);

/// Bytes converted at a time: BLAKE3 is fastest with many of its chunks at once.
const BLOCK_BYTES: usize = 16 << 10;

/// Passes the little-endian bytes of `items` to `sink`, block by block.
pub fn for_each_block<T: Element, E>(
    items: &[T],
    mut sink: impl FnMut(&[u8]) -> core::result::Result<(), E>,
) -> core::result::Result<(), E> {
    let mut block = [0; BLOCK_BYTES];
    for part in items.chunks(BLOCK_BYTES / T::BYTES) {
        for (out, item) in block.chunks_exact_mut(T::BYTES).zip(part) {
            item.put(out);
        }
        sink(&block[..part.len() * T::BYTES])?;
    }
    Ok(())
}

/// Feeds the little-endian bytes of `items` to a hasher.
pub fn update_hash<T: Element>(hasher: &mut blake3::Hasher, items: &[T]) {
    let fed: core::result::Result<(), core::convert::Infallible> = for_each_block(items, |block| {
        hasher.update(block);
        Ok(())
    });
    match fed {
        Ok(()) => {}
    }
}

/// At most `N` integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<T, const N: usize>(Vec<T>);

impl<T, const N: usize> Array<T, N> {
    /// Wraps `items`, or returns them if there are too many.
    pub fn new(items: Vec<T>) -> core::result::Result<Self, Vec<T>> {
        if items.len() > N { Err(items) } else { Ok(Self(items)) }
    }

    /// The items, without the bound.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T, const N: usize> Default for Array<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const N: usize> Deref for Array<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Element, const N: usize> BorshSerialize for Array<T, N> {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        let len = u32::try_from(self.0.len())
            .map_err(|_| Error::new(ErrorKind::InvalidData, "array too long"))?;
        len.serialize(writer)?;
        for_each_block(&self.0, |block| writer.write_all(block))
    }
}

impl<T: Element, const N: usize> BorshDeserialize for Array<T, N> {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let len = u32::deserialize_reader(reader)? as usize;
        if len > N {
            return Err(Error::new(ErrorKind::InvalidData, "length above the cap"));
        }
        let mut items = Vec::new();
        let mut block = [0; BLOCK_BYTES];
        while items.len() < len {
            let n = (BLOCK_BYTES / T::BYTES).min(len - items.len());
            let bytes = &mut block[..n * T::BYTES];
            reader.read_exact(bytes)?;
            items.extend(bytes.chunks_exact(T::BYTES).map(T::take));
        }
        Ok(Self(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use alloc::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn encoded_as_a_vec_and_back(items in proptest::collection::vec(any::<i32>(), 0..3000)) {
            let array = Array::<i32, 3000>::new(items.clone()).unwrap();
            let bytes = encode(&array);
            prop_assert_eq!(&bytes, &encode(&items));
            prop_assert_eq!(decode::<Array<i32, 3000>>(&bytes, bytes.len()).unwrap(), array);
        }
    }

    #[test]
    fn a_length_above_the_cap_is_refused_before_its_items_are_read() {
        assert!(decode::<Array<i8, 2>>(&encode(&vec![1i8, 2, 3]), 64).is_err());
        assert!(decode::<Array<i8, { 1 << 30 }>>(&[0, 0, 0, 0x40], 64).is_err());
    }
}
