//! What a coordinator must remember of its jobs: records in the order in which they came.

use super::{Store, StoreError, tables::JOBS};
use redb::ReadableTable;
use std::ops::RangeInclusive;
use tequio_core::ledger::job::JobId;

/// Keys of all records of a job.
fn all(job: &JobId) -> RangeInclusive<(&[u8; 32], u64)> {
    (&job.0, 0)..=(&job.0, u64::MAX)
}

impl Store {
    /// Appends a record. One that begins a round makes the records of earlier rounds superfluous.
    pub fn job_append(
        &self,
        job: &JobId,
        begins_round: bool,
        record: &[u8],
    ) -> Result<(), StoreError> {
        let write = self.write()?;
        {
            let mut table = write.open_table(JOBS)?;
            let last = table.range(all(job))?.next_back().transpose()?;
            let next = last.map_or(0, |(key, _)| key.value().1 + 1);
            if begins_round {
                table.retain_in(all(job), |_, _| false)?;
            }
            table.insert((&job.0, next), record)?;
        }
        Ok(write.commit()?)
    }

    /// A job's records, oldest first.
    pub fn job_records(&self, job: &JobId) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = self.read()?;
        let table = read.open_table(JOBS)?;
        let records = table.range(all(job))?;
        records.map(|item| Ok(item?.1.value().to_vec())).collect()
    }

    /// Forgets all of a job.
    pub fn job_forget(&self, job: &JobId) -> Result<(), StoreError> {
        let write = self.write()?;
        write.open_table(JOBS)?.retain_in(all(job), |_, _| false)?;
        Ok(write.commit()?)
    }
}
