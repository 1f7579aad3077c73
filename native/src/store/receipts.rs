//! Receipts of transactions: stored in the order of blocks, with an index that finds the receipt of
//! one transaction.
//!
//! The id of a transaction is a random key. An index that added every id with its block would write
//! about one page for each id, as soon as it has more pages than a block has transactions. So each
//! block adds only one slice of the id range to the index, but for the last [`SLICES`] blocks, its
//! own included: about as many keys, which lie beside each other in few pages. Slice `s` of block
//! `b` is in the index once a height `h` in `b..=head` has `h mod SLICES = s`. The head alone
//! therefore determines which keys the index lacks. They are kept in memory, and read again from
//! the receipts when the store is opened.
//!
//! An index entry is a prefix of an id and a height, of fixed width. Several entries for one prefix
//! are normal: a transaction may be in several blocks, and two ids with the same prefix can be
//! searched for (2³² attempts). The receipts of the blocks tell them apart. A failed transaction is
//! not indexed if its prefix already has an entry, so repeating it makes no lookup longer. If two
//! ids were made to collide, the one that fails later is therefore not found; an applied
//! transaction always is. Rationale: `docs/adr/0022-receipts-by-height.md`.

use super::{
    Store, StoreError,
    chain::{height_in, lowest_in},
    tables::{BLOCK_RECEIPTS, META, PRUNED_AT_KEY, RECEIPT_INDEX},
};
use redb::{ReadableTable, WriteTransaction};
use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{MutexGuard, PoisonError},
};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{Receipt, TransactionId, block::BLOCK_TRANSACTIONS_MAX},
    types::Height,
};

/// Number of slices of the id range, by the first byte. Each block indexes one of them.
const SLICES: Height = 256;
const RECEIPT_LEN_MAX: usize = 4096;
const RECEIPTS_LEN_MAX: usize = BLOCK_TRANSACTIONS_MAX * RECEIPT_LEN_MAX + 4;

/// The first eight bytes of an id. Prefixes sort as ids do.
pub(super) type Prefix = u64;

pub(super) fn prefix(id: &TransactionId) -> Prefix {
    id.0.first_chunk().map_or(0, |first| Prefix::from_be_bytes(*first))
}

/// All index entries for a range of prefixes.
fn entries(prefixes: RangeInclusive<Prefix>) -> RangeInclusive<(Prefix, Height)> {
    (*prefixes.start(), 0)..=(*prefixes.end(), Height::MAX)
}

/// The slice that the block at this height indexes.
fn slice_at(height: Height) -> RangeInclusive<Prefix> {
    let first = (height % SLICES) << (Prefix::BITS - SLICES.trailing_zeros());
    first..=first | (Prefix::MAX / SLICES)
}

/// Sorted prefixes of a block's transactions.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    applied: Box<[Prefix]>,
    failed: Box<[Prefix]>,
}

impl Prefixes {
    fn of(receipts: &[Receipt]) -> Self {
        let sorted = |is_ok: bool| {
            let some = receipts.iter().filter(|receipt| receipt.result.is_ok() == is_ok);
            let mut prefixes: Box<[Prefix]> =
                some.map(|receipt| prefix(&receipt.transaction)).collect();
            prefixes.sort_unstable();
            prefixes
        };
        Self { applied: sorted(true), failed: sorted(false) }
    }

    fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.failed.is_empty()
    }
}

/// The sorted prefixes that are in a range.
fn within<'a>(sorted: &'a [Prefix], range: &RangeInclusive<Prefix>) -> &'a [Prefix] {
    let rest = &sorted[sorted.partition_point(|prefix| prefix < range.start())..];
    &rest[..rest.partition_point(|prefix| prefix <= range.end())]
}

/// Blocks up to the head of which some slice is not indexed yet. At most 255 blocks with eight
/// bytes for each transaction: 4 MiB.
#[derive(Debug, Default)]
pub(super) struct UnindexedReceipts {
    head: Height,
    blocks: BTreeMap<Height, Prefixes>,
}

impl UnindexedReceipts {
    /// Reads the unindexed blocks below the head.
    pub(super) fn load(
        receipts: &impl ReadableTable<u64, &'static [u8]>,
        lowest: Height,
        head: Height,
    ) -> Result<Self, StoreError> {
        let mut unindexed = Self { head, blocks: BTreeMap::new() };
        for item in receipts.range(lowest.max((head + 2).saturating_sub(SLICES))..=head)? {
            let (height, bytes) = item?;
            unindexed.blocks.insert(height.value(), Prefixes::of(&decode(bytes.value())?));
        }
        Ok(unindexed)
    }

    /// Called when a block and the slice that it indexes are on disk.
    fn on_committed(&mut self, height: Height, prefixes: Prefixes) {
        self.head = height;
        if !prefixes.is_empty() {
            self.blocks.insert(height, prefixes);
        }
        self.blocks = self.blocks.split_off(&(height + 2).saturating_sub(SLICES));
    }

    /// Heights at which transactions with this prefix were applied, and at which they failed.
    fn find(&self, prefix: Prefix) -> (Vec<Height>, Vec<Height>) {
        let with = |of: fn(&Prefixes) -> &[Prefix]| {
            let found = self
                .blocks
                .iter()
                .filter(|(_, prefixes)| of(prefixes).binary_search(&prefix).is_ok());
            found.map(|(height, _)| *height).collect()
        };
        (with(|prefixes| &prefixes.applied), with(|prefixes| &prefixes.failed))
    }
}

/// Keys that a block adds to a slice of the index: sorted by prefix, failures last.
#[derive(Debug, Default)]
struct IndexBatch(Vec<(Prefix, bool, Height)>);

impl IndexBatch {
    fn add(&mut self, height: Height, prefixes: &Prefixes, slice: &RangeInclusive<Prefix>) {
        for (is_failed, sorted) in [(false, &prefixes.applied), (true, &prefixes.failed)] {
            self.0.extend(within(sorted, slice).iter().map(|prefix| (*prefix, is_failed, height)));
        }
    }

    fn write_to(
        mut self,
        index: &mut redb::Table<'_, (Prefix, Height), ()>,
    ) -> Result<(), StoreError> {
        self.0.sort_unstable();
        for (prefix, is_failed, height) in self.0 {
            if is_failed && index.range(entries(prefix..=prefix))?.next().transpose()?.is_some() {
                continue;
            }
            index.insert((prefix, height), ())?;
        }
        Ok(())
    }
}

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
        if is_stale || !batch.0.is_empty() {
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
        let bytes = self.read()?.open_table(BLOCK_RECEIPTS)?.get(height)?;
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

fn decode(bytes: &[u8]) -> Result<BoundedVec<Receipt, BLOCK_TRANSACTIONS_MAX>, StoreError> {
    codec::decode(bytes, RECEIPTS_LEN_MAX)
        .map_err(|_| StoreError::Damaged("the receipts of a block"))
}

#[cfg(test)]
mod tests;
