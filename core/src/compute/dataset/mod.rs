//! Data sets: from a CSV to the bytes that a job binds. Section 0 of the training specification.
//!
//! The submitter prepares a table once; all other nodes receive a [`Dataset`], whose digest the job
//! names. The same table, label, scaling and seed give the same bytes everywhere.

mod csv;
mod error;
mod normalizer;
mod prepare;
mod samples;

pub use error::DatasetError;
pub use normalizer::{Moments, Normalizer, NotNormalizable, Scaling};
pub use prepare::{CsvOptions, Label, PIXELS_MIN, prepare, read_batch};
pub use samples::{FEATURES_MAX, NotSamples, ROWS_MAX, Samples, VALUES_MAX};

use super::params::CLASSES_MAX;
use crate::{
    codec::{BoundedString, BoundedVec},
    crypto::hash::{self, HashContext},
    types::Digest,
};
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{self, ErrorKind},
};

/// Most bytes of a CSV.
pub const CSV_BYTES_MAX: usize = 64 << 20;
/// Most bytes of an encoded [`Dataset`].
pub const DATASET_BYTES_MAX: usize = 16 << 20;
/// Most bytes of a class's or a column's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of an encoded data set that do not depend on its size.
const FRAME_BYTES: usize = 64;

/// The name of a class or a column.
pub type Name = BoundedString<NAME_BYTES_MAX>;

/// A prepared data set: training and test rows in int8, and the names and scaling that give them
/// meaning.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Dataset {
    columns: BoundedVec<Name, { FEATURES_MAX as usize }>,
    label: Name,
    classes: BoundedVec<Name, { CLASSES_MAX as usize }>,
    normalizer: Normalizer,
    seed: u32,
    train: Samples,
    test: Samples,
}

impl Dataset {
    /// Names of the feature columns, in order.
    pub fn columns(&self) -> &[Name] {
        &self.columns
    }

    /// Name of the column that held the class.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Names of the classes, by class number.
    pub fn classes(&self) -> &[Name] {
        &self.classes
    }

    /// The scaling from numbers to int8.
    pub fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// Seed of the split.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Rows to train with.
    pub fn train(&self) -> &Samples {
        &self.train
    }

    /// Rows kept back for testing.
    pub fn test(&self) -> &Samples {
        &self.test
    }

    /// Features of a row.
    pub fn features(&self) -> u32 {
        self.train.features()
    }

    /// The digest that a job binds.
    pub fn hash(&self) -> Digest {
        hash::hash_of(HashContext::Dataset, self)
    }

    /// Length of the encoding.
    fn encoded_len(&self) -> usize {
        let names = self
            .columns
            .iter()
            .chain(self.classes.iter())
            .chain([&self.label])
            .map(|n| n.len() + 4);
        let rows = [&self.train, &self.test].map(|s| s.values().len() + s.labels().len());
        names.sum::<usize>()
            + rows.iter().sum::<usize>()
            + 16 * self.normalizer.moments().len()
            + FRAME_BYTES
    }

    /// Whether the parts fit one another and the caps.
    fn consistent(&self) -> bool {
        let features = self.train.features();
        let classes = self.classes.len() as u32;
        let columns = match self.normalizer.scaling() {
            Scaling::PerColumn => features as usize,
            Scaling::Global => 1,
        };
        self.test.features() == features
            && self.columns.len() == features as usize
            && self.normalizer.moments().len() == columns
            && classes >= 2
            && self.train.rows() > 0
            && self.train.rows() as usize + self.test.rows() as usize <= ROWS_MAX
            && self.train.classes() <= classes
            && self.test.classes() <= classes
            && self.encoded_len() <= DATASET_BYTES_MAX
    }
}

impl BorshDeserialize for Dataset {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let data = Self {
            columns: BorshDeserialize::deserialize_reader(reader)?,
            label: BorshDeserialize::deserialize_reader(reader)?,
            classes: BorshDeserialize::deserialize_reader(reader)?,
            normalizer: BorshDeserialize::deserialize_reader(reader)?,
            seed: BorshDeserialize::deserialize_reader(reader)?,
            train: BorshDeserialize::deserialize_reader(reader)?,
            test: BorshDeserialize::deserialize_reader(reader)?,
        };
        if data.consistent() {
            Ok(data)
        } else {
            Err(io::Error::new(
                ErrorKind::InvalidData,
                "parts of the data set contradict one another",
            ))
        }
    }
}

#[cfg(test)]
mod tests;
