//! The model object: the output of training, one DAG-CBOR block under one CID.
//!
//! It holds all that inference needs (names, scaling, int8 weights). It also names what
//! verification needs: the master weights, as a separate object, and their digest. Numbers are
//! integers and bytes; an IEEE binary64 is stored as its 64 bits. Refused: blocks whose parts
//! contradict one another, even if the CID matches.

use crate::{
    codec,
    compute::{
        ComputeError,
        array::Array,
        dataset::{Dataset, Name, Normalizer, Scaling},
        limits::{CLASSES_MAX, DIMS_MAX, FEATURES_MAX, PARAMETERS_MAX},
        params::{Architecture, Plan, Topology},
        predict::{Accuracy, Classifier},
        state::{QuantisedWeights, Weights},
    },
    content::{
        Cid,
        dag_cbor::{self, bytes, digest},
        object::{self, Block, ObjectError},
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
const KIND: &str = "tequio/model";
/// Version of the block's format.
const VERSION: u32 = 1;
const WRONG_FORM: ObjectError = ObjectError::WrongForm("model");

/// A trained network and how to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The job that made it.
    pub job: JobId,
    /// The data set it was trained on.
    pub dataset: Cid,
    /// The master weights, as bytes in borsh.
    pub weights: Cid,
    /// Digest of the master weights, as the protocol names them.
    pub weights_digest: Digest,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Names of the feature columns.
    pub columns: Vec<String>,
    /// Name of the column that held the class.
    pub label: String,
    /// Accuracy on the test rows.
    pub accuracy: Accuracy,
    normalizer: Normalizer,
    classifier: Classifier,
}

/// The block, field by field.
#[derive(Serialize, Deserialize)]
struct Form {
    kind: String,
    version: u32,
    #[serde(with = "bytes")]
    job: Vec<u8>,
    dataset: AnyCid,
    dims: Vec<u32>,
    input_exponent: u8,
    hidden_exponent: u8,
    classes: Vec<String>,
    columns: Vec<String>,
    label: String,
    scaling: String,
    /// Mean and deviation of each column, or of all, as the bits of binary64.
    moments: Vec<(u64, u64)>,
    /// int8, layer after layer, `(inputs + 1) x outputs` row-major, the bias last.
    #[serde(with = "bytes")]
    int8_weights: Vec<u8>,
    /// One exponent per layer: a weight `w` means `w / 2^e`.
    int8_exponents: Vec<u8>,
    weights: AnyCid,
    #[serde(with = "bytes")]
    weights_digest: Vec<u8>,
    correct: u32,
    tested: u32,
}

impl Model {
    /// The model of a finished job, with the blocks to store: the model's own first, then those of
    /// its master weights.
    pub fn build(
        job: JobId,
        dataset: Cid,
        data: &Dataset,
        plan: &Plan,
        weights: &Weights,
        accuracy: Accuracy,
    ) -> Result<(Self, Vec<Block>), ObjectError> {
        let wrong = |_| WRONG_FORM;
        let quantised = weights.quantise(plan.topology()).map_err(wrong)?;
        let classifier = Classifier::new(plan.topology().architecture().clone(), quantised)
            .map_err(|_| ObjectError::WrongForm("network"))?;
        let mut blocks = object::split(&codec::encode(weights))?;
        let first = blocks.first().ok_or(WRONG_FORM)?.cid;
        let names = |names: &[Name]| names.iter().map(|n| n.to_string()).collect();
        let model = Self {
            job,
            dataset,
            weights: first,
            weights_digest: weights.hash(),
            classes: names(data.classes()),
            columns: names(data.columns()),
            label: data.label().to_string(),
            accuracy,
            normalizer: data.normalizer().clone(),
            classifier,
        };
        model.check_consistent()?;
        blocks.insert(0, model.to_block()?);
        Ok((model, blocks))
    }

    /// The block of this model.
    pub fn to_block(&self) -> Result<Block, ObjectError> {
        let architecture = self.classifier.topology().architecture();
        let (int8, exponents) = int8_parts(self.classifier.quantised())?;
        dag_cbor::encode(&Form {
            kind: KIND.to_string(),
            version: VERSION,
            job: self.job.0.to_vec(),
            dataset: self.dataset.into(),
            dims: architecture.dims.to_vec(),
            input_exponent: architecture.input_exponent,
            hidden_exponent: architecture.hidden_exponent,
            classes: self.classes.clone(),
            columns: self.columns.clone(),
            label: self.label.clone(),
            scaling: scaling_name(self.normalizer.scaling()).to_string(),
            moments: self
                .normalizer
                .moments()
                .iter()
                .map(|m| (m.mean().to_bits(), m.deviation().to_bits()))
                .collect(),
            int8_weights: int8,
            int8_exponents: exponents,
            weights: self.weights.into(),
            weights_digest: self.weights_digest.0.to_vec(),
            correct: self.accuracy.correct,
            tested: self.accuracy.total,
        })
    }

    /// Reads a block whose bytes have been checked against its name.
    pub fn from_block(block: Verified<Block>) -> Result<Self, ObjectError> {
        let form: Form = dag_cbor::decode(&block.bytes)?;
        if form.kind != KIND || form.version != VERSION {
            return Err(WRONG_FORM);
        }
        let quantised = codec::encode(&(&form.int8_weights, &form.int8_exponents));
        let quantised: QuantisedWeights =
            codec::decode(&quantised, quantised.len()).map_err(|_| WRONG_FORM)?;
        let architecture = Architecture {
            dims: form.dims.try_into().map_err(|_| WRONG_FORM)?,
            input_exponent: form.input_exponent,
            hidden_exponent: form.hidden_exponent,
        };
        let scaling = [Scaling::PerColumn, Scaling::Global]
            .into_iter()
            .find(|s| scaling_name(*s) == form.scaling);
        let normalizer = codec::encode(&(scaling.ok_or(WRONG_FORM)?, &form.moments));
        let model = Self {
            job: Digest(digest(&form.job, &WRONG_FORM)?),
            dataset: form.dataset.try_into().map_err(|_| WRONG_FORM)?,
            weights: form.weights.try_into().map_err(|_| WRONG_FORM)?,
            weights_digest: Digest(digest(&form.weights_digest, &WRONG_FORM)?),
            classes: form.classes,
            columns: form.columns,
            label: form.label,
            accuracy: Accuracy { correct: form.correct, total: form.tested },
            normalizer: codec::decode(&normalizer, normalizer.len()).map_err(|_| WRONG_FORM)?,
            classifier: Classifier::new(architecture, quantised).map_err(|_| WRONG_FORM)?,
        };
        model.check_consistent()?;
        Ok(model)
    }

    /// The network for inference.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Turns measured numbers into inputs of the network.
    pub fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.classifier.topology().features()
    }

    /// Whether these master weights are the ones that the model names, and its int8 weights follow
    /// from them.
    pub fn weights_match(&self, weights: &Weights) -> Result<bool, ComputeError> {
        let quantised = weights.quantise(self.classifier.topology())?;
        Ok(weights.hash() == self.weights_digest && quantised == *self.classifier.quantised())
    }

    /// Checks that the parts fit one another.
    fn check_consistent(&self) -> Result<(), ObjectError> {
        let topology: &Topology = self.classifier.topology();
        let moments = match self.normalizer.scaling() {
            Scaling::PerColumn => topology.features(),
            Scaling::Global => 1,
        };
        let fits = self.columns.len() == topology.features()
            && self.columns.len() <= FEATURES_MAX as usize
            && self.classes.len() == topology.classes()
            && self.classes.len() <= CLASSES_MAX as usize
            && self.normalizer.moments().len() == moments
            && self.normalizer.input_exponent() == topology.architecture().input_exponent
            && self.accuracy.correct <= self.accuracy.total;
        if fits { Ok(()) } else { Err(WRONG_FORM) }
    }
}

const fn scaling_name(scaling: Scaling) -> &'static str {
    match scaling {
        Scaling::PerColumn => "per column",
        Scaling::Global => "global",
    }
}

/// Quantised weights as bytes and exponents; their borsh form is exactly these two lists.
fn int8_parts(quantised: &QuantisedWeights) -> Result<(Vec<u8>, Vec<u8>), ObjectError> {
    let bytes = codec::encode(quantised);
    let (weights, exponents): (Array<u8, PARAMETERS_MAX>, codec::BoundedVec<u8, DIMS_MAX>) =
        codec::decode(&bytes, bytes.len()).map_err(|_| WRONG_FORM)?;
    Ok((weights.into_vec(), exponents.into_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compute::{
            dataset::{CsvOptions, Label, prepare},
            params::JobParams,
            train::train,
        },
        types::Unverified,
    };

    fn made() -> (Model, Vec<Block>, Dataset, Weights) {
        let mut csv = String::from("w,h,kind\n");
        for row in 0..40 {
            let (w, h, kind) = if row % 2 == 0 { (row, 3, "flat") } else { (5, 20 + row, "high") };
            csv += &alloc::format!("{w},{h},{kind}\n");
        }
        let options = CsvOptions::new(Label::Last);
        let data = prepare(csv.as_bytes(), &options).unwrap();
        let plan = JobParams::for_dataset(&data, &[4], 1).unwrap().validate().unwrap();
        let weights = train(&plan, data.train(), |_, _| {}).unwrap();
        let dataset = object::split(&codec::encode(&data)).unwrap()[0].cid;
        let accuracy = Accuracy { correct: 7, total: 8 };
        let (model, blocks) =
            Model::build(Digest([3; 32]), dataset, &data, &plan, &weights, accuracy).unwrap();
        (model, blocks, data, weights)
    }

    #[test]
    fn a_model_read_back_from_its_block_classifies() {
        let (model, blocks, data, weights) = made();
        let read = Model::from_block(Unverified::new(blocks[0].clone()).verify().unwrap()).unwrap();
        assert_eq!(read, model);
        assert_eq!(read.classes, ["flat", "high"]);
        assert_eq!(read.columns, ["w", "h"]);
        let row = read.normalizer().apply(&[4.0, 30.0]).unwrap();
        assert_eq!(read.classes[read.classifier().classify(&row).unwrap().class as usize], "high");
        assert!(read.classifier().accuracy(data.test()).unwrap().fraction() > 0.9);
        assert_eq!(read.weights_match(&weights), Ok(true));
        assert_eq!(blocks[1].cid, read.weights);
        let stored: Weights = codec::decode(&blocks[1].bytes, 1 << 20).unwrap();
        assert_eq!(stored, weights);
        let mut other = weights.as_slice().to_vec();
        other[0] ^= 1;
        let other = Weights::new(read.classifier().topology(), other).unwrap();
        assert_eq!(read.weights_match(&other), Ok(false));
    }

    #[test]
    fn blocks_that_contradict_themselves_are_refused() {
        let (model, blocks, ..) = made();
        let change = |change: &dyn Fn(&mut Form)| {
            let mut form: Form = dag_cbor::decode(&blocks[0].bytes).unwrap();
            change(&mut form);
            let block = dag_cbor::encode(&form).unwrap();
            Model::from_block(Unverified::new(block).verify().unwrap())
        };
        assert_eq!(change(&|_| ()), Ok(model));
        let refused: [&dyn Fn(&mut Form); 12] = [
            &|f| f.kind = "tequio/other".into(),
            &|f| f.version = 2,
            &|f| f.job.push(0),
            &|f| f.dims[1] = 5,
            &|f| f.input_exponent = 6,
            &|f| f.classes.clear(),
            &|f| f.columns.truncate(1),
            &|f| f.scaling = "none".into(),
            &|f| f.moments[0].0 = f64::NAN.to_bits(),
            &|f| f.int8_weights.truncate(9),
            &|f| f.int8_exponents[0] = 9,
            &|f| f.correct = 9,
        ];
        for (n, f) in refused.iter().enumerate() {
            assert!(change(f).is_err(), "change {n} was not refused");
        }
    }

    #[test]
    fn changed_bytes_are_detected() {
        let (_, blocks, ..) = made();
        for at in (0..blocks[0].bytes.len()).step_by(7) {
            let mut block = blocks[0].clone();
            block.bytes[at] ^= 1;
            assert!(Unverified::new(block).verify().is_err());
        }
    }
}
