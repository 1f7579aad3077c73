//! `/.well-known/tequio.json`: where browsers can connect. Addresses only (STUN and
//! TURN servers are no more than that); nothing in it is trusted for data, and whoever checks the
//! checkpoint's hash need not trust it for that either.

use super::{CHECKPOINT_PATH, Site};
use crate::turn::IceServer;
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
    /// As the operator calls themselves; unproved.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<crate::Operator>,
    /// STUN and TURN, each time with a new credential.
    #[serde(rename = "iceServers", skip_serializing_if = "Vec::is_empty")]
    ice_servers: Vec<IceServer>,
    /// For so many seconds from now: a duration, because a browser's clock may be wrong.
    #[serde(rename = "iceLifetimeS", skip_serializing_if = "Option::is_none")]
    ice_lifetime_s: Option<u64>,
}

pub(super) async fn answer(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let ice_servers: Vec<IceServer> =
        site.turn.iter().filter_map(|turn| turn.ice_server()).collect();
    let lifetime = site
        .turn
        .as_ref()
        .filter(|_| !ice_servers.is_empty())
        .map(|turn| turn.credential_lifetime());
    // A credential is for the one who asked.
    let cache = if ice_servers.is_empty() { "no-cache" } else { "no-store" };
    let chain = site.checkpoint.as_ref().map(|c| c.chain.to_string());
    let document = WellKnown {
        version: VERSION,
        checkpoint: chain.is_some().then_some(CHECKPOINT_PATH),
        chain,
        operator: site.operator.clone(),
        relays: site.addresses.for_browsers().iter().map(ToString::to_string).collect(),
        ice_servers,
        ice_lifetime_s: lifetime.map(|lifetime| lifetime.as_secs()),
    };
    ([(CACHE_CONTROL, cache)], Json(document))
}
