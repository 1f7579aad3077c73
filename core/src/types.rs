//! The basic types that every other module uses.

use alloc::string::String;
use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;

/// Number of a block; genesis is 0.
pub type Height = u64;
/// Number of an attempt to decide a height; each has one leader.
pub type View = u64;
/// Number of an epoch, a period with a fixed committee.
pub type Epoch = u64;
/// Voting weight of a seat.
pub type Weight = u64;
/// Milliseconds since the Unix epoch.
pub type TimeMs = u64;

/// A 32-byte BLAKE3 digest. The code that makes a digest states its context.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize,
)]
pub struct Digest(pub [u8; 32]);

/// The digest of the genesis: names the network in everything that is signed.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize,
)]
pub struct ChainId(pub [u8; 32]);

/// The identity of a node: an Ed25519 public key. libp2p's PeerId is another encoding of the same
/// key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct NodeId(pub [u8; 32]);

macro_rules! hex_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Digits are ASCII.
                f.write_str(core::str::from_utf8(&hex(&self.0)).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().take(4).try_for_each(|b| write!(f, "{b:02x}"))?;
                f.write_str("…")
            }
        }

        impl core::str::FromStr for $name {
            type Err = NotHex;

            fn from_str(s: &str) -> Result<Self, NotHex> {
                from_hex(s).map(Self)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

hex_text!(Digest);
hex_text!(ChainId);
hex_text!(NodeId);

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct NotHex;

/// The 64 hexadecimal digits of 32 bytes.
pub(crate) fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    // Fails only if the lengths do not match.
    let _ = hex::encode_to_slice(bytes, &mut text);
    text
}

fn from_hex(s: &str) -> Result<[u8; 32], NotHex> {
    let mut out = [0; 32];
    hex::decode_to_slice(s, &mut out).map_err(|_| NotHex)?;
    Ok(out)
}

impl NodeId {
    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.0.iter().take(4).map(|b| alloc::format!("{b:02x}")).collect()
    }
}

/// A value from outside of which only its encoding has been checked.
///
/// The value can be read only by verifying it, so unverified data cannot enter state by mistake.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Unverified<T>(T);

impl<T> Unverified<T> {
    /// Marks a value that came from outside.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value before verification, for routing and for blame only.
    pub fn unverified(&self) -> &T {
        &self.0
    }

    /// Takes the value, for a machine that verifies its parts one by one before acting on them.
    pub(crate) fn into_unverified(self) -> T {
        self.0
    }

    pub(crate) fn into_verified(self) -> Verified<T> {
        Verified(self.0)
    }
}

/// A value whose signatures, proofs and limits have been checked. Only core makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The checked value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> core::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn hexadecimal_round_trip() {
        let id = NodeId(core::array::from_fn(|i| i as u8 * 7));
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
        for bad in ["", "00", "zz", &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            assert_eq!(bad.parse::<NodeId>(), Err(NotHex), "{bad}");
        }
    }
}
