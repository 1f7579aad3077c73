//! Checkpoints, from which light clients start, and the committee handovers from there to the head.

use super::{error::ApiError, reading::reading};
use crate::{
    node::{chain::proofs, chain_view::ChainView},
    store::Store,
};
use axum::{
    extract::{Query, State},
    http::{HeaderName, header},
    response::IntoResponse,
};
use serde::Deserialize;
use std::sync::Arc;
use tequio_core::{
    codec,
    types::Epoch,
    wire::light::{HANDOVERS_MAX, Response},
};

const BYTES: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/octet-stream")];

/// The parts of the node that these handlers use.
pub struct ProofsApi {
    pub chain: ChainView,
    pub store: Arc<Store>,
    pub checkpoint: Arc<[u8]>,
}

/// The query of `/v1/checkpoint`.
#[derive(Deserialize)]
pub struct Checkpoint {
    /// Return the file that the node was started with, whatever its age.
    #[serde(default)]
    root: bool,
}

/// The newest head as a checkpoint file, or the file that the node was started with.
pub async fn checkpoint(
    State(api): State<Arc<ProofsApi>>,
    Query(Checkpoint { root }): Query<Checkpoint>,
) -> Result<impl IntoResponse, ApiError> {
    let bytes = match root {
        true => api.checkpoint.to_vec(),
        false => proofs::checkpoint(&api.chain)
            .ok_or_else(|| ApiError::internal("the state has no committee"))?,
    };
    Ok((BYTES, bytes))
}

/// The query of `/v1/handovers`.
#[derive(Deserialize)]
pub struct Page {
    #[serde(default)]
    from: Epoch,
    count: Option<u16>,
}

/// Committee handovers in the encoding of the light protocol, at most [`HANDOVERS_MAX`] and as many
/// as fit into an answer.
pub async fn handovers(
    State(api): State<Arc<ProofsApi>>,
    Query(Page { from, count }): Query<Page>,
) -> Result<impl IntoResponse, ApiError> {
    let count = count.unwrap_or(HANDOVERS_MAX as u16);
    let handovers =
        reading(&api, move |api| proofs::handovers(&api.chain, &api.store, from, count)).await?;
    Ok((BYTES, codec::encode(&Response::Handovers(handovers))))
}
