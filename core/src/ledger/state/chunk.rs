//! The whole state in chunks, for a node that joins or was offline for long. Each chunk is proved
//! against the state root of a final header before any of it is stored.

use super::{
    entry::{ENTRY_LEN_MAX, Entry, value_digest},
    tree::State,
};
use crate::{
    codec::{self, BoundedBytes, BoundedVec, DecodeError},
    merkle::map::{BadProof, ChunkLimits, ChunkProof},
    types::Digest,
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most bytes of entries in a chunk with more than one entry.
pub const CHUNK_LEN_MAX: usize = 256 * 1024;
/// Most entries of a chunk.
pub const CHUNK_ENTRIES_MAX: usize = 16 * 1024;

/// All entries whose state keys begin with the same bits, in the order of these keys.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateChunk {
    /// Encoded [`Entry`]s.
    entries: BoundedVec<BoundedBytes<ENTRY_LEN_MAX>, CHUNK_ENTRIES_MAX>,
    /// Proof that leads to the state root.
    proof: ChunkProof,
}

/// The reason why a chunk is refused. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Entries are missing, changed, too many, or from another position.
    #[error("{0}")]
    Proof(#[from] BadProof),
    /// Not entries that this version decodes.
    #[error("{0}")]
    Decode(#[from] DecodeError),
}

impl State {
    /// The chunk that begins at this state key: zero, or the end of the last chunk. `None` where no
    /// chunk begins.
    pub fn chunk(&self, from: &Digest) -> Option<StateChunk> {
        let limits = ChunkLimits { count_max: CHUNK_ENTRIES_MAX, len_max: CHUNK_LEN_MAX };
        let len = |entry: &Entry| borsh::object_length(entry).unwrap_or(usize::MAX);
        let (entries, proof) = self.tree.chunk(from, limits, len)?;
        let encoded = entries.into_iter().map(|entry| codec::encode(entry).try_into());
        let entries = encoded.collect::<Result<Vec<_>, _>>().ok()?;
        Some(StateChunk { entries: BoundedVec::truncated(entries), proof })
    }
}

impl StateChunk {
    /// Checks that these are all entries from state key `from` to the next chunk in the state with
    /// this root. Returns the entries and the start of the next chunk, or `None` after the last
    /// one.
    pub fn verify(
        &self,
        root: &Digest,
        from: &Digest,
    ) -> Result<(Vec<Entry>, Option<Digest>), ChunkError> {
        let mut entries = Vec::with_capacity(self.entries.len());
        let mut leaves = Vec::with_capacity(self.entries.len());
        for bytes in self.entries.iter() {
            let entry: Entry = codec::decode(bytes, ENTRY_LEN_MAX)?;
            leaves.push((entry.state_key(), value_digest(bytes)));
            entries.push(entry);
        }
        let next = self.proof.verify(root, from, &leaves)?;
        Ok((entries, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ledger::state::Account, types::NodeId};

    fn state(accounts: u32) -> State {
        let mut state = State::default();
        for n in 0..accounts {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            state.insert(Entry::Account(Account::new(NodeId(id), u64::from(n))));
        }
        state
    }

    #[test]
    fn a_state_is_sent_in_chunks_below_the_cap() {
        let state = state(20_000);
        let (mut copy, mut next, mut chunks) = (State::default(), Some(Digest([0; 32])), 0);
        while let Some(from) = next {
            let bytes = codec::encode(&state.chunk(&from).unwrap());
            assert!(bytes.len() < CHUNK_LEN_MAX + CHUNK_ENTRIES_MAX * 4 + 64 * 1024);
            let chunk: StateChunk = codec::decode(&bytes, usize::MAX).unwrap();
            let (entries, after) = chunk.verify(&state.root(), &from).unwrap();
            entries.into_iter().for_each(|entry| copy.insert(entry));
            next = after;
            chunks += 1;
        }
        assert_eq!(copy.root(), state.root());
        assert!((8..=64).contains(&chunks), "{chunks} chunks");
        assert!(state.chunk(&Digest([9; 32])).is_none());
    }

    #[test]
    fn any_changed_byte_is_detected() {
        let state = state(5);
        let (zero, root) = (Digest([0; 32]), state.root());
        let bytes = codec::encode(&state.chunk(&zero).unwrap());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let Ok(chunk) = codec::decode::<StateChunk>(&changed, usize::MAX) else { continue };
            assert!(chunk.verify(&root, &zero).is_err(), "byte {at}");
        }
    }
}
