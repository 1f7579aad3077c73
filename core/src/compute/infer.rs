//! Batch inference as work: the products of every layer, so that a checker can be sure for less than the work costs.
//!
//! Over a fast link the worker sends all products, and [`super::freivalds::check_inference`] checks them. Over a slow one it
//! sends the classes alone, and [`check_sample`] recomputes rows drawn after the answer.

use super::{
    array::Array,
    dataset::{ROWS_MAX, Samples},
    error::{ComputeError, check_count, check_position},
    exact::{TRACE_VALUES_MAX, bounded, check_products},
    params::LANE_MACS_MAX,
    predict::{Classifier, argmax},
    step::Workspace,
};
use crate::{codec, crypto::hash::Context, types::Digest};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// The answers for a batch, with the products that led to them.
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
        let mut hasher = Context::LaneResult.hasher();
        hasher.update(&codec::encode(&(job, part, self.classes.len() as u32, self.products.len() as u32)));
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

/// Answers a batch. Its size is limited by [`TRACE_VALUES_MAX`] and [`LANE_MACS_MAX`].
pub fn infer(classifier: &Classifier, rows: &Samples) -> Result<Inference, ComputeError> {
    let topology = classifier.topology();
    check_count("features", rows.features() as usize, topology.features())?;
    let values: u64 = topology.layers().iter().map(|l| u64::from(rows.rows()) * l.outputs as u64).sum();
    if values > TRACE_VALUES_MAX as u64 || topology.forward_macs(u64::from(rows.rows())) > LANE_MACS_MAX {
        return Err(ComputeError::Range { what: "rows of the batch", index: rows.rows() as usize });
    }
    let mut workspace = Workspace::new(topology);
    workspace.forward(topology, classifier.published(), rows.values())?;
    let logits = workspace.products.last().map_or(&[][..], |z| z);
    let classes: Vec<u8> = logits.chunks_exact(topology.classes()).map(argmax).collect();
    let found = classes.len();
    Ok(Inference {
        classes: Array::new(classes).map_err(|_| ComputeError::Count { what: "classes", found, expected: ROWS_MAX })?,
        products: bounded("products", workspace.products.concat())?,
    })
}

/// Recomputes some rows of a batch; the first whose class differs.
pub fn check_sample(
    classifier: &Classifier,
    rows: &Samples,
    classes: &[u8],
    sample: &[u32],
) -> Result<Option<u32>, ComputeError> {
    check_count("classes", classes.len(), rows.rows() as usize)?;
    for row in sample {
        check_position("row", *row, rows.rows())?;
    }
    let found = classifier.classes(&rows.select(sample))?;
    let differs = |(row, found): &(&u32, &u8)| classes.get(**row as usize) != Some(*found);
    Ok(sample.iter().zip(&found).find(differs).map(|(row, _)| *row))
}
