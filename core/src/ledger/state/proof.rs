//! One entry of the state, or its absence, with the proof. Refused: entries under another key.

use super::{
    entry::{ENTRY_LEN_MAX, Entry, Key, value_digest},
    tree::State,
};
use crate::{
    codec::{self, BoundedVec, DecodeError},
    merkle::map::{BadProof, MapProof},
    types::Digest,
};
use borsh::{BorshDeserialize, BorshSerialize};

impl State {
    /// The bytes under a key, if any, with the proof of their presence or absence.
    pub fn prove(&self, key: &Key) -> ProvedEntry {
        ProvedEntry {
            entry: self.entry(key).map(|entry| BoundedVec::truncated(codec::encode(entry))),
            proof: self.tree.prove(&key.digest()),
        }
    }
}

/// An entry's bytes, or their absence, with the proof.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProvedEntry {
    /// The encoded [`Entry`]; none where the key is absent.
    pub entry: Option<BoundedVec<u8, ENTRY_LEN_MAX>>,
    /// Proof that leads to the state root.
    pub proof: MapProof,
}

/// The reason why a proved entry is refused. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The proof does not lead to the root.
    #[error("{0}")]
    Proof(#[from] BadProof),
    /// Proved, but not decodable by this version.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The entry is under a key that is not its own.
    #[error("the entry is stored under another entry's key")]
    WrongKey,
}

impl ProvedEntry {
    /// Verifies the proof and returns the entry under `key` in the state with this root.
    pub fn verify(&self, root: &Digest, key: &Key) -> Result<Option<Entry>, EntryError> {
        let value = self.entry.as_ref().map(|bytes| value_digest(bytes));
        self.proof.verify(root, &key.digest(), value)?;
        let Some(bytes) = &self.entry else { return Ok(None) };
        let entry: Entry = codec::decode(bytes, ENTRY_LEN_MAX)?;
        if entry.key() != *key {
            return Err(EntryError::WrongKey);
        }
        Ok(Some(entry))
    }
}
