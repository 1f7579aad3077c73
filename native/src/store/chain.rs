//! Blocks, certificates and the newest state.

use super::{
    Store, StoreError,
    meta::height_in,
    tables::{BLOCKS, CHANGES, CONSENSUS_WAL, ENTRIES, HEAD_KEY, HEADERS, META},
    unmerged_changes::UnmergedChanges,
};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tequio_core::{
    codec::{self, BoundedVec},
    ledger::{
        Block, Certificate, Receipt, SignedTransaction, State, StateChange,
        block::{BLOCK_LEN_MAX, BLOCK_TRANSACTIONS_MAX},
        genesis::GenesisState,
        state::ENTRY_LEN_MAX,
    },
    types::Height,
    wire::light::FinalHeader,
};

pub(super) const HEADER_LEN_MAX: usize = 4096;

/// A final block with its effects.
#[derive(Clone, Copy, Debug)]
pub struct FinalBlock<'a> {
    /// The block.
    pub block: &'a Block,
    /// The commit certificate that makes the block final.
    pub certificate: &'a Certificate,
    /// State entries that the block changes.
    pub changes: &'a [StateChange],
    /// Receipts of the block's transactions.
    pub receipts: &'a [Receipt],
}

/// The head of the chain.
#[derive(Clone, Debug)]
pub struct Head {
    /// The newest final header.
    pub header: FinalHeader,
    /// The state after the newest final block.
    pub state: State,
}

impl Store {
    /// The head of the chain. An empty store starts at the genesis.
    pub fn load_head(&self, start: &GenesisState) -> Result<Head, StoreError> {
        let loaded = crate::panics::catch(|| self.read_head(start));
        loaded.unwrap_or_else(|panic| Err(StoreError::of_panic(&self.path, &panic)))
    }

    fn read_head(&self, start: &GenesisState) -> Result<Head, StoreError> {
        let Some(height) = self.head_height()? else {
            return self.begin_chain(start);
        };
        let header = self.final_header(height)?.ok_or(StoreError::Damaged("the head"))?;
        let read = self.read()?;
        let mut state = read_entries(&read, ENTRIES)?;
        UnmergedChanges::load(&read.open_table(CHANGES)?, height)?.complete(&mut state)?;
        if state.root() != header.header.state {
            return Err(StoreError::WrongRoot);
        }
        Ok(Head { header, state })
    }

    fn begin_chain(&self, start: &GenesisState) -> Result<Head, StoreError> {
        let header = FinalHeader { header: start.header.clone(), certificate: None };
        let write = self.write()?;
        {
            write.open_table(HEADERS)?.insert(0, codec::encode(&header).as_slice())?;
            write.open_table(META)?.insert(HEAD_KEY, 0u64.to_le_bytes().as_slice())?;
            let mut entries = write.open_table(ENTRIES)?;
            for entry in start.state.entries() {
                entries.insert(&entry.state_key().0, codec::encode(entry).as_slice())?;
            }
        }
        write.commit()?;
        Ok(Head { header, state: start.state.clone() })
    }

    /// The final height.
    pub fn head_height(&self) -> Result<Option<Height>, StoreError> {
        height_in(&self.read()?.open_table(META)?, HEAD_KEY)
    }

    /// Appends a final block. Its predecessor must be the head. WAL records up to its height are
    /// deleted.
    pub fn append(&self, last: FinalBlock<'_>) -> Result<(), StoreError> {
        let height = last.block.header.height;
        let write = self.write()?;
        append(&write, last)?;
        self.append_changes(&write, height, last.changes)?;
        let prefixes = self.append_receipts(&write, height, last.receipts)?;
        write.commit()?;
        self.on_changes_committed(height, last.changes);
        self.on_receipts_committed(height, prefixes);
        Ok(())
    }

    /// A final header with its certificate.
    pub fn final_header(&self, height: Height) -> Result<Option<FinalHeader>, StoreError> {
        let read = self.read()?;
        let bytes = read.open_table(HEADERS)?.get(height)?;
        let header = bytes.map(|b| codec::decode(b.value(), HEADER_LEN_MAX)).transpose();
        header.map_err(|_| StoreError::Damaged("a header"))
    }

    /// Whether the store has the final header of each height.
    pub fn has_headers(&self, heights: &[Height]) -> Result<Vec<bool>, StoreError> {
        let table = self.read()?.open_table(HEADERS)?;
        heights.iter().map(|height| Ok(table.get(height)?.is_some())).collect()
    }

    /// Stores final headers below the lowest block: those that end epochs, so that light clients
    /// can follow the committee handovers.
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

    /// A final block with its certificate. None for the genesis and for pruned blocks.
    pub fn block(&self, height: Height) -> Result<Option<(Block, Certificate)>, StoreError> {
        if height < self.lowest_block()? {
            return Ok(None);
        }
        let Some(FinalHeader { header, certificate: Some(certificate) }) =
            self.final_header(height)?
        else {
            return Ok(None);
        };
        let read = self.read()?;
        let bytes = read.open_table(BLOCKS)?.get(height)?.ok_or(StoreError::Damaged("a block"))?;
        let transactions: BoundedVec<SignedTransaction, BLOCK_TRANSACTIONS_MAX> =
            codec::decode(bytes.value(), BLOCK_LEN_MAX)
                .map_err(|_| StoreError::Damaged("a block"))?;
        Ok(Some((Block { header, transactions }, certificate)))
    }
}

/// Adds a final block to a write transaction, without its changes and receipts.
fn append(write: &WriteTransaction, last: FinalBlock<'_>) -> Result<(), StoreError> {
    let FinalBlock { block, certificate, .. } = last;
    let height = block.header.height;
    let header =
        FinalHeader { header: block.header.clone(), certificate: Some(certificate.clone()) };
    let mut meta = write.open_table(META)?;
    let head = height_in(&meta, HEAD_KEY)?.ok_or(StoreError::Damaged("the head"))?;
    if height != head + 1 {
        return Err(StoreError::NotNext { head, found: height });
    }
    meta.insert(HEAD_KEY, height.to_le_bytes().as_slice())?;
    write.open_table(HEADERS)?.insert(height, codec::encode(&header).as_slice())?;
    write.open_table(BLOCKS)?.insert(height, codec::encode(&block.transactions).as_slice())?;
    write.open_table(CONSENSUS_WAL)?.retain_in(..=(height, u64::MAX), |_, _| false)?;
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
        state.insert(
            codec::decode(bytes.value(), ENTRY_LEN_MAX)
                .map_err(|_| StoreError::Damaged("the state"))?,
        );
    }
    Ok(state)
}
