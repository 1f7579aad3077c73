//! The tables and their keys. Integers are little-endian where they are values; redb orders integer
//! keys itself.

use redb::TableDefinition;

/// Version, chain and head.
pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Height → encoded `FinalHeader`.
pub const HEADERS: TableDefinition<u64, &[u8]> = TableDefinition::new("headers");
/// Height → encoded transactions of the block.
pub const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
/// Height → what the block has changed in the state: place, length and bytes of each entry. The
/// newest blocks only.
pub const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
/// Digest of the key → encoded `Entry` of the newest state, but for what stands in [`CHANGES`].
pub const ENTRIES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("entries");
/// Height → encoded receipts of the block's transactions, in its order; empty blocks have none.
pub const BLOCK_RECEIPTS: TableDefinition<u64, &[u8]> = TableDefinition::new("block receipts");
/// The first eight bytes of a transaction's id, big-endian, and a height → nothing.
pub const RECEIPT_INDEX: TableDefinition<(u64, u64), ()> = TableDefinition::new("receipt index");
/// Height and number → record of the consensus log.
pub const LOG: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("consensus log");
/// Job and number → what the job's coordinator has to remember.
pub const JOBS: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("jobs");
/// Binary CID → bytes.
pub const OBJECTS: TableDefinition<&[u8; 36], &[u8]> = TableDefinition::new("objects");
/// Number → encoded `Queued`.
pub const QUEUE: TableDefinition<u64, &[u8]> = TableDefinition::new("queued writes");
/// Key that a client has chosen → encoded `Submission`.
pub const SUBMISSIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("submissions");
/// Number of a queued write → the key of its [submission](SUBMISSIONS).
pub const SUBMISSION_KEYS: TableDefinition<u64, &str> = TableDefinition::new("submission keys");
/// Digest of the key → encoded `Entry` of a state that is being fetched; twice, because it will be
/// both the newest state and the kept one.
pub const STAGED: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("staged entries");
/// The second copy.
pub const STAGED_KEPT: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("staged kept entries");
/// As [`STAGED`], of the state below the lowest block.
pub const KEPT: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("kept entries");
/// As [`STAGED`], of the state that will be kept next.
pub const NEXT: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("next kept entries");

/// In [`META`]: u32.
pub const VERSION_KEY: &str = "version";
/// In [`META`]: 32 bytes.
pub const CHAIN_KEY: &str = "chain";
/// In [`META`]: u64, the final height.
pub const HEAD_KEY: &str = "head";
/// In [`META`]: u64, the lowest block from which on all are here; 1 where it is missing.
pub const LOWEST_KEY: &str = "lowest block";
/// In [`META`]: u64, the head when blocks were last given up; missing while none were.
pub const LOWEST_SINCE_KEY: &str = "lowest since";
/// In [`META`]: how far [`STAGED`] is; missing while nothing is fetched.
pub const STAGED_KEY: &str = "staged";
/// In [`META`]: how far [`NEXT`] is; missing while nothing is written there.
pub const NEXT_KEY: &str = "next kept";
