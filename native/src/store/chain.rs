//! Blocks, certificates and the newest state.

use super::{
    Store, StoreError,
    tables::{BLOCKS, ENTRIES, HEAD_KEY, HEADERS, LOG, META, RECEIPTS},
};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{
        Block, Certificate, Change, Receipt, SignedTransaction, State, TransactionId,
        block::{BLOCK_LEN_MAX, BLOCK_TRANSACTIONS_MAX},
        genesis::Start,
        state::ENTRY_LEN_MAX,
    },
    types::Height,
    wire::light::FinalHeader,
};

pub(super) const HEADER_LEN_MAX: usize = 4096;
const RECEIPT_LEN_MAX: usize = 4096;

/// A block that has become final, with everything that follows from it.
#[derive(Clone, Copy, Debug)]
pub struct FinalBlock<'a> {
    /// The block.
    pub block: &'a Block,
    /// Makes it final.
    pub certificate: &'a Certificate,
    /// Entries that it changes.
    pub changes: &'a [Change],
    /// What became of its transactions.
    pub receipts: &'a [Receipt],
}

/// Where the chain stands.
#[derive(Clone, Debug)]
pub struct Head {
    /// The newest final header.
    pub header: FinalHeader,
    /// The state after it.
    pub state: State,
}

impl Store {
    /// Where the chain stands; an empty store takes the genesis.
    pub fn load_head(&self, start: &Start) -> Result<Head, StoreError> {
        let Some(height) = self.head_height()? else {
            return self.begin_chain(start);
        };
        let header = self.final_header(height)?.ok_or(StoreError::Damaged("the head"))?;
        let state = read_entries(&self.read()?, ENTRIES)?;
        if state.root() != header.header.state {
            return Err(StoreError::WrongRoot);
        }
        Ok(Head { header, state })
    }

    fn begin_chain(&self, start: &Start) -> Result<Head, StoreError> {
        let header = FinalHeader { header: start.header.clone(), certificate: None };
        let write = self.write()?;
        {
            write.open_table(HEADERS)?.insert(0, codec::encode(&header).as_slice())?;
            write.open_table(META)?.insert(HEAD_KEY, 0u64.to_le_bytes().as_slice())?;
            let mut entries = write.open_table(ENTRIES)?;
            for entry in start.state.entries() {
                entries.insert(&entry.place().0, codec::encode(entry).as_slice())?;
            }
        }
        write.commit()?;
        Ok(Head { header, state: start.state.clone() })
    }

    /// The final height.
    pub fn head_height(&self) -> Result<Option<Height>, StoreError> {
        let read = self.read()?;
        let head = read.open_table(META)?.get(HEAD_KEY)?;
        head.map(|v| height_from(v.value())).transpose()
    }

    /// Appends a final block. Its predecessor must be the head. The log up to it is dropped.
    pub fn append(&self, last: FinalBlock<'_>) -> Result<(), StoreError> {
        let write = self.write()?;
        append(&write, last)?;
        Ok(write.commit()?)
    }

    /// A final header with its certificate.
    pub fn final_header(&self, height: Height) -> Result<Option<FinalHeader>, StoreError> {
        let read = self.read()?;
        let bytes = read.open_table(HEADERS)?.get(height)?;
        let header = bytes.map(|b| codec::decode(b.value(), HEADER_LEN_MAX)).transpose();
        header.map_err(|_| StoreError::Damaged("a header"))
    }

    /// Keeps final headers whose blocks are passed over: those that end epochs, so that light nodes can walk here too.
    pub fn keep_headers(&self, headers: &[FinalHeader]) -> Result<(), StoreError> {
        let lowest = self.lowest_block()?;
        let write = self.write()?;
        {
            let mut table = write.open_table(HEADERS)?;
            for header in headers.iter().filter(|header| header.header.height < lowest) {
                table.insert(header.header.height, codec::encode(header).as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    /// A final block with its certificate; genesis is none, and those below the lowest are here no longer.
    pub fn block(&self, height: Height) -> Result<Option<(Block, Certificate)>, StoreError> {
        if height < self.lowest_block()? {
            return Ok(None);
        }
        let Some(FinalHeader { header, certificate: Some(certificate) }) = self.final_header(height)? else {
            return Ok(None);
        };
        let read = self.read()?;
        let bytes = read.open_table(BLOCKS)?.get(height)?.ok_or(StoreError::Damaged("a block"))?;
        let transactions: BoundedVec<SignedTransaction, BLOCK_TRANSACTIONS_MAX> =
            codec::decode(bytes.value(), BLOCK_LEN_MAX).map_err(|_| StoreError::Damaged("a block"))?;
        Ok(Some((Block { header, transactions }, certificate)))
    }

    /// What became of a transaction, and at which height.
    pub fn receipt(&self, id: &TransactionId) -> Result<Option<(Height, Receipt)>, StoreError> {
        let read = self.read()?;
        let Some(found) = read.open_table(RECEIPTS)?.get(&id.0)? else { return Ok(None) };
        let (height, bytes) = found.value();
        let receipt = codec::decode(bytes, RECEIPT_LEN_MAX).map_err(|_| StoreError::Damaged("a receipt"))?;
        Ok(Some((height, receipt)))
    }
}

/// Appends a final block to a write that its caller commits.
pub(super) fn append(write: &WriteTransaction, last: FinalBlock<'_>) -> Result<(), StoreError> {
    let FinalBlock { block, certificate, changes, receipts } = last;
    let height = block.header.height;
    let header = FinalHeader { header: block.header.clone(), certificate: Some(certificate.clone()) };
    let mut meta = write.open_table(META)?;
    let head = meta.get(HEAD_KEY)?.map(|v| height_from(v.value())).transpose()?;
    let head = head.ok_or(StoreError::Damaged("the head"))?;
    if height != head + 1 {
        return Err(StoreError::NotNext { head, found: height });
    }
    meta.insert(HEAD_KEY, height.to_le_bytes().as_slice())?;
    write.open_table(HEADERS)?.insert(height, codec::encode(&header).as_slice())?;
    write.open_table(BLOCKS)?.insert(height, codec::encode(&block.transactions).as_slice())?;
    let mut entries = write.open_table(ENTRIES)?;
    // In the order of their places: one page is taken up after the other.
    for change in changes {
        entries.insert(&change.place.0, change.bytes.as_slice())?;
    }
    let mut table = write.open_table(RECEIPTS)?;
    let mut receipts: Vec<&Receipt> = receipts.iter().collect();
    // Likewise. Of several about one transaction, those that came first stay first.
    receipts.sort_by_key(|receipt| receipt.transaction);
    for receipt in receipts {
        // A transaction may stand in several blocks; the one in which it was applied counts.
        if receipt.result.is_ok() || table.get(&receipt.transaction.0)?.is_none() {
            table.insert(&receipt.transaction.0, (height, codec::encode(receipt).as_slice()))?;
        }
    }
    write.open_table(LOG)?.retain_in(..=(height, u64::MAX), |_, _| false)?;
    Ok(())
}

/// A state, from its entries.
pub(super) fn read_entries(
    read: &ReadTransaction,
    table: TableDefinition<&'static [u8; 32], &'static [u8]>,
) -> Result<State, StoreError> {
    let mut state = State::default();
    for item in read.open_table(table)?.iter()? {
        let (_, bytes) = item?;
        state.insert(codec::decode(bytes.value(), ENTRY_LEN_MAX).map_err(|_| StoreError::Damaged("the state"))?);
    }
    Ok(state)
}

pub(super) fn height_from(bytes: &[u8]) -> Result<Height, StoreError> {
    Ok(Height::from_le_bytes(bytes.try_into().map_err(|_| StoreError::Damaged("the head"))?))
}
