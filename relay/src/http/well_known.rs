//! `/.well-known/tequio.json`: where browsers can connect. Addresses only; nothing in it is
//! trusted for data, and whoever checks the checkpoint's hash need not trust it for that either.

use super::{CHECKPOINT_PATH, Site};
use axum::{Json, extract::State, http::header::CACHE_CONTROL, response::IntoResponse};
use serde::Serialize;
use std::sync::Arc;

/// Version of the document's format.
const VERSION: u32 = 1;

/// The document.
#[derive(Debug, Serialize)]
struct WellKnown {
    version: u32,
    /// Chain id in hexadecimal, if this relay has a checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
    /// Multiaddresses with `/p2p/…`, the preferred ones first.
    relays: Vec<String>,
    /// Path of the checkpoint on this server.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<&'static str>,
}

pub(super) async fn answer(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let chain = site.checkpoint.as_ref().map(|c| c.chain.to_string());
    let document = WellKnown {
        version: VERSION,
        checkpoint: chain.is_some().then_some(CHECKPOINT_PATH),
        chain,
        relays: site.addresses.for_browsers().iter().map(ToString::to_string).collect(),
    };
    ([(CACHE_CONTROL, "no-cache")], Json(document))
}
