//! Rows of int8 features with their classes: the input of training and inference.
//!
//! Refused on decoding: more than the caps, a number of features that does not match, and -128,
//! which the arithmetic excludes.

use crate::compute::{
    array::Array,
    limits::{FEATURES_MAX, ROWS_MAX, VALUES_MAX},
};
use alloc::vec::Vec;
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error, ErrorKind, Read, Result},
};

/// Rows of features, row-major, and one class number each.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Samples {
    features: u32,
    values: Array<i8, VALUES_MAX>,
    labels: Array<u8, ROWS_MAX>,
}

/// The numbers do not form rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{values} values and {labels} labels do not make rows of {features} features")]
#[allow(missing_docs)]
pub struct NotSamples {
    pub features: u32,
    pub values: usize,
    pub labels: usize,
}

impl Samples {
    /// Checks sizes and range.
    pub fn new(
        features: u32,
        values: Vec<i8>,
        labels: Vec<u8>,
    ) -> core::result::Result<Self, NotSamples> {
        let refused = NotSamples { features, values: values.len(), labels: labels.len() };
        let fits = (1..=FEATURES_MAX).contains(&features)
            && Some(values.len()) == labels.len().checked_mul(features as usize)
            && !values.contains(&i8::MIN);
        let (true, Ok(values), Ok(labels)) = (fits, Array::new(values), Array::new(labels)) else {
            return Err(refused);
        };
        Ok(Self { features, values, labels })
    }

    /// Features of a row.
    pub fn features(&self) -> u32 {
        self.features
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.labels.len() as u32
    }

    /// One more than the largest class number.
    pub fn classes(&self) -> u32 {
        self.labels.iter().max().map_or(0, |y| u32::from(*y) + 1)
    }

    /// All values, row-major.
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// All class numbers.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// One row and its class.
    pub fn row(&self, row: u32) -> Option<(&[i8], u8)> {
        let start = row as usize * self.features as usize;
        Some((
            self.values.get(start..start + self.features as usize)?,
            *self.labels.get(row as usize)?,
        ))
    }

    /// `count` rows from `first` on; empty if not all of them exist.
    pub fn part(&self, first: usize, count: usize) -> (&[i8], &[u8]) {
        let width = self.features as usize;
        let values = self
            .values
            .get(first.saturating_mul(width)..first.saturating_add(count).saturating_mul(width));
        let labels = self.labels.get(first..first.saturating_add(count));
        (values.unwrap_or_default(), labels.unwrap_or_default())
    }

    /// The rows with these numbers, in this order; numbers beyond the end are left out.
    pub fn select(&self, rows: &[u32]) -> Self {
        let mut values = Vec::with_capacity(rows.len() * self.features as usize);
        let mut labels = Vec::with_capacity(rows.len());
        for (row, label) in rows.iter().filter_map(|row| self.row(*row)) {
            if values.len() + row.len() > VALUES_MAX || labels.len() == ROWS_MAX {
                break;
            }
            values.extend_from_slice(row);
            labels.push(label);
        }
        Self {
            features: self.features,
            values: Array::new(values).unwrap_or_default(),
            labels: Array::new(labels).unwrap_or_default(),
        }
    }
}

impl BorshDeserialize for Samples {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let features = u32::deserialize_reader(reader)?;
        let values = Array::<i8, VALUES_MAX>::deserialize_reader(reader)?;
        let labels = Array::<u8, ROWS_MAX>::deserialize_reader(reader)?;
        Self::new(features, values.into_vec(), labels.into_vec())
            .map_err(|_| Error::new(ErrorKind::InvalidData, "not rows of samples"))
    }
}
