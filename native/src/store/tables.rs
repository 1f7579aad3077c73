//! The tables and their keys. Integer values are little-endian; redb orders integer keys itself.

use redb::TableDefinition;

/// Version of the tables and their contents.
pub const VERSION: u32 = 4;

/// Version, chain and head.
pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Height → encoded `FinalHeader`.
pub const HEADERS: TableDefinition<u64, &[u8]> = TableDefinition::new("headers");
/// Height → encoded transactions of the block.
pub const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
/// Height → the block's changes of the state: key, length and bytes of each entry. Newest blocks
/// only.
pub const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
/// Digest of the key → encoded `Entry` of the newest state, without the entries in [`CHANGES`].
pub const ENTRIES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("entries");
/// Height → encoded receipts of the block's transactions, in its order; empty blocks have none.
pub const BLOCK_RECEIPTS: TableDefinition<u64, &[u8]> = TableDefinition::new("block receipts");
/// The first eight bytes of a transaction's id, big-endian, and a height → nothing.
pub const RECEIPT_INDEX: TableDefinition<(u64, u64), ()> = TableDefinition::new("receipt index");
/// Height and number → record of the consensus WAL.
pub const CONSENSUS_WAL: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("consensus log");
/// Job and number → record of the job's coordinator.
pub const JOBS: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("jobs");
/// Binary CID → bytes.
pub const OBJECTS: TableDefinition<&[u8; 36], &[u8]> = TableDefinition::new("objects");
/// Number → encoded `OutboxEntry`.
pub const WRITE_OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("queued writes");
/// Idempotency key → encoded `KeyedSubmission`.
pub const SUBMISSIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("submissions");
/// Number of a write in the outbox → the key of its [submission](SUBMISSIONS).
pub const SUBMISSION_KEYS: TableDefinition<u64, &str> = TableDefinition::new("submission keys");
/// Digest of the key → encoded `Entry` of a state that is being fetched. There are two copies,
/// because it becomes both the newest state and the replay base.
pub const STAGED: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("staged entries");
/// The second copy of [`STAGED`].
pub const STAGED_REPLAY_BASE: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("staged kept entries");
/// Like [`STAGED`], for the replay base: the state below the lowest block.
pub const REPLAY_BASE: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("kept entries");
/// Like [`STAGED`], for the next replay base.
pub const NEXT_REPLAY_BASE: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("next kept entries");

/// Entry of [`META`]: u32.
pub const VERSION_KEY: &str = "version";
/// Entry of [`META`]: 32 bytes.
pub const CHAIN_KEY: &str = "chain";
/// Entry of [`META`]: u64, the final height.
pub const HEAD_KEY: &str = "head";
/// Entry of [`META`]: u64, the lowest height from which on the store has all blocks; 1 if absent.
pub const LOWEST_KEY: &str = "lowest block";
/// Entry of [`META`]: u64, the head when blocks were last pruned; absent if none were.
pub const PRUNED_AT_KEY: &str = "lowest since";
/// Entry of [`META`]: the progress of [`STAGED`]; absent while nothing is fetched.
pub const STAGED_KEY: &str = "staged";
/// Entry of [`META`]: the progress of [`NEXT_REPLAY_BASE`]; absent while nothing is written there.
pub const NEXT_REPLAY_BASE_KEY: &str = "next kept";
