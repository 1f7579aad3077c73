//! Scales measured numbers to int8: the mean and deviation of the training rows, and the rounding.
//!
//! Additions, divisions and the square root are single IEEE 754 operations in a fixed order, so
//! native code and wasm round alike. Inference applies the same [`Normalizer`] to a new row.

use crate::{codec::BoundedVec, compute::limits::FEATURES_MAX};
use alloc::vec::Vec;
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{self, ErrorKind},
};

/// The values that are scaled to mean 0 and deviation 1 together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Scaling {
    /// Each column on its own.
    PerColumn,
    /// All columns together, as for the pixels of an image.
    Global,
}

impl Scaling {
    /// The exponent of the int8 values: one standard deviation becomes two to this power.
    pub const fn input_exponent(self) -> u8 {
        match self {
            Self::PerColumn => 5,
            Self::Global => 6,
        }
    }
}

/// Mean and standard deviation, as the bits of IEEE binary64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Moments {
    mean: u64,
    deviation: u64,
}

impl Moments {
    /// The moments of `series`, which is read twice, in order; none if the values are too large.
    pub(super) fn of<I: Iterator<Item = f64>>(series: impl Fn() -> I) -> Option<Self> {
        let (sum, count) = series().fold((0.0, 0.0), |(sum, n), x| (sum + x, n + 1.0));
        let mean: f64 = sum / count;
        let squares = series().fold(0.0, |sum, x| sum + (x - mean) * (x - mean));
        let deviation = libm::sqrt(squares / count);
        let moments = Self { mean: mean.to_bits(), deviation: deviation.to_bits() };
        moments.valid().then_some(moments)
    }

    fn valid(&self) -> bool {
        self.mean().is_finite() && self.deviation().is_finite() && self.deviation() >= 0.0
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        f64::from_bits(self.mean)
    }

    /// The standard deviation.
    pub fn deviation(&self) -> f64 {
        f64::from_bits(self.deviation)
    }

    fn apply(&self, x: f64, input_exponent: u8) -> i8 {
        if self.deviation() == 0.0 {
            return 0;
        }
        let scaled = (x - self.mean()) / self.deviation() * f64::from(1u32 << input_exponent);
        libm::floor(scaled + 0.5).clamp(-127.0, 127.0) as i8
    }
}

/// Turns rows of numbers into rows of int8.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Normalizer {
    scaling: Scaling,
    moments: BoundedVec<Moments, { FEATURES_MAX as usize }>,
}

/// A row cannot be normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NotNormalizable {
    #[error("{found} numbers where {expected} are needed")]
    Length { found: usize, expected: usize },
    #[error("number {index} is not finite")]
    NotFinite { index: usize },
}

impl Normalizer {
    pub(super) fn new(scaling: Scaling, moments: Vec<Moments>) -> Option<Self> {
        Some(Self { scaling, moments: BoundedVec::try_from(moments).ok()? }).filter(Self::valid)
    }

    fn valid(&self) -> bool {
        let count_fits = match self.scaling {
            Scaling::PerColumn => !self.moments.is_empty(),
            Scaling::Global => self.moments.len() == 1,
        };
        count_fits && self.moments.iter().all(Moments::valid)
    }

    /// The values that were scaled together.
    pub fn scaling(&self) -> Scaling {
        self.scaling
    }

    /// The exponent of the int8 values.
    pub fn input_exponent(&self) -> u8 {
        self.scaling.input_exponent()
    }

    /// One for each column, or one for all.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// Normalises a row. Where each column has its own scale, the row must have as many numbers.
    pub fn apply(&self, row: &[f64]) -> Result<Vec<i8>, NotNormalizable> {
        if let Some(index) = row.iter().position(|x| !x.is_finite()) {
            return Err(NotNormalizable::NotFinite { index });
        }
        match (self.scaling, self.moments.first()) {
            (Scaling::Global, Some(all)) => {
                Ok(row.iter().map(|x| all.apply(*x, self.input_exponent())).collect())
            }
            _ if row.len() != self.moments.len() => {
                Err(NotNormalizable::Length { found: row.len(), expected: self.moments.len() })
            }
            _ => Ok(row
                .iter()
                .zip(&*self.moments)
                .map(|(x, m)| m.apply(*x, self.input_exponent()))
                .collect()),
        }
    }
}

impl BorshDeserialize for Normalizer {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let scaling = BorshDeserialize::deserialize_reader(reader)?;
        let moments = BorshDeserialize::deserialize_reader(reader)?;
        let normalizer = Self { scaling, moments };
        if normalizer.valid() {
            Ok(normalizer)
        } else {
            Err(io::Error::new(
                ErrorKind::InvalidData,
                "moments are not finite, or their number is wrong",
            ))
        }
    }
}
