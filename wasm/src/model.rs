//! A proved model, ready for predictions.

use crate::{
    chain::Chain,
    error::NodeError,
    event::{js, share},
};
use serde::Serialize;
use tequio_core::{content::Cid, ledger::job::MODELS, objects::model, types::Digest};
use wasm_bindgen::prelude::*;

/// A classifier with the names of its columns and classes.
#[wasm_bindgen]
pub struct Model {
    model: model::Model,
    cid: Cid,
    job: Digest,
}

#[derive(Serialize)]
struct Answer {
    label: String,
    confidences: Vec<f64>,
}

/// An input column of the model, with the moments of the training rows.
#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    mean: f64,
    deviation: f64,
}

impl Model {
    /// Reads `models/<job>`: the ref by proof, the bytes by their digest.
    pub async fn read(chain: &Chain, job: &str) -> Result<Self, NodeError> {
        let job: Digest =
            job.parse().map_err(|e| NodeError::Config(format!("the job's id: {e}")))?;
        let name = format!("{MODELS}{job}");
        let Some((r, _)) = chain.reference(&name).await? else {
            return Err(NodeError::NotFound(name));
        };
        let bad = |e: &dyn std::fmt::Display| NodeError::BadObject(e.to_string());
        let model = model::Model::from_block(chain.block(r.cid).await?).map_err(|e| bad(&e))?;
        if model.job != job {
            return Err(bad(&"it is the model of another job"));
        }
        Ok(Self { model, cid: r.cid, job })
    }
}

#[wasm_bindgen]
impl Model {
    #[wasm_bindgen(getter)]
    pub fn job(&self) -> String {
        self.job.to_string()
    }

    #[wasm_bindgen(getter)]
    pub fn cid(&self) -> String {
        self.cid.to_string()
    }

    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> Vec<String> {
        self.model.classes.iter().map(ToString::to_string).collect()
    }

    #[wasm_bindgen(getter)]
    pub fn features(&self) -> usize {
        self.model.classifier().topology().features()
    }

    /// The columns of a row in order: `[{name, mean, deviation}]`. Columns that were scaled
    /// together share moments.
    #[wasm_bindgen(getter)]
    pub fn columns(&self) -> Result<JsValue, JsValue> {
        let moments = self.model.normalizer().moments();
        let columns = self.model.columns.iter().enumerate().filter_map(|(index, name)| {
            let of_column = moments.get(index).or_else(|| moments.first())?;
            Some(Column { name, mean: of_column.mean(), deviation: of_column.deviation() })
        });
        Ok(js(&columns.collect::<Vec<_>>())?)
    }

    /// Returns the share of the held-out rows that the model classifies correctly.
    #[wasm_bindgen(getter)]
    pub fn accuracy(&self) -> f64 {
        share(self.model.accuracy.correct, self.model.accuracy.total)
    }

    /// Classifies one row of raw feature values: `{label, confidences}`, the confidences in the
    /// order of `classes`.
    pub fn predict(&self, features: &[f64]) -> Result<JsValue, JsValue> {
        Ok(self.answer(features).and_then(|answer| js(&answer))?)
    }

    fn answer(&self, features: &[f64]) -> Result<Answer, NodeError> {
        let bad = |e: &dyn std::fmt::Display| NodeError::BadInput(e.to_string());
        let row = self.model.normalizer().apply(features).map_err(|e| bad(&e))?;
        let prediction = self.model.classifier().classify(&row).map_err(|e| bad(&e))?;
        let label = self.model.classes.get(usize::from(prediction.class)).map(ToString::to_string);
        Ok(Answer {
            label: label
                .ok_or_else(|| NodeError::BadObject("it has a class without a name".into()))?,
            // Q15: 32768 is one.
            confidences: prediction.confidences.iter().map(|c| f64::from(*c) / 32768.0).collect(),
        })
    }
}
