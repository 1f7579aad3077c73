//! What became of transactions: receipts in the order of blocks, and an index by which one of them
//! is found.
//!
//! The id of a transaction is a random key. An index that took in every id with its block would
//! write about a page for each of them, as soon as it has more pages than a block has transactions.
//! So a block takes in one slice of the range of ids only, but of the last [`SLICES`] blocks, its
//! own included: about as many keys, beside each other in few pages. Slice `s` of block
//! `b` is in the index once a height `h` in `b..=head` has `h mod SLICES = s`. So what is missing
//! there follows from the head alone; it is kept in memory, and read again from the receipts when
//! the store is opened.
//!
//! An entry is the beginning of an id and a height, of fixed width. Several for one beginning are
//! normal: a transaction may stand in several blocks, and two with the same beginning can be
//! searched for (2³² attempts). The receipts of the blocks tell them apart. So that repeating a
//! transaction that fails makes no lookup longer, a failure is not entered where its beginning is
//! known already: of two that somebody made to collide, the one that fails later is then not found.
//! One that was applied always is. Why it is so: `docs/adr/0022-receipts-in-the-order-of-blocks.
//! md`.

use super::{
    Store, StoreError,
    chain::{height_in, lowest_in},
    tables::{BLOCK_RECEIPTS, LOWEST_SINCE_KEY, META, RECEIPT_INDEX},
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

/// Parts of the range of ids, by the first byte, one of which each block takes into the index.
const SLICES: Height = 256;
const RECEIPT_LEN_MAX: usize = 4096;
const RECEIPTS_LEN_MAX: usize = BLOCK_TRANSACTIONS_MAX * RECEIPT_LEN_MAX + 4;

/// The first eight bytes of an id, which sort as ids do.
pub(super) type Prefix = u64;

pub(super) fn prefix(id: &TransactionId) -> Prefix {
    id.0.first_chunk().map_or(0, |first| Prefix::from_be_bytes(*first))
}

/// All entries of the index for a range of prefixes.
fn entries(prefixes: RangeInclusive<Prefix>) -> RangeInclusive<(Prefix, Height)> {
    (*prefixes.start(), 0)..=(*prefixes.end(), Height::MAX)
}

/// The slice whose turn it is.
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

/// Those of sorted prefixes that are in a range.
fn within<'a>(sorted: &'a [Prefix], range: &RangeInclusive<Prefix>) -> &'a [Prefix] {
    let rest = &sorted[sorted.partition_point(|prefix| prefix < range.start())..];
    &rest[..rest.partition_point(|prefix| prefix <= range.end())]
}

/// Of the blocks up to the head, those of which some slice is not in the index yet. At most 255
/// blocks with eight bytes for each transaction: 4 MiB.
#[derive(Debug, Default)]
pub(super) struct Pending {
    head: Height,
    blocks: BTreeMap<Height, Prefixes>,
}

impl Pending {
    /// Reads what follows from the head.
    pub(super) fn load(
        receipts: &impl ReadableTable<u64, &'static [u8]>,
        lowest: Height,
        head: Height,
    ) -> Result<Self, StoreError> {
        let mut pending = Self { head, blocks: BTreeMap::new() };
        for item in receipts.range(lowest.max((head + 2).saturating_sub(SLICES))..=head)? {
            let (height, bytes) = item?;
            pending.blocks.insert(height.value(), Prefixes::of(&decode(bytes.value())?));
        }
        Ok(pending)
    }

    /// A block is on disk, and with it the slice whose turn it was.
    fn enter(&mut self, height: Height, prefixes: Prefixes) {
        self.head = height;
        if !prefixes.is_empty() {
            self.blocks.insert(height, prefixes);
        }
        self.blocks = self.blocks.split_off(&(height + 2).saturating_sub(SLICES));
    }

    /// Heights at which transactions that begin so were applied, and at which they failed.
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

/// What a block adds to a slice of the index: sorted by prefix, failures last.
#[derive(Debug, Default)]
struct Run(Vec<(Prefix, bool, Height)>);

impl Run {
    fn add(&mut self, height: Height, prefixes: &Prefixes, slice: &RangeInclusive<Prefix>) {
        for (is_failed, sorted) in [(false, &prefixes.applied), (true, &prefixes.failed)] {
            self.0.extend(within(sorted, slice).iter().map(|prefix| (*prefix, is_failed, height)));
        }
    }

    fn enter(
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
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the receipts of the block after the head, and what the index takes in at its height, to
    /// a write. Once that is committed, [`Store::receipts_appended`] must be told.
    pub(super) fn append_receipts(
        &self,
        write: &WriteTransaction,
        height: Height,
        receipts: &[Receipt],
    ) -> Result<Prefixes, StoreError> {
        let (lowest, since) = {
            let meta = write.open_table(META)?;
            (lowest_in(&meta)?, height_in(&meta, LOWEST_SINCE_KEY)?)
        };
        let mut table = write.open_table(BLOCK_RECEIPTS)?;
        let (prefixes, slice) = (Prefixes::of(receipts), slice_at(height));
        let mut run = Run::default();
        run.add(height, &prefixes, &slice);
        {
            let mut pending = self.pending();
            if pending.head + 1 != height {
                // A state was fetched, or another thread has appended and not entered it yet.
                *pending = Pending::load(&table, lowest, height - 1)?;
            }
            // What is below the lowest block goes soon.
            pending
                .blocks
                .range(lowest..)
                .for_each(|(height, prefixes)| run.add(*height, prefixes, &slice));
        }
        if !receipts.is_empty() {
            table.insert(height, codec::encode(receipts).as_slice())?;
        }
        // Entries of blocks that have gone since the lowest one changed.
        let is_stale = since.is_some_and(|since| (since + 1..=since + SLICES).contains(&height));
        if is_stale || !run.0.is_empty() {
            let mut index = write.open_table(RECEIPT_INDEX)?;
            if is_stale {
                index.retain_in(entries(slice), |(_, height), ()| height >= lowest)?;
            }
            run.enter(&mut index)?;
        }
        Ok(prefixes)
    }

    /// The write to which [`Store::append_receipts`] has added is on disk.
    pub(super) fn receipts_appended(&self, height: Height, prefixes: Prefixes) {
        self.pending().enter(height, prefixes);
    }

    /// What became of a transaction, and at which height: where it was applied, otherwise where it
    /// failed first.
    pub fn receipt(&self, id: &TransactionId) -> Result<Option<(Height, Receipt)>, StoreError> {
        let prefix = prefix(id);
        // Before the tables are looked at: what goes from memory meanwhile is in them by then.
        let (mut heights, failed) = self.pending().find(prefix);
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
        // Failures that wait are later than what the index has, and there may be one in each block:
        // only the first is wanted.
        let mut failed = failed.into_iter();
        while let (None, Some(height)) = (&first, failed.next()) {
            first = find(&table, height, id)?.map(|receipt| (height, receipt));
        }
        Ok(first)
    }

    /// What became of a block's transactions, in its order; nothing where the block is not here.
    pub fn receipts(&self, height: Height) -> Result<Vec<Receipt>, StoreError> {
        let bytes = self.read()?.open_table(BLOCK_RECEIPTS)?.get(height)?;
        bytes.map_or(Ok(Vec::new()), |bytes| Ok(decode(bytes.value())?.into_vec()))
    }
}

/// The receipt of a transaction in one block, the one that says that it was applied first.
fn find(
    table: &impl ReadableTable<u64, &'static [u8]>,
    height: Height,
    id: &TransactionId,
) -> Result<Option<Receipt>, StoreError> {
    // Blocks that were pruned leave entries behind until their slice's turn.
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
