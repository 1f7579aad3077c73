//! The answers to the page's calls, each a plain object.

use crate::event::{ContributorView, bytes, share};
use serde::Serialize;
use tequio_core::{
    ledger::job::{JobResult, TrainedModel},
    objects::record::TrainingRecord,
};
use tequio_p2p::Path;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub node: String,
    pub chain: String,
    pub head: HeadView,
    pub peers: Vec<PeerView>,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub storage: &'static str,
    pub contributing: bool,
    pub workers: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadView {
    pub height: u64,
    pub time_ms: u64,
    pub hash: String,
    pub stale: bool,
    pub signers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committee: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    id: String,
    path: &'static str,
    transport: &'static str,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    relayed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
}

#[derive(Serialize)]
pub struct TrafficView {
    pub received: u64,
    pub sent: u64,
}

#[derive(Serialize)]
pub struct RefView {
    pub name: String,
    pub cid: String,
    pub sequence: u64,
    pub height: u64,
}

#[derive(Serialize)]
pub struct AccountView {
    pub id: String,
    pub reputation: u64,
    pub units: u64,
    pub checks: u64,
    pub macs: u64,
    pub nonce: u64,
    pub bond: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordView {
    job: String,
    model: String,
    record: String,
    accuracy: f64,
    tested: u32,
    rejected: u32,
    minted: u64,
    checked_share: f64,
    contributors: Vec<ContributorView>,
}

impl RecordView {
    pub fn new(
        result: &JobResult,
        trained: &TrainedModel,
        record: &TrainingRecord,
        minted: u64,
    ) -> Self {
        Self {
            job: record.job.to_string(),
            model: trained.model.to_string(),
            record: trained.record.to_string(),
            accuracy: share(trained.correct, trained.tested),
            tested: trained.tested,
            rejected: result.rejected,
            minted,
            checked_share: f64::from(record.task.spot_check_share) / 65536.0,
            contributors: result.contributors.iter().map(ContributorView::new).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesView {
    pub job: String,
    pub model_cid: String,
    #[serde(serialize_with = "bytes")]
    pub model: Vec<u8>,
    pub record_cid: String,
    #[serde(serialize_with = "bytes")]
    pub record: Vec<u8>,
}

pub fn peer_view(peer: &tequio_p2p::PeerInfo) -> PeerView {
    let (path, relayed_by) = match &peer.path {
        Path::Direct(_) => ("direct", None),
        Path::Relayed { via, .. } => ("relayed", Some(via.to_string())),
    };
    let transport = match &peer.path {
        Path::Direct(transport) | Path::Relayed { transport, .. } => transport.as_str(),
    };
    PeerView {
        id: peer.id.to_string(),
        path,
        transport,
        address: peer.addr.to_string(),
        relayed_by,
        rtt_ms: peer.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
    }
}
