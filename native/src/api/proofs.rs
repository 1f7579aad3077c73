//! Checkpoints, from which light clients start, and the committee handovers from there to the head.

use super::{Api, error::ApiError, read::reading};
use crate::node::light;
use axum::{
    extract::{Query, State},
    http::{HeaderName, header},
    response::IntoResponse,
};
use serde::Deserialize;
use tequio_core::{
    codec,
    types::Epoch,
    wire::light::{HANDOVERS_MAX, Response},
};

const BYTES: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/octet-stream")];

/// The query of `/v1/checkpoint`.
#[derive(Deserialize)]
pub struct Checkpoint {
    /// Return the file that the node was started with, whatever its age.
    #[serde(default)]
    root: bool,
}

/// The newest head as a checkpoint file, or the file that the node was started with.
pub async fn checkpoint(
    State(api): State<Api>,
    Query(Checkpoint { root }): Query<Checkpoint>,
) -> Result<impl IntoResponse, ApiError> {
    let bytes = match root {
        true => api.context.checkpoint.clone(),
        false => light::checkpoint(&api.context)
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
    State(api): State<Api>,
    Query(Page { from, count }): Query<Page>,
) -> Result<impl IntoResponse, ApiError> {
    let count = count.unwrap_or(HANDOVERS_MAX as u16);
    let handovers = reading(&api, move |context| light::handovers(context, from, count)).await?;
    Ok((BYTES, codec::encode(&Response::Handovers(handovers))))
}
