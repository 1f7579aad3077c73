//! The canonical encoding of consensus and wire messages: borsh, strictly.
//!
//! Refused: trailing bytes, unknown variants, and any length above the cap of its type. The cap is
//! checked before memory is allocated. Equal values have equal bytes, and equal bytes decode to
//! equal values.

use alloc::{string::String, vec::Vec};
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error, ErrorKind, Read, Result as IoResult, Write},
};
use core::{fmt, ops::Deref};

/// The bytes do not encode a value of the requested type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the caller allows.
    #[error("{len} bytes where at most {len_max} are allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        len_max: usize,
    },
    /// Not a valid encoding of this type.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// The canonical bytes of a value.
pub fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    // Counting first is cheaper than growing step by step.
    let mut out = Vec::with_capacity(borsh::object_length(value).unwrap_or(0));
    // Writing into a Vec fails only for lengths above u32, which bounded types cannot have.
    match value.serialize(&mut out) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// Reads a value that fills `bytes` exactly.
pub fn decode<T: BorshDeserialize>(bytes: &[u8], len_max: usize) -> Result<T, DecodeError> {
    if bytes.len() > len_max {
        return Err(DecodeError::TooLong { len: bytes.len(), len_max });
    }
    T::try_from_slice(bytes).map_err(|e| DecodeError::Malformed(alloc::format!("{e}")))
}

/// At most `N` items. The cap is checked before memory is allocated.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoundedVec<T, const N: usize>(Vec<T>);

impl<T, const N: usize> BoundedVec<T, N> {
    /// The most items it can hold.
    pub const LEN_MAX: usize = N;

    /// No items.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends an item, or returns it if the vector is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.0.len() >= N {
            return Err(item);
        }
        self.0.push(item);
        Ok(())
    }

    /// The items, without the bound.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    /// The first items of `items`, up to the bound.
    pub fn truncated(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().take(N).collect())
    }
}

impl<T, const N: usize> Default for BoundedVec<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> TryFrom<Vec<T>> for BoundedVec<T, N> {
    type Error = DecodeError;

    fn try_from(items: Vec<T>) -> Result<Self, DecodeError> {
        if items.len() > N {
            return Err(DecodeError::TooLong { len: items.len(), len_max: N });
        }
        Ok(Self(items))
    }
}

impl<T, const N: usize> Deref for BoundedVec<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for BoundedVec<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: BorshSerialize, const N: usize> BorshSerialize for BoundedVec<T, N> {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.0.serialize(writer)
    }
}

impl<T: BorshDeserialize, const N: usize> BorshDeserialize for BoundedVec<T, N> {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let len = bounded_len(reader, N)?;
        // Items are at least one byte on the wire, but may be large in memory: allocate as they
        // arrive.
        let mut items = Vec::with_capacity(len.min(1024 / size_of::<T>().max(1)));
        for _ in 0..len {
            items.push(T::deserialize_reader(reader)?);
        }
        Ok(Self(items))
    }
}

/// At most `N` bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BoundedBytes<const N: usize>(Vec<u8>);

impl<const N: usize> BoundedBytes<N> {
    /// The bytes, without the bound.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const N: usize> TryFrom<Vec<u8>> for BoundedBytes<N> {
    type Error = DecodeError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        if bytes.len() > N {
            return Err(DecodeError::TooLong { len: bytes.len(), len_max: N });
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> Deref for BoundedBytes<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for BoundedBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<const N: usize> BorshSerialize for BoundedBytes<N> {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.0.serialize(writer)
    }
}

impl<const N: usize> BorshDeserialize for BoundedBytes<N> {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let len = bounded_len(reader, N)?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while bytes.len() < len {
            let n = chunk.len().min(len - bytes.len());
            reader.read_exact(&mut chunk[..n])?;
            bytes.extend_from_slice(&chunk[..n]);
        }
        Ok(Self(bytes))
    }
}

/// UTF-8 text of at most `N` bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BoundedString<const N: usize>(String);

impl<const N: usize> TryFrom<String> for BoundedString<N> {
    type Error = DecodeError;

    fn try_from(text: String) -> Result<Self, DecodeError> {
        if text.len() > N {
            return Err(DecodeError::TooLong { len: text.len(), len_max: N });
        }
        Ok(Self(text))
    }
}

impl<const N: usize> TryFrom<&str> for BoundedString<N> {
    type Error = DecodeError;

    fn try_from(text: &str) -> Result<Self, DecodeError> {
        Self::try_from(String::from(text))
    }
}

impl<const N: usize> Deref for BoundedString<N> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> AsRef<str> for BoundedString<N> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl<const N: usize> fmt::Debug for BoundedString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const N: usize> fmt::Display for BoundedString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const N: usize> BorshSerialize for BoundedString<N> {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.0.serialize(writer)
    }
}

impl<const N: usize> BorshDeserialize for BoundedString<N> {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let bytes = BoundedBytes::<N>::deserialize_reader(reader)?.into_vec();
        String::from_utf8(bytes)
            .map(Self)
            .map_err(|_| Error::new(ErrorKind::InvalidData, "text is not UTF-8"))
    }
}

fn bounded_len<R: Read>(reader: &mut R, len_max: usize) -> IoResult<usize> {
    let len = u32::deserialize_reader(reader)? as usize;
    if len > len_max {
        return Err(Error::new(ErrorKind::InvalidData, "length above the cap"));
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn refuses_trailing_bytes_and_lengths_above_the_cap() {
        let bytes = encode(&vec![1u8, 2, 3]);
        assert!(decode::<BoundedVec<u8, 3>>(&bytes, 64).is_ok());
        assert!(decode::<BoundedVec<u8, 2>>(&bytes, 64).is_err());
        assert!(decode::<BoundedBytes<2>>(&bytes, 64).is_err());
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode::<BoundedVec<u8, 3>>(&longer, 64).is_err());
        assert_eq!(
            decode::<BoundedVec<u8, 3>>(&bytes, 6),
            Err(DecodeError::TooLong { len: 7, len_max: 6 })
        );
        // A declared length of 4 GiB allocates nothing and is refused.
        assert!(decode::<BoundedVec<u64, { u32::MAX as usize }>>(&[0xff; 8], 64).is_err());
    }

    proptest! {
        #[test]
        fn decode_after_encode_is_identity(items: Vec<u16>, text: String) {
            type Pair = (BoundedVec<u16, 4096>, BoundedString<65536>);
            let value: Pair = (BoundedVec::truncated(items), text.try_into().unwrap());
            let bytes = encode(&value);
            prop_assert_eq!(decode::<Pair>(&bytes, 1 << 20).unwrap(), value);
        }

        #[test]
        fn total_on_any_bytes(bytes: Vec<u8>) {
            if let Ok(value) = decode::<BoundedVec<(u8, BoundedBytes<40>), 9>>(&bytes, 1 << 20) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
