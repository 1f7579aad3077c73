//! Blocks of the knowledge base by CID. Callers verify the bytes before they store them.

use super::{Store, StoreError, tables::OBJECTS};
use redb::ReadableTableMetadata;
use tequio_core::content::{
    Cid,
    object::{Block, Contents, ObjectError, contents},
};
use tequio_core::types::{Unverified, Verified};

/// The reason why contents cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A block is missing.
    #[error("object {0} is not stored here")]
    Missing(Cid),
    /// The block is not a list of parts.
    #[error("{0}")]
    Object(#[from] ObjectError),
    /// A failure of the store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Store {
    /// Stores verified blocks.
    pub fn put_objects(&self, blocks: &[Verified<Block>]) -> Result<(), StoreError> {
        let write = self.write()?;
        {
            let mut table = write.open_table(OBJECTS)?;
            for block in blocks {
                table.insert(&block.cid.to_bytes(), block.bytes.as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    /// The bytes of a block.
    pub fn object(&self, cid: &Cid) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.read()?;
        Ok(read.open_table(OBJECTS)?.get(&cid.to_bytes())?.map(|bytes| bytes.value().to_vec()))
    }

    /// Whether the store has a block.
    pub fn has_object(&self, cid: &Cid) -> Result<bool, StoreError> {
        Ok(self.read()?.open_table(OBJECTS)?.get(&cid.to_bytes())?.is_some())
    }

    /// Number of blocks.
    pub fn object_count(&self) -> Result<u64, StoreError> {
        Ok(self.read()?.open_table(OBJECTS)?.len()?)
    }

    /// Contents that may be split into parts.
    pub fn contents(&self, cid: &Cid) -> Result<Vec<u8>, ReadError> {
        let block = |cid: Cid| -> Result<Verified<Block>, ReadError> {
            let bytes = self.object(&cid)?.ok_or(ReadError::Missing(cid))?;
            // Checked again against its CID, because a disk may return wrong bytes.
            Ok(Unverified::new(Block { cid, bytes }).verify()?)
        };
        match contents(block(*cid)?)? {
            Contents::Whole(bytes) => Ok(bytes),
            Contents::Parts { len, parts } => {
                let mut whole = Vec::new();
                for part in parts {
                    whole.extend_from_slice(&block(part)?.bytes);
                }
                if whole.len() != len {
                    Err(ObjectError::WrongForm("list of parts").into())
                } else {
                    Ok(whole)
                }
            }
        }
    }
}
