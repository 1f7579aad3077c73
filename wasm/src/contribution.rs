//! The proof of a member's contribution to a job, made from verified answers and verified without a
//! network.

use crate::{
    chain::{ANSWER_TIMEOUT, AnswerError, Chain, now_ms},
    error::NodeError,
    event::{js, share},
    yielding::yield_to_page,
};
use serde::Serialize;
use std::cell::RefCell;
use tequio_core::{
    ledger::{Key, job::JobId},
    light::{
        LightClient, LightError,
        contribution::{ContributionError, ContributionFile, ProvedContribution},
        handover::FILE_HANDOVERS_MAX,
    },
    types::{Epoch, NodeId},
    wire::light::{CommitteeHandover, Request, Response},
};
use wasm_bindgen::prelude::*;

/// Committee handovers in one request.
const HANDOVERS_AT_ONCE: Epoch = 128;
/// Committee handovers that are verified without a pause.
const HANDOVERS_PER_SLICE: usize = 4;

/// The facts that a file proves, for the page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContributionView {
    chain: String,
    job: String,
    name: String,
    coordinator: String,
    id: String,
    units: u32,
    checks: u32,
    macs: u64,
    macs_of_all: u64,
    contributors: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    height: u64,
    time_ms: u64,
}

impl ContributionView {
    fn new(job: &JobId, proved: &ProvedContribution) -> Self {
        let ProvedContribution { header, job: entry, result, contributor } = proved;
        let trained = result.output.model();
        Self {
            chain: header.chain.to_string(),
            job: job.to_string(),
            name: entry.spec.name.to_string(),
            coordinator: entry.coordinator.to_string(),
            id: contributor.node.to_string(),
            units: contributor.units,
            checks: contributor.checks,
            macs: contributor.macs,
            macs_of_all: result.contributors.iter().map(|c| c.macs).fold(0, u64::saturating_add),
            contributors: result.contributors.len(),
            accuracy: trained.filter(|t| t.tested > 0).map(|t| share(t.correct, t.tested)),
            model: trained.map(|t| t.model.to_string()),
            record: trained.map(|t| t.record.to_string()),
            height: header.height,
            time_ms: header.time_ms,
        }
    }
}

/// Verifies the bytes of a file against those of a checkpoint that the caller trusts. `as_of_ms` is
/// the time at which the committees' keys must have been trusted, by default now.
#[wasm_bindgen(js_name = verifyContribution)]
pub fn verify_contribution(
    file: &[u8],
    checkpoint: &[u8],
    as_of_ms: Option<f64>,
) -> Result<JsValue, JsValue> {
    Ok(verify(file, checkpoint, as_of_ms.map_or_else(now_ms, |ms| ms as u64))?)
}

fn verify(file: &[u8], checkpoint: &[u8], now_ms: u64) -> Result<JsValue, NodeError> {
    let bad = |e: ContributionError| match e {
        ContributionError::Light(e @ LightError::Outdated) => NodeError::Outdated(e),
        e @ ContributionError::OtherNetwork { .. } => NodeError::OtherNetwork(e.to_string()),
        e => NodeError::BadObject(e.to_string()),
    };
    let light = LightClient::start(checkpoint, None, now_ms)?;
    let file = ContributionFile::decode(file).map_err(bad)?;
    let job = file.job;
    js(&ContributionView::new(&job, &file.verify(light, now_ms).map_err(bad)?))
}

/// Makes the file for a member, by default this node, from the node's first checkpoint on.
pub async fn prove(
    chain: &Chain,
    checkpoint: &[u8],
    job: &str,
    node: Option<&str>,
) -> Result<Vec<u8>, NodeError> {
    let job: JobId = job.parse().map_err(|e| NodeError::Config(format!("the job's id: {e}")))?;
    let node = match node {
        Some(id) => id.parse::<NodeId>().map_err(|e| NodeError::Config(format!("{e}")))?,
        None => chain.me,
    };
    let proved = chain.prove(Key::Job(job)).await?;
    let (light, handovers) = handovers(chain, checkpoint, proved.header.header.epoch).await?;
    let internal = |e: ContributionError| NodeError::Internal(e.to_string());
    let file = ContributionFile::new(node, job, handovers, proved.header, proved.entry)
        .map_err(internal)?;
    // A proof that does not verify here would verify nowhere. The handovers have already been
    // followed in slices: all of them at once would block the page.
    match file.clone().verify(light, now_ms()) {
        Ok(_) => Ok(file.encode()),
        Err(e @ (ContributionError::NotFinal(_) | ContributionError::NoContributor(_))) => {
            Err(NodeError::NotFound(e.to_string()))
        }
        Err(e) => Err(internal(e)),
    }
}

/// Returns the committee handovers from a checkpoint's epoch to another, and the light client that
/// has followed them.
async fn handovers(
    chain: &Chain,
    checkpoint: &[u8],
    to: Epoch,
) -> Result<(LightClient, Vec<CommitteeHandover>), NodeError> {
    let light = RefCell::new(LightClient::start(checkpoint, None, now_ms())?);
    let mut all = Vec::new();
    loop {
        let from = light.borrow().committee().epoch();
        let count = to.saturating_sub(from).min(HANDOVERS_AT_ONCE);
        if count == 0 {
            return Ok((light.into_inner(), all));
        }
        if all.len() >= FILE_HANDOVERS_MAX {
            return Err(NodeError::Unavailable("the checkpoint is too many epochs old".into()));
        }
        let request = Request::Handovers { from, count: count as u16 };
        let page = chain
            .query(&request, ANSWER_TIMEOUT, |response| page(response, count as usize))
            .await?;
        for handovers in page.chunks(HANDOVERS_PER_SLICE) {
            let followed =
                light.borrow_mut().follow_handovers(handovers.len(), handovers.to_vec(), now_ms());
            followed.map_err(|e| {
                NodeError::Unavailable(format!("a source sent a wrong committee handover: {e}"))
            })?;
            all.extend_from_slice(handovers);
            // Lets the page work in between, because one certificate takes milliseconds.
            yield_to_page().await;
        }
    }
}

/// Extracts the handovers of an answer. They are verified later, in slices.
fn page(response: Response, count: usize) -> Result<Vec<CommitteeHandover>, AnswerError> {
    let Response::Handovers(handovers) = response else { return Err(AnswerError::unexpected()) };
    match handovers.len() {
        0 => Err(AnswerError::Refused(tequio_core::wire::light::Refusal::NotFound)),
        found if found > count => Err(LightError::Count { requested: count, found }.into()),
        _ => Ok(handovers.into_vec()),
    }
}
