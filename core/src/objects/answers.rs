//! The answers object: the output of a batch inference, one DAG-CBOR block. It names the model and
//! the batch, and holds one class number per row; the model holds the names of the classes.

use crate::{
    compute::limits::ROWS_MAX,
    content::{
        Cid,
        block::{BLOCK_LEN_MAX, Block, ObjectError},
        dag_cbor::{self, bytes, digest},
    },
    ledger::ids::JobId,
    types::{Digest, Verified},
};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use ipld_core::cid::Cid as AnyCid;
use serde::{Deserialize, Serialize};

/// The kind field of the block.
const KIND: &str = "tequio/answers";
/// Version of the block's format.
const VERSION: u32 = 1;
const WRONG_FORM: ObjectError = ObjectError::WrongForm("answers");
/// The largest batch, with room for the names, fits into one block.
const _: () = assert!(ROWS_MAX + 1024 <= BLOCK_LEN_MAX);

/// The answers for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The job that made them.
    pub job: JobId,
    /// The model that answered.
    pub model: Cid,
    /// The rows of the batch.
    pub batch: Cid,
    /// The class of every row, in the model's numbering.
    pub classes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Form {
    kind: String,
    version: u32,
    #[serde(with = "bytes")]
    job: Vec<u8>,
    model: AnyCid,
    batch: AnyCid,
    #[serde(with = "bytes")]
    classes: Vec<u8>,
}

impl Answers {
    /// The block of these answers.
    pub fn to_block(&self) -> Result<Block, ObjectError> {
        dag_cbor::encode(&Form {
            kind: KIND.to_string(),
            version: VERSION,
            job: self.job.0.to_vec(),
            model: self.model.into(),
            batch: self.batch.into(),
            classes: self.classes.clone(),
        })
    }

    /// Reads a block whose bytes have been checked against its name.
    pub fn from_block(block: Verified<Block>) -> Result<Self, ObjectError> {
        let form: Form = dag_cbor::decode(&block.bytes)?;
        let fits = form.kind == KIND
            && form.version == VERSION
            && (1..=ROWS_MAX).contains(&form.classes.len());
        if !fits {
            return Err(WRONG_FORM);
        }
        Ok(Self {
            job: Digest(digest(&form.job, &WRONG_FORM)?),
            model: form.model.try_into().map_err(|_| WRONG_FORM)?,
            batch: form.batch.try_into().map_err(|_| WRONG_FORM)?,
            classes: form.classes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{content::CidCodec, types::Unverified};
    use alloc::vec;

    #[test]
    fn answers_round_trip_through_their_block() {
        let mut answers = Answers {
            job: Digest([1; 32]),
            model: Cid::of(CidCodec::DagCbor, b"model"),
            batch: Cid::of(CidCodec::Raw, b"rows"),
            classes: vec![3; ROWS_MAX],
        };
        let read = |a: &Answers| {
            Answers::from_block(Unverified::new(a.to_block().unwrap()).verify().unwrap())
        };
        assert_eq!(read(&answers), Ok(answers.clone()));
        answers.classes.clear();
        assert!(read(&answers).is_err());
    }
}
