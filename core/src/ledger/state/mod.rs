//! The state: accounts, jobs, refs and the committee, under one root that proves every part.

mod chunk;
mod entry;
mod proof;
mod tree;

pub use chunk::{CHUNK_ENTRIES_MAX, CHUNK_LEN_MAX, ChunkError, StateChunk};
pub use entry::{Account, Conviction, ENTRY_LEN_MAX, Entry, Key, RECENT_BLOCKS, RecentBlock, Ref};
pub(super) use entry::{account_state_key, ref_state_key};
pub use proof::{EntryError, ProvedEntry};
pub use tree::{State, StateChange};
