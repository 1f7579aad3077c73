//! Inference with a trained network, and its accuracy.

use super::{
    dataset::Samples,
    error::{ComputeError, check_count},
    params::{Architecture, Topology},
    state::QuantisedWeights,
    step::{Workspace, softmax},
};
use alloc::{vec, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Rows computed at a time.
const ROWS_AT_ONCE: usize = 256;

/// The answer for one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The class with the largest logit, the lowest on ties.
    pub class: u8,
    /// Confidence in every class, in 1/32768.
    pub confidences: Vec<u16>,
}

/// Number of correct answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Accuracy {
    /// Rows whose answer is their own class.
    pub correct: u32,
    /// Rows answered.
    pub total: u32,
}

impl Accuracy {
    /// The accuracy as a fraction of one, for people.
    pub fn fraction(&self) -> f64 {
        if self.total == 0 { 0.0 } else { f64::from(self.correct) / f64::from(self.total) }
    }
}

/// A network for inference: its shape and its int8 weights. Encoded as the architecture and the
/// quantised weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    topology: Topology,
    quantised: QuantisedWeights,
}

impl Classifier {
    /// Checks that the weights fit the architecture.
    pub fn new(
        architecture: Architecture,
        quantised: QuantisedWeights,
    ) -> Result<Self, ComputeError> {
        let topology = Topology::new(architecture)?;
        quantised.check(&topology)?;
        Ok(Self { topology, quantised })
    }

    /// The network's shape.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The int8 weights.
    pub fn quantised(&self) -> &QuantisedWeights {
        &self.quantised
    }

    /// Answers one row of int8 features.
    pub fn classify(&self, row: &[i8]) -> Result<Prediction, ComputeError> {
        check_count("features", row.len(), self.topology.features())?;
        let mut workspace = Workspace::new(&self.topology);
        workspace.forward(&self.topology, &self.quantised, row)?;
        let last = self.topology.layers().len() - 1;
        let exponent = self.topology.layers()[last].exponent + self.quantised.exponent(last);
        let logits = &workspace.products[last];
        let mut confidences = vec![0; logits.len()];
        softmax(logits, exponent, &mut confidences);
        let confidences =
            confidences.into_iter().map(|p| p.clamp(0, i32::from(u16::MAX)) as u16).collect();
        Ok(Prediction { class: argmax(logits), confidences })
    }

    /// The classes of many rows.
    pub fn classes(&self, rows: &Samples) -> Result<Vec<u8>, ComputeError> {
        check_count("features", rows.features() as usize, self.topology.features())?;
        let mut workspace = Workspace::new(&self.topology);
        let mut classes = Vec::with_capacity(rows.rows() as usize);
        for part in rows.values().chunks(ROWS_AT_ONCE * self.topology.features()) {
            workspace.forward(&self.topology, &self.quantised, part)?;
            let logits = workspace.products.last().map_or(&[][..], |z| z);
            classes.extend(logits.chunks_exact(self.topology.classes()).map(argmax));
        }
        Ok(classes)
    }

    /// Counts the rows whose answer is their own class.
    pub fn accuracy(&self, rows: &Samples) -> Result<Accuracy, ComputeError> {
        let correct = self.classes(rows)?.iter().zip(rows.labels()).filter(|(a, b)| a == b).count();
        Ok(Accuracy { correct: correct as u32, total: rows.rows() })
    }
}

/// The index of the largest, the first among equals.
pub(super) fn argmax(logits: &[i32]) -> u8 {
    let best = logits
        .iter()
        .enumerate()
        .fold((0, i32::MIN), |best, (j, z)| if *z > best.1 { (j, *z) } else { best });
    best.0 as u8
}
