//! Persistent records of a coordinator's jobs, in the order in which they were appended.

use super::{Store, StoreError, tables::JOBS};
use redb::ReadableTable;
use std::ops::RangeInclusive;
use tequio_core::ledger::job::JobId;

/// Keys of all records of a job.
fn all(job: &JobId) -> RangeInclusive<(&[u8; 32], u64)> {
    (&job.0, 0)..=(&job.0, u64::MAX)
}

impl Store {
    /// Appends a record. A record that begins a round deletes those of earlier rounds.
    pub fn append_job_record(
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

    /// Deletes all records of a job.
    pub fn delete_job_records(&self, job: &JobId) -> Result<(), StoreError> {
        let write = self.write()?;
        write.open_table(JOBS)?.retain_in(all(job), |_, _| false)?;
        Ok(write.commit()?)
    }
}
