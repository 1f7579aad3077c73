//! Read-only requests except for jobs: status, ledger, objects, transactions, metrics.

use super::{error::ApiError, guard::Authorized, reading::reading, view};
use crate::{
    node::{
        chain::sync_status::SyncStatus,
        chain_view::ChainView,
        jobs::coordinators::Coordinators,
        mempool::{Mempool, verify::admission::Admission},
        telemetry::{events::EventLog, metrics::Metrics},
        writes::outbox::WriteOutbox,
    },
    store::{ClientWrite, Store, StoreError},
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tequio_core::{
    codec,
    content::{Cid, CidCodec},
    ledger::{SignedTransaction, TransactionId, transaction::TRANSACTION_LEN_MAX},
    types::NodeId,
};
use tequio_p2p::{Network, Path as PeerPath, identity};

type Answer = Result<Json<Value>, ApiError>;

/// The parts of the node that these handlers use.
pub struct ReadApi {
    pub chain: ChainView,
    pub store: Arc<Store>,
    pub network: Network,
    pub mempool: Arc<Mempool>,
    pub admission: Admission,
    pub coordinators: Coordinators,
    pub outbox: WriteOutbox,
    pub sync_status: Arc<SyncStatus>,
    pub metrics: Arc<Metrics>,
    pub events: Arc<EventLog>,
}

pub async fn status(State(api): State<Arc<ReadApi>>) -> Answer {
    let tip = api.chain.tip();
    let head = &tip.header.header;
    let age_ms = api.chain.head_age_ms();
    let queue =
        reading(&api.store, |store| store.outbox_entries()).await?.map_err(ApiError::internal)?;
    let queued = queue.iter().filter(|(_, queued)| !queued.stage.is_settled()).count();
    let account = tip.state.account(&api.chain.node).map(view::account);
    let lowest =
        reading(&api.store, |store| store.lowest_block()).await?.map_err(ApiError::internal)?;
    Ok(Json(json!({
        "node": api.chain.node.to_string(),
        "peer_id": identity::peer_id(api.chain.node).map(|p| p.to_string()),
        "version": env!("CARGO_PKG_VERSION"),
        "chain": api.chain.id.to_string(),
        "seat": api.chain.seat(),
        "height": head.height,
        "head": view::header(head),
        "head_age_ms": age_ms,
        "stale": api.chain.is_reduced(),
        "mode": if api.chain.is_reduced() { "reduced" } else { "normal" },
        "queued_writes": queued,
        "sync": sync(&api),
        "lowest_block": lowest,
        "peers": api.network.peers().len(),
        "mempool": api.mempool.len(),
        "account": account,
        "coordinating": api.coordinators.jobs().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })))
}

/// How a node catches up that is behind; null if it is not behind.
fn sync(api: &ReadApi) -> Value {
    if let Some(shown) = api.sync_status.fetch_progress() {
        return json!({
            "how": "snapshot", "target": shown.height, "entries": shown.entries,
            "share": shown.share, "peers": shown.peers,
        });
    }
    let target = api.sync_status.reported_head();
    // Being one block behind is normal.
    if target > api.chain.tip().height() + 1 {
        json!({"how": "blocks", "target": target})
    } else {
        Value::Null
    }
}

pub async fn peers(State(api): State<Arc<ReadApi>>) -> Answer {
    let peers: Vec<Value> = api
        .network
        .peers()
        .into_iter()
        .map(|p| {
            let (path, transport, via) = match p.path {
                PeerPath::Direct(transport) => ("direct", transport, None),
                PeerPath::Relayed { via, transport } => {
                    ("relayed", transport, Some(via.to_string()))
                }
            };
            json!({
                "id": p.id.to_string(), "agent": p.agent, "identify_error": p.identify_error,
                "path": path, "transport": transport.as_str(), "via": via,
                "address": p.addr.to_string(),
                "rtt_ms": p.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
                "addresses": p.addrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    Ok(Json(json!({"peers": peers})))
}

pub async fn reference(State(api): State<Arc<ReadApi>>, Path(name): Path<String>) -> Answer {
    let name = name.as_str().try_into().map_err(ApiError::bad)?;
    let tip = api.chain.tip();
    let found = tip.state.reference(&name).map(|r| Json(view::reference(r)));
    found.ok_or_else(|| ApiError::not_found(format!("ref {name}")))
}

pub async fn account(State(api): State<Arc<ReadApi>>, Path(id): Path<String>) -> Answer {
    let id: NodeId = id.parse().map_err(ApiError::bad)?;
    let tip = api.chain.tip();
    tip.state
        .account(&id)
        .map(|a| Json(view::account(a)))
        .ok_or_else(|| ApiError::not_found("account"))
}

pub async fn object(
    State(api): State<Arc<ReadApi>>,
    Path(cid): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let cid: Cid = cid.parse().map_err(ApiError::bad)?;
    let bytes =
        reading(&api.store, move |store| store.object(&cid)).await?.map_err(ApiError::internal)?;
    let kind = match cid.codec {
        CidCodec::Raw => "application/vnd.ipld.raw",
        CidCodec::DagCbor => "application/vnd.ipld.dag-cbor",
    };
    bytes.map(|b| ([(header::CONTENT_TYPE, kind)], b)).ok_or_else(|| ApiError::not_found("object"))
}

pub async fn block(State(api): State<Arc<ReadApi>>, Path(height): Path<u64>) -> Answer {
    let read = move |store: &Arc<Store>| -> Result<_, StoreError> {
        Ok((store.final_header(height)?, store.block(height)?, store.lowest_block()?))
    };
    let (header, block, lowest) = reading(&api.store, read).await?.map_err(ApiError::internal)?;
    if block.is_none() && (1..lowest).contains(&height) {
        // The header may still be stored, but the block's contents are not.
        return Err(ApiError::pruned(format!(
            "block {height} is gone: this node keeps blocks from {lowest} on; query one that keeps \
             all"
        )));
    }
    let header = header.ok_or_else(|| ApiError::not_found("block"))?;
    let transactions =
        block.map(|(b, _)| b.transactions.iter().map(|t| t.id().to_string()).collect::<Vec<_>>());
    let signers = header.certificate.as_ref().map(|c| c.seats().collect::<Vec<_>>());
    let mut view = view::header(&header.header);
    view["transactions"] = json!(transactions.unwrap_or_default());
    view["signers"] = json!(signers);
    Ok(Json(view))
}

#[derive(Deserialize)]
pub struct After {
    #[serde(default)]
    after: u64,
}

pub async fn events(
    State(api): State<Arc<ReadApi>>,
    Query(After { after }): Query<After>,
) -> Answer {
    let events = api.events.after(after);
    let events: Vec<_> = events.iter().map(|(n, t, e)| view::event(*n, *t, e)).collect();
    Ok(Json(json!({ "events": events })))
}

pub async fn transact(
    _: Authorized,
    State(api): State<Arc<ReadApi>>,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let transaction: SignedTransaction =
        codec::decode(&body, TRANSACTION_LEN_MAX).map_err(ApiError::bad)?;
    if api.chain.is_reduced() {
        let id = reading(&api.admission, move |admission| admission.check(transaction)).await??;
        let number = api.outbox.submit(ClientWrite::Signed(id.1)).await?;
        let about = json!({"id": id.0.to_string(), "queued": number, "final": false});
        return Ok((StatusCode::ACCEPTED, Json(about)));
    }
    let id = reading(&api.admission, move |admission| admission.submit(transaction)).await??;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id.to_string(), "final": false}))))
}

/// Queued writes, and the newest finished ones.
pub async fn queue(State(api): State<Arc<ReadApi>>) -> Answer {
    let queue =
        reading(&api.store, |store| store.outbox_entries()).await?.map_err(ApiError::internal)?;
    Ok(Json(json!({"writes": queue.iter().map(|(n, q)| view::queued(*n, q)).collect::<Vec<_>>()})))
}

pub async fn queued(State(api): State<Arc<ReadApi>>, Path(number): Path<u64>) -> Answer {
    let found = reading(&api.store, move |store| store.outbox_entry(number))
        .await?
        .map_err(ApiError::internal)?;
    found.map(|q| Json(view::queued(number, &q))).ok_or_else(|| ApiError::not_found("queued write"))
}

pub async fn transaction(State(api): State<Arc<ReadApi>>, Path(id): Path<String>) -> Answer {
    let id: TransactionId = id.parse().map_err(ApiError::bad)?;
    let found =
        reading(&api.store, move |store| store.receipt(&id)).await?.map_err(ApiError::internal)?;
    found.map(|(h, r)| Json(view::receipt(h, &r))).ok_or_else(|| ApiError::not_found("transaction"))
}

pub async fn metrics(State(api): State<Arc<ReadApi>>) -> impl IntoResponse {
    api.metrics.mempool.set(api.mempool.len() as i64);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.encode())
}

/// Succeeds if the node is alive and not behind.
pub async fn health(State(api): State<Arc<ReadApi>>) -> impl IntoResponse {
    match api.chain.is_reduced() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "stale\n"),
        false => (StatusCode::OK, "ok\n"),
    }
}
