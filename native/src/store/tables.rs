//! The tables and their keys. Integers are little-endian where they are values; redb orders integer keys itself.

use redb::TableDefinition;

/// Version, chain and head.
pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Height → encoded `FinalHeader`.
pub const HEADERS: TableDefinition<u64, &[u8]> = TableDefinition::new("headers");
/// Height → encoded transactions of the block.
pub const BLOCKS: TableDefinition<u64, &[u8]> = TableDefinition::new("blocks");
/// Digest of the key → encoded `Entry` of the newest state.
pub const ENTRIES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("entries");
/// Transaction → its height and encoded receipt.
pub const RECEIPTS: TableDefinition<&[u8; 32], (u64, &[u8])> = TableDefinition::new("receipts");
/// Height and number → record of the consensus log.
pub const LOG: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("consensus log");
/// Job and number → what the job's coordinator has to remember.
pub const JOBS: TableDefinition<(&[u8; 32], u64), &[u8]> = TableDefinition::new("jobs");
/// Binary CID → bytes.
pub const OBJECTS: TableDefinition<&[u8; 36], &[u8]> = TableDefinition::new("objects");

/// In [`META`]: u32.
pub const VERSION_KEY: &str = "version";
/// In [`META`]: 32 bytes.
pub const CHAIN_KEY: &str = "chain";
/// In [`META`]: u64, the final height.
pub const HEAD_KEY: &str = "head";
