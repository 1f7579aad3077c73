//! The prepared data set that a job binds by its digest. Refused on decoding: parts that do not fit
//! one another, and more than the caps.

use super::{
    normalizer::{Normalizer, Scaling},
    samples::Samples,
};
use crate::{
    codec::{BoundedString, BoundedVec},
    compute::limits::{CLASSES_MAX, DATASET_BYTES_MAX, FEATURES_MAX, NAME_BYTES_MAX, ROWS_MAX},
    crypto::hash::{self, HashContext},
    types::Digest,
};
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{self, ErrorKind},
};

/// Bytes of an encoded data set that do not depend on its size.
const FRAME_BYTES: usize = 64;

/// The name of a class or a column.
pub type Name = BoundedString<NAME_BYTES_MAX>;

/// A prepared data set: training and test rows in int8, and the names and scaling that give them
/// meaning.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Dataset {
    pub(super) columns: BoundedVec<Name, { FEATURES_MAX as usize }>,
    pub(super) label: Name,
    pub(super) classes: BoundedVec<Name, { CLASSES_MAX as usize }>,
    pub(super) normalizer: Normalizer,
    pub(super) seed: u32,
    pub(super) train: Samples,
    pub(super) test: Samples,
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
    pub(super) fn encoded_len(&self) -> usize {
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
