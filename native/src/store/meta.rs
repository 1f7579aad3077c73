//! Heights in the table [`META`](super::tables::META).

use super::{error::StoreError, tables::LOWEST_KEY};
use redb::ReadableTable;
use tequio_core::types::Height;

/// The lowest height from which on the store has all blocks.
pub(super) fn lowest_in(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Height, StoreError> {
    Ok(height_in(meta, LOWEST_KEY)?.unwrap_or(1))
}

/// A height, if it is stored.
pub(super) fn height_in(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Option<Height>, StoreError> {
    let height = meta.get(key)?.map(|bytes| bytes.value().try_into().map(Height::from_le_bytes));
    height.transpose().map_err(|_| StoreError::Damaged("a height"))
}
