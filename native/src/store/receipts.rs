//! Receipts of transactions: stored in the order of blocks, with an index that finds the receipt of
//! one transaction.

use super::{
    database::Store,
    error::StoreError,
    meta::{height_in, lowest_in},
    receipt_index::{
        IndexBatch, Prefixes, SLICES, UnindexedReceipts, decode, entries, prefix, slice_at,
    },
    tables::{BLOCK_RECEIPTS, META, PRUNED_AT_KEY, RECEIPT_INDEX},
};
use redb::{ReadableTable, WriteTransaction};
use std::sync::{MutexGuard, PoisonError};
use tequio_core::{
    codec,
    ledger::{Receipt, TransactionId},
    types::Height,
};

impl Store {
    pub(super) fn unindexed(&self) -> MutexGuard<'_, UnindexedReceipts> {
        self.unindexed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to a write the receipts of the block after the head and the slice that its height
    /// indexes. The caller must call [`Store::on_receipts_committed`] after the commit.
    pub(super) fn append_receipts(
        &self,
        write: &WriteTransaction,
        height: Height,
        receipts: &[Receipt],
    ) -> Result<Prefixes, StoreError> {
        let (lowest, since) = {
            let meta = write.open_table(META)?;
            (lowest_in(&meta)?, height_in(&meta, PRUNED_AT_KEY)?)
        };
        let mut table = write.open_table(BLOCK_RECEIPTS)?;
        let (prefixes, slice) = (Prefixes::of(receipts), slice_at(height));
        let mut batch = IndexBatch::default();
        batch.add(height, &prefixes, &slice);
        {
            let mut unindexed = self.unindexed();
            if unindexed.head + 1 != height {
                // A state was fetched, or another thread has appended a block that is not entered
                // yet.
                *unindexed = UnindexedReceipts::load(&table, lowest, height - 1)?;
            }
            // Receipts below the lowest block will be pruned soon.
            unindexed
                .blocks
                .range(lowest..)
                .for_each(|(height, prefixes)| batch.add(*height, prefixes, &slice));
        }
        if !receipts.is_empty() {
            table.insert(height, codec::encode(receipts).as_slice())?;
        }
        // Deletes entries of blocks that were pruned since the lowest block changed.
        let is_stale = since.is_some_and(|since| (since + 1..=since + SLICES).contains(&height));
        if is_stale || !batch.is_empty() {
            let mut index = write.open_table(RECEIPT_INDEX)?;
            if is_stale {
                index.retain_in(entries(slice), |(_, height), ()| height >= lowest)?;
            }
            batch.write_to(&mut index)?;
        }
        Ok(prefixes)
    }

    /// Called when the write of [`Store::append_receipts`] is on disk.
    pub(super) fn on_receipts_committed(&self, height: Height, prefixes: Prefixes) {
        self.unindexed().on_committed(height, prefixes);
    }

    /// The receipt of a transaction with its height: where it was applied, otherwise where it
    /// failed first.
    pub fn receipt(&self, id: &TransactionId) -> Result<Option<(Height, Receipt)>, StoreError> {
        let prefix = prefix(id);
        // Read memory before the tables: keys that leave memory meanwhile are in the tables by
        // then.
        let (mut heights, failed) = self.unindexed().find(prefix);
        let read = self.read()?;
        let table = read.open_table(BLOCK_RECEIPTS)?;
        for item in read.open_table(RECEIPT_INDEX)?.range(entries(prefix..=prefix))? {
            heights.push(item?.0.value().1);
        }
        heights.sort_unstable();
        heights.dedup();
        let mut first = None;
        for height in heights {
            match find(&table, height, id)? {
                Some(receipt) if receipt.result.is_ok() => return Ok(Some((height, receipt))),
                Some(receipt) => first = first.or(Some((height, receipt))),
                None => {}
            }
        }
        // Unindexed failures are later than those in the index, and every block may have one. Only
        // the first is needed.
        let mut failed = failed.into_iter();
        while let (None, Some(height)) = (&first, failed.next()) {
            first = find(&table, height, id)?.map(|receipt| (height, receipt));
        }
        Ok(first)
    }

    /// Receipts of a block's transactions, in the block's order. Empty if the block is missing.
    pub fn receipts(&self, height: Height) -> Result<Vec<Receipt>, StoreError> {
        let read = self.read()?;
        let table = read.open_table(BLOCK_RECEIPTS)?;
        let bytes = table.get(height)?;
        bytes.map_or(Ok(Vec::new()), |bytes| Ok(decode(bytes.value())?.into_vec()))
    }
}

/// The receipt of a transaction in one block. An applied one is preferred.
fn find(
    table: &impl ReadableTable<u64, &'static [u8]>,
    height: Height,
    id: &TransactionId,
) -> Result<Option<Receipt>, StoreError> {
    // Entries of pruned blocks stay until their slice is indexed again.
    let Some(bytes) = table.get(height)? else { return Ok(None) };
    let receipts =
        decode(bytes.value())?.into_vec().into_iter().filter(|receipt| receipt.transaction == *id);
    Ok(receipts.min_by_key(|receipt| receipt.result.is_err()))
}

#[cfg(test)]
mod tests;
