//! The WAL of the consensus replica: the records that keep it from voting twice. A record is on
//! disk when the call returns. [`Store::append`](super::Store::append) deletes records that a final
//! block makes obsolete.

use super::{Store, StoreError, tables::CONSENSUS_WAL};
use redb::ReadableTable;
use tequio_core::types::Height;

impl Store {
    /// Appends a record about the decision of a height.
    pub fn wal_append(&self, height: Height, record: &[u8]) -> Result<(), StoreError> {
        let write = self.write()?;
        {
            let mut log = write.open_table(CONSENSUS_WAL)?;
            // Two heights may have records at the same time.
            let last = log.range((height, 0)..=(height, u64::MAX))?.next_back().transpose()?;
            let next = last.map_or(0, |(key, _)| key.value().1 + 1);
            log.insert((height, next), record)?;
        }
        Ok(write.commit()?)
    }

    /// All records by height, those of a height oldest first.
    pub fn wal_records(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = self.read()?;
        let log = read.open_table(CONSENSUS_WAL)?;
        log.iter()?.map(|item| Ok(item?.1.value().to_vec())).collect()
    }
}
