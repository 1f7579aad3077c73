//! `/.well-known/tequio.json`: the addresses at which browsers can connect, including STUN and TURN
//! servers. Browsers trust nothing in it for data. A browser that checks the checkpoint's hash need
//! not trust the document for the checkpoint either.

use super::site::{CHECKPOINT_PATH, Site};
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
    /// The operator as named in the configuration; not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<crate::Operator>,
    /// STUN and TURN servers, with a new credential in each document.
    #[serde(rename = "iceServers", skip_serializing_if = "Vec::is_empty")]
    ice_servers: Vec<IceServer>,
    /// Seconds for which the credential is valid. It is a duration because a browser's clock may
    /// be wrong.
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
    // A credential is for one client only.
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
