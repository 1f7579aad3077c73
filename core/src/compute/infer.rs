//! Batch inference as work: the products of every layer are included, so that checking costs less
//! than the work.
//!
//! A batch is split into parts, whose size follows from the network's shape alone. The worker sends
//! all products of a part, and [`super::freivalds::check_inference`] checks them.

use super::{
    array::Array,
    dataset::Samples,
    error::{ComputeError, check_count},
    exact::{bounded, check_products},
    limits::{ROWS_MAX, TRACE_VALUES_MAX, UNIT_MACS_MAX},
    params::Topology,
    predict::{Classifier, argmax},
    step::Workspace,
};
use crate::{codec, crypto::hash::HashContext, types::Digest};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};
use core::ops::Range;

/// Most numbers in the products of a part: a phone on a slow line still submits them within
/// seconds.
pub const PART_VALUES_MAX: usize = 1 << 17;
/// Most rows of a part.
pub const PART_ROWS_MAX: u32 = 512;

/// The split of a batch into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    rows: u32,
    rows_per_part: u32,
}

impl Parts {
    /// The parts of a batch of `rows`; none if there is no row, or if even one row is too large.
    pub fn new(topology: &Topology, rows: u32) -> Option<Self> {
        let widths: usize = topology.layers().iter().map(|l| l.outputs).sum();
        let values = widths.max(topology.features()).max(1);
        let rows_per_part = u32::try_from(PART_VALUES_MAX / values).ok()?.min(PART_ROWS_MAX);
        let fits = (1..=ROWS_MAX).contains(&(rows as usize))
            && rows_per_part > 0
            && topology.forward_macs(rows_per_part.into()) <= UNIT_MACS_MAX;
        fits.then_some(Self { rows, rows_per_part })
    }

    /// Number of parts.
    pub const fn count(&self) -> u32 {
        self.rows.div_ceil(self.rows_per_part)
    }

    /// The rows of a part; none beyond the last.
    pub fn rows_of(&self, part: u32) -> Range<u32> {
        let first = part.saturating_mul(self.rows_per_part).min(self.rows);
        first..first.saturating_add(self.rows_per_part).min(self.rows)
    }

    /// The rows of a part, selected from the batch.
    pub fn select(&self, batch: &Samples, part: u32) -> Samples {
        batch.select(&self.rows_of(part).collect::<Vec<_>>())
    }
}

/// The answers for a part of a batch, with the products that they follow from.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Inference {
    /// `Z_l` of every layer, one after another.
    pub products: Array<i32, TRACE_VALUES_MAX>,
    /// The class of every row.
    pub classes: Array<u8, ROWS_MAX>,
}

impl Inference {
    /// The digest that a worker commits to before the checker draws its secrets.
    pub fn digest(&self, job: &Digest, part: u32) -> Digest {
        let mut hasher = HashContext::UnitResult.hasher();
        hasher.update(&codec::encode(&(
            job,
            part,
            self.classes.len() as u32,
            self.products.len() as u32,
        )));
        super::array::update_hash(&mut hasher, &self.classes);
        super::array::update_hash(&mut hasher, &self.products);
        Digest(*hasher.finalize().as_bytes())
    }

    /// Refuses wrong lengths and numbers that no honest answer has.
    pub fn check_form(&self, classifier: &Classifier, rows: &Samples) -> Result<(), ComputeError> {
        let count = rows.rows() as usize;
        let expected = classifier.topology().layers().iter().map(|l| count * l.outputs).sum();
        check_count("features", rows.features() as usize, classifier.topology().features())?;
        check_count("products", self.products.len(), expected)?;
        check_count("classes", self.classes.len(), count)?;
        check_products("products", &self.products)
    }
}

/// Answers a part of a batch. Its size is limited by [`TRACE_VALUES_MAX`] and [`UNIT_MACS_MAX`].
pub fn infer(classifier: &Classifier, rows: &Samples) -> Result<Inference, ComputeError> {
    let topology = classifier.topology();
    check_count("features", rows.features() as usize, topology.features())?;
    let values: u64 =
        topology.layers().iter().map(|l| u64::from(rows.rows()) * l.outputs as u64).sum();
    if values > TRACE_VALUES_MAX as u64
        || topology.forward_macs(u64::from(rows.rows())) > UNIT_MACS_MAX
    {
        return Err(ComputeError::Range { what: "rows of the batch", index: rows.rows() as usize });
    }
    let mut workspace = Workspace::new(topology);
    workspace.forward(topology, classifier.quantised(), rows.values())?;
    let logits = workspace.products.last().map_or(&[][..], |z| z);
    let classes: Vec<u8> = logits.chunks_exact(topology.classes()).map(argmax).collect();
    let found = classes.len();
    Ok(Inference {
        classes: Array::new(classes).map_err(|_| ComputeError::Count {
            what: "classes",
            found,
            expected: ROWS_MAX,
        })?,
        products: bounded("products", workspace.products.concat())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::params::Architecture;

    fn topology(dims: &[u32]) -> Topology {
        let dims = dims.to_vec().try_into().unwrap();
        Topology::new(Architecture { dims, input_exponent: 5, hidden_exponent: 5 }).unwrap()
    }

    #[test]
    fn parts_hold_each_row_once() {
        for (dims, rows) in
            [(&[64, 32, 10][..], 1797), (&[4, 3], 1), (&[4, 3], 4096), (&[784, 512, 10], 10_001)]
        {
            let parts = Parts::new(&topology(dims), rows).unwrap();
            let all: Vec<u32> = (0..parts.count()).flat_map(|part| parts.rows_of(part)).collect();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
            assert!(parts.rows_of(parts.count()).is_empty() && parts.rows_of(u32::MAX).is_empty());
        }
        assert_eq!(Parts::new(&topology(&[4, 3]), 0), None);
        assert_eq!(Parts::new(&topology(&[4, 3]), ROWS_MAX as u32 + 1), None);
    }
}
