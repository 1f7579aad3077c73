//! The index of receipts by transaction: its slices, and what is in memory because the table lacks
//! it.
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
//! searched for (2³² attempts). The receipts of the blocks distinguish them. A failed transaction
//! is not indexed if its prefix already has an entry, so repeating it makes no lookup longer. If
//! two ids were made to collide, the one that fails later is therefore not found; an applied
//! transaction always is. Rationale: `docs/adr/0022-receipts-by-height.md`.

use super::error::StoreError;
use redb::ReadableTable;
use std::{collections::BTreeMap, ops::RangeInclusive};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{Receipt, TransactionId, block::BLOCK_TRANSACTIONS_MAX},
    types::Height,
};

/// Number of slices of the id range, by the first byte. Each block indexes one of them.
pub(super) const SLICES: Height = 256;
const RECEIPT_LEN_MAX: usize = 4096;
const RECEIPTS_LEN_MAX: usize = BLOCK_TRANSACTIONS_MAX * RECEIPT_LEN_MAX + 4;

/// The first eight bytes of an id. Prefixes sort as ids do.
pub(super) type Prefix = u64;

pub(super) fn prefix(id: &TransactionId) -> Prefix {
    id.0.first_chunk().map_or(0, |first| Prefix::from_be_bytes(*first))
}

/// All index entries for a range of prefixes.
pub(super) fn entries(prefixes: RangeInclusive<Prefix>) -> RangeInclusive<(Prefix, Height)> {
    (*prefixes.start(), 0)..=(*prefixes.end(), Height::MAX)
}

/// The slice that the block at this height indexes.
pub(super) fn slice_at(height: Height) -> RangeInclusive<Prefix> {
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
    pub(super) fn of(receipts: &[Receipt]) -> Self {
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
    pub(super) head: Height,
    pub(super) blocks: BTreeMap<Height, Prefixes>,
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
    pub(super) fn on_committed(&mut self, height: Height, prefixes: Prefixes) {
        self.head = height;
        if !prefixes.is_empty() {
            self.blocks.insert(height, prefixes);
        }
        self.blocks = self.blocks.split_off(&(height + 2).saturating_sub(SLICES));
    }

    /// Heights at which transactions with this prefix were applied, and at which they failed.
    pub(super) fn find(&self, prefix: Prefix) -> (Vec<Height>, Vec<Height>) {
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
pub(super) struct IndexBatch(Vec<(Prefix, bool, Height)>);

impl IndexBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(
        &mut self,
        height: Height,
        prefixes: &Prefixes,
        slice: &RangeInclusive<Prefix>,
    ) {
        for (is_failed, sorted) in [(false, &prefixes.applied), (true, &prefixes.failed)] {
            self.0.extend(within(sorted, slice).iter().map(|prefix| (*prefix, is_failed, height)));
        }
    }

    pub(super) fn write_to(
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

/// Decodes the receipts of a block.
pub(super) fn decode(
    bytes: &[u8],
) -> Result<BoundedVec<Receipt, BLOCK_TRANSACTIONS_MAX>, StoreError> {
    codec::decode(bytes, RECEIPTS_LEN_MAX)
        .map_err(|_| StoreError::Damaged("the receipts of a block"))
}
