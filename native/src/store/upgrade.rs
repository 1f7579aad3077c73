//! Upgrades stores of earlier versions, in the write transaction that opens them.
//!
//! Version 2 added tables, which are created at opening. Until version 3 every transaction had a
//! row under its id with its height and receipt; now receipts are [stored in the order of
//! blocks](super::receipts). Until version 4 the table of entries had all of the newest state; now
//! it [lags behind](super::state_table), by nothing right after the upgrade.

use super::{
    StoreError,
    meta::{height_in, lowest_in},
    receipt_index::{Prefix, prefix},
    tables::{BLOCK_RECEIPTS, BLOCKS, HEAD_KEY, META, RECEIPT_INDEX},
};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeSet;
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{
        Receipt, SignedTransaction,
        block::{BLOCK_LEN_MAX, BLOCK_TRANSACTIONS_MAX},
    },
    types::Height,
};

/// The first version with receipts in the order of blocks.
const RECEIPTS_SINCE: u32 = 3;
/// Transaction → its height and encoded receipt.
pub(super) const RECEIPTS_2: TableDefinition<&[u8; 32], (u64, &[u8])> =
    TableDefinition::new("receipts");
const RECEIPT_LEN_MAX: usize = 4096;
/// Index entries that are sorted and written together: 16 MiB of memory.
const ENTRIES_AT_ONCE: usize = 1 << 20;

/// Upgrades a store of an earlier version.
pub(super) fn upgrade(write: &WriteTransaction, version: u32) -> Result<(), StoreError> {
    if version >= RECEIPTS_SINCE {
        return Ok(());
    }
    let (lowest, head) = {
        let meta = write.open_table(META)?;
        (lowest_in(&meta)?, height_in(&meta, HEAD_KEY)?.unwrap_or(0))
    };
    let blocks = (head + 1).saturating_sub(lowest);
    tracing::info!(version, blocks, "upgrading the store: a long chain takes some minutes");
    receipts(write, lowest)?;
    write.delete_table(RECEIPTS_2)?;
    tracing::info!("the store is upgraded");
    Ok(())
}

fn receipts(write: &WriteTransaction, lowest: Height) -> Result<(), StoreError> {
    let (blocks, old) = (write.open_table(BLOCKS)?, write.open_table(RECEIPTS_2)?);
    let (mut new, mut index) =
        (write.open_table(BLOCK_RECEIPTS)?, write.open_table(RECEIPT_INDEX)?);
    let mut entries: Vec<(Prefix, Height)> = Vec::new();
    let mut flush = |entries: &mut Vec<(Prefix, Height)>| -> Result<(), StoreError> {
        // Sorted, so that one page is written after the other.
        entries.sort_unstable();
        entries.drain(..).try_for_each(|entry| Ok(index.insert(entry, ()).map(drop)?))
    };
    for item in blocks.range(lowest..)? {
        let (height, bytes) = item?;
        let height = height.value();
        let transactions: BoundedVec<SignedTransaction, BLOCK_TRANSACTIONS_MAX> =
            codec::decode(bytes.value(), BLOCK_LEN_MAX)
                .map_err(|_| StoreError::Damaged("a block"))?;
        let (mut receipts, mut seen) = (Vec::<Receipt>::new(), BTreeSet::new());
        for id in transactions.iter().map(SignedTransaction::id).filter(|id| seen.insert(*id)) {
            // A transaction may be in several blocks; its receipt belongs to one of them.
            let found = old.get(&id.0)?.filter(|found| found.value().0 == height);
            if let Some(found) = found {
                let receipt = codec::decode(found.value().1, RECEIPT_LEN_MAX);
                receipts.push(receipt.map_err(|_| StoreError::Damaged("a receipt"))?);
                entries.push((prefix(&id), height));
            }
        }
        if !receipts.is_empty() {
            new.insert(height, codec::encode(&receipts).as_slice())?;
        }
        if entries.len() >= ENTRIES_AT_ONCE {
            flush(&mut entries)?;
        }
    }
    flush(&mut entries)
}
