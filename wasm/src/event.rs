//! The events that the node sends to the page: one stream of tagged events, each a plain object.

use crate::error::NodeError;
use js_sys::Function;
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use tequio_core::{types::NodeId, wire::work::JobProgress};
use tequio_p2p::Path;
use wasm_bindgen::JsValue;

/// An event; the field `type` gives its kind.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    Head {
        height: u64,
        time_ms: u64,
        hash: String,
        signers: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        committee: Option<usize>,
    },
    Path {
        peer: String,
        #[serde(flatten)]
        path: PathView,
        address: String,
        reason: &'static str,
    },
    Peer {
        id: String,
        connected: bool,
    },
    Unit {
        compute_id: u64,
        job: String,
        round: u32,
        unit: u32,
        kind: &'static str,
        #[serde(serialize_with = "bytes")]
        input: Vec<u8>,
    },
    Credit {
        job: String,
        units: u64,
        macs: u64,
    },
    Job(JobView),
    Rejected {
        worker: String,
        job: String,
        round: u32,
        unit: u32,
        /// `late`, `withheld` or `wrong`.
        kind: &'static str,
        reason: String,
        /// Time of the rejection, by the clock of the reporting node.
        time_ms: u64,
    },
    InvalidData {
        peer: String,
        what: &'static str,
        detail: String,
    },
    ForkEvidence {
        detail: String,
    },
    Stale {
        head_age_ms: u64,
    },
    Storage {
        /// `visit`, `reopened` or `identityLost`.
        state: &'static str,
        detail: String,
    },
    Log {
        level: &'static str,
        message: String,
    },
}

/// The path to a peer.
#[derive(Serialize)]
pub struct PathView {
    pub path: &'static str,
    pub transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

/// A job and its progress.
#[derive(Clone, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    pub id: String,
    pub kind: &'static str,
    pub name: String,
    /// CID of the data set.
    pub dataset: String,
    pub submitted_ms: Option<u64>,
    pub state: &'static str,
    /// The reason why the job ended without a result.
    pub reason: Option<&'static str>,
    /// The reason why the job waits.
    pub waiting_for: Option<&'static str>,
    pub waiting_since_ms: Option<u64>,
    pub workers_now: WorkersView,
    pub round: u32,
    pub rounds: u32,
    pub accuracy: Option<f64>,
    pub best_accuracy: Option<f64>,
    pub curve: Vec<PointView>,
    pub units: u64,
    pub units_by_me: u64,
    pub coordinator: String,
    pub rejected: u32,
    pub contributors: Vec<ContributorView>,
}

/// Workers that are active now.
#[derive(Clone, Serialize, PartialEq)]
pub struct WorkersView {
    pub full: u32,
    pub browsers: u32,
}

/// One measured point of a curve.
#[derive(Clone, Serialize, PartialEq)]
pub struct PointView {
    pub round: u32,
    pub accuracy: f64,
}

/// The contribution of one member.
#[derive(Clone, Serialize, PartialEq)]
pub struct ContributorView {
    pub id: String,
    pub units: u32,
    pub checks: u32,
    pub macs: u64,
}

impl PathView {
    pub fn new(path: &Path) -> Self {
        match path {
            Path::Direct(transport) => {
                Self { path: "direct", transport: transport.as_str(), via: None }
            }
            Path::Relayed { via, transport } => {
                Self { path: "relayed", transport: transport.as_str(), via: Some(via.to_string()) }
            }
        }
    }
}

impl JobView {
    pub fn new(job: &JobProgress, me: &NodeId) -> Self {
        let curve: Vec<PointView> = job
            .curve
            .iter()
            // Without test rows there is no accuracy.
            .filter(|p| p.total > 0)
            .map(|p| PointView { round: p.round, accuracy: share(p.correct, p.total) })
            .collect();
        let contributors: Vec<ContributorView> =
            job.contributors.iter().map(ContributorView::new).collect();
        Self {
            id: job.id.to_string(),
            kind: job.kind.as_str(),
            name: job.name.to_string(),
            dataset: job.dataset.to_string(),
            submitted_ms: job.submitted_ms,
            state: job.state.as_str(),
            reason: job.state.reason(),
            waiting_for: job.waiting.map(|w| w.reason.as_str()),
            waiting_since_ms: job.waiting.map(|w| w.since_ms),
            workers_now: WorkersView { full: job.workers.full, browsers: job.workers.browsers },
            round: job.round,
            rounds: job.rounds,
            accuracy: curve.last().map(|p| p.accuracy),
            best_accuracy: job.best().filter(|p| p.total > 0).map(|p| share(p.correct, p.total)),
            curve,
            units: job.units,
            units_by_me: job
                .contributors
                .iter()
                .filter(|c| c.node == *me)
                .map(|c| u64::from(c.units))
                .sum(),
            coordinator: job.coordinator.to_string(),
            rejected: job.rejected,
            contributors,
        }
    }
}

impl ContributorView {
    pub fn new(c: &tequio_core::ledger::job::Contributor) -> Self {
        Self { id: c.node.to_string(), units: c.units, checks: c.checks, macs: c.macs }
    }
}

/// A fraction of 1.
pub fn share(correct: u32, total: u32) -> f64 {
    f64::from(correct) / f64::from(total.max(1))
}

/// Calls the page. An exception of the page does not reach the node.
#[derive(Clone)]
pub struct Emitter(Function);

impl Emitter {
    pub fn new(callback: Function) -> Self {
        Self(callback)
    }

    pub fn emit(&self, event: &Event) {
        if let Ok(value) = to_js(event) {
            let _ = self.0.call1(&JsValue::NULL, &value);
        }
    }

    pub fn log(&self, level: &'static str, message: String) {
        self.emit(&Event::Log { level, message });
    }
}

/// Converts to plain objects, with 64-bit numbers as JavaScript numbers (all of ours stay below
/// 2^53).
pub fn to_js<T: Serialize>(value: &T) -> Result<JsValue, serde_wasm_bindgen::Error> {
    value.serialize(&Serializer::json_compatible().serialize_bytes_as_arrays(false))
}

/// Converts to plain objects, with the error type of the exports.
pub fn js<T: Serialize>(value: &T) -> Result<JsValue, NodeError> {
    Ok(to_js(value)?)
}

/// Converts to a `Uint8Array`.
pub fn bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
