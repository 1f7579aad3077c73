//! Inference batches. Each part includes all its products, so Freivalds' check verifies it at once,
//! without recomputation or disputes.
//!
//! The secret vectors are drawn after the first commitment, never leave this machine, and are
//! replaced after every rejection. Soundness: section 7 of the training specification.

use super::error::StartError;
use crate::{
    compute::{
        ComputeError,
        dataset::Samples,
        freivalds::{InferenceSecrets, Rejection, check_inference},
        infer::{Inference, Parts},
        local_steps::WorkUnitId,
        predict::Classifier,
    },
    ledger::job::InferenceTask,
    scheduler::common::seeded_rng::SeededRng,
    wire::work::{InferencePartInput, Reason, Task},
};
use alloc::{vec, vec::Vec};
use core::fmt;

/// An inference batch in progress.
pub(super) struct Batch {
    classifier: Classifier,
    rows: Samples,
    pub(super) parts: Parts,
    /// The classes of each accepted part.
    answers: Vec<Option<Vec<u8>>>,
    secrets: Option<InferenceSecrets>,
}

impl fmt::Debug for Batch {
    /// Omits the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new(
        task: &InferenceTask,
        classifier: Classifier,
        rows: Samples,
    ) -> Result<Self, StartError> {
        let fits = *classifier.topology().architecture() == task.architecture
            && rows.features() as usize == classifier.topology().features();
        if !fits {
            return Err(StartError::WrongInput);
        }
        if rows.rows() != task.rows {
            return Err(StartError::WrongDataset { expected: task.rows, found: rows.rows() });
        }
        let parts = Parts::new(classifier.topology(), rows.rows()).ok_or(StartError::WrongInput)?;
        Ok(Self {
            answers: vec![None; parts.count() as usize],
            parts,
            classifier,
            rows,
            secrets: None,
        })
    }

    /// Bytes of the largest result and of the largest lease.
    pub(super) fn message_lens(&self) -> (usize, usize) {
        let topology = self.classifier.topology();
        let rows = self.parts.rows_of(0).len();
        let widths: usize = topology.layers().iter().map(|l| l.outputs).sum();
        (rows * (4 * widths + 1), topology.parameters() + rows * (topology.features() + 1))
    }

    pub(super) fn macs(&self, part: u32) -> u64 {
        self.classifier.topology().forward_macs(self.parts.rows_of(part).len() as u64)
    }

    pub(super) fn task(&self, id: WorkUnitId) -> Task {
        Task::InferencePart(InferencePartInput {
            id,
            architecture: self.classifier.topology().architecture().clone(),
            quantised: self.classifier.quantised().clone(),
            rows: self.parts.select(&self.rows, id.unit),
        })
    }

    pub(super) fn rejection_reason(
        &mut self,
        part: u32,
        answers: &Inference,
        rng: &mut SeededRng,
    ) -> Option<Reason> {
        let rows = self.parts.select(&self.rows, part);
        let secrets = self
            .secrets
            .get_or_insert_with(|| InferenceSecrets::draw(&self.classifier, &rng.next_bytes()));
        match check_inference(&self.classifier, secrets, &rows, answers) {
            Ok(()) => None,
            Err(Rejection::Form(_)) => Some(Reason::Malformed),
            Err(_) => Some(Reason::WrongProduct),
        }
    }

    pub(super) fn reset_secrets(&mut self) {
        self.secrets = None;
    }

    pub(super) fn add(&mut self, part: u32, classes: &[u8]) -> Result<(), ComputeError> {
        let (found, expected) = (classes.len(), self.parts.rows_of(part).len());
        if found != expected {
            return Err(ComputeError::Count { what: "classes", found, expected });
        }
        if let Some(index) =
            classes.iter().position(|c| usize::from(*c) >= self.classifier.topology().classes())
        {
            return Err(ComputeError::Range { what: "classes", index });
        }
        if let Some(slot) = self.answers.get_mut(part as usize) {
            *slot = Some(classes.to_vec());
        }
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.answers.iter().all(Option::is_some)
    }

    /// The classes of all accepted rows, in order.
    pub(super) fn classes(&self) -> Vec<u8> {
        self.answers.iter().flatten().flatten().copied().collect()
    }
}
