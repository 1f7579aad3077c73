//! CIDv1 with a BLAKE3 multihash (code 0x1e, 32 bytes), so that IPFS tools can read the objects.
//! The hash is plain BLAKE3, the one place where no context string is used.
//!
//! Refused: every other version, codec, hash function and length.

use alloc::string::{String, ToString};
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error, ErrorKind, Read, Result as IoResult, Write},
};
use core::fmt;
use ipld_core::cid::{Cid as AnyCid, multihash::Multihash};

const BLAKE3: u64 = 0x1e;
/// Version, codec, hash function and length: one byte each.
const PREFIX_LEN: usize = 4;
/// Bytes of a [`Cid`].
pub const CID_LEN: usize = PREFIX_LEN + 32;

/// The encoding of an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CidCodec {
    /// Bytes without structure.
    Raw = 0x55,
    /// DAG-CBOR.
    DagCbor = 0x71,
}

/// The name of an object: its codec and the BLAKE3 digest of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    /// Encoding of the bytes.
    pub codec: CidCodec,
    /// BLAKE3 of the bytes.
    pub digest: [u8; 32],
}

/// The text or bytes are no CID that Tequio uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a CIDv1 with BLAKE3 (32 bytes) and codec raw or dag-cbor")]
pub struct InvalidCid;

impl Cid {
    /// The CID of some bytes.
    pub fn of(codec: CidCodec, bytes: &[u8]) -> Self {
        Self { codec, digest: *blake3::hash(bytes).as_bytes() }
    }

    /// Whether this CID names these bytes.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        *blake3::hash(bytes).as_bytes() == self.digest
    }

    /// The binary form.
    pub fn to_bytes(self) -> [u8; CID_LEN] {
        let mut out = [0; CID_LEN];
        out[..PREFIX_LEN].copy_from_slice(&[1, self.codec as u8, BLAKE3 as u8, 32]);
        out[PREFIX_LEN..].copy_from_slice(&self.digest);
        out
    }

    /// Reads the binary form.
    pub fn from_bytes(bytes: &[u8; CID_LEN]) -> Result<Self, InvalidCid> {
        let [version, codec, hash, len, digest @ ..] = *bytes;
        let codec = match codec {
            0x55 => CidCodec::Raw,
            0x71 => CidCodec::DagCbor,
            _ => return Err(InvalidCid),
        };
        match (version, u64::from(hash), len) {
            (1, BLAKE3, 32) => Ok(Self { codec, digest }),
            _ => Err(InvalidCid),
        }
    }
}

impl From<Cid> for AnyCid {
    fn from(cid: Cid) -> Self {
        // 32 bytes fit into 64; the default is never taken.
        AnyCid::new_v1(cid.codec as u64, Multihash::wrap(BLAKE3, &cid.digest).unwrap_or_default())
    }
}

impl TryFrom<AnyCid> for Cid {
    type Error = InvalidCid;

    fn try_from(cid: AnyCid) -> Result<Self, InvalidCid> {
        let bytes: [u8; CID_LEN] = cid.to_bytes().try_into().map_err(|_| InvalidCid)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        AnyCid::from(*self).fmt(f)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.to_string();
        f.write_str(text.get(..16).unwrap_or(&text))?;
        f.write_str("…")
    }
}

impl core::str::FromStr for Cid {
    type Err = InvalidCid;

    fn from_str(s: &str) -> Result<Self, InvalidCid> {
        AnyCid::try_from(s).map_err(|_| InvalidCid)?.try_into()
    }
}

impl BorshSerialize for Cid {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        writer.write_all(&self.to_bytes())
    }
}

impl BorshDeserialize for Cid {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let bytes = <[u8; CID_LEN]>::deserialize_reader(reader)?;
        Self::from_bytes(&bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "not a CID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip_and_others_are_refused() {
        let cid = Cid::of(CidCodec::DagCbor, b"hello");
        let text = cid.to_string();
        assert!(text.starts_with("bafyr"), "{text}");
        assert_eq!(text.parse(), Ok(cid));
        assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
        assert!(cid.matches(b"hello") && !cid.matches(b"hellO"));
        for (at, byte) in [(0, 0), (1, 0x70), (2, 0x12), (3, 31)] {
            let mut bytes = cid.to_bytes();
            bytes[at] = byte;
            assert_eq!(Cid::from_bytes(&bytes), Err(InvalidCid));
        }
        // CIDs with SHA-256 or version 0 exist, but Tequio does not use them.
        assert!(
            "bafkreifw7plhl6mofk6sfvhnfh64qmkq73oeqwl6sloru6rehaoujituke".parse::<Cid>().is_err()
        );
        assert!("QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEfL".parse::<Cid>().is_err());
    }
}
