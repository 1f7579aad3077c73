//! Writes of this node to the ledger while their client waits.

use super::error::ApiError;
use crate::{
    node::writes::outbox::WriteOutbox,
    store::{ClientWrite, WriteStage},
};
use axum::http::StatusCode;
use tequio_core::{
    ledger::{Action, TransactionId},
    types::Height,
};

/// The state of a write when its client is answered.
pub enum WriteResult {
    Applied {
        transaction: TransactionId,
        height: Height,
    },
    /// Stored, but in no block yet. The client can query the outcome by this number.
    Queued(u64),
}

/// Submits a write of this node to the ledger, or reports that it is queued until there is a
/// quorum.
pub async fn write(
    outbox: &WriteOutbox,
    action: Action,
) -> Result<(StatusCode, WriteResult), ApiError> {
    outcome(outbox, outbox.submit(ClientWrite::Own(action)).await?).await
}

/// Waits for the outcome of a queued write while its client waits.
pub async fn outcome(
    outbox: &WriteOutbox,
    number: u64,
) -> Result<(StatusCode, WriteResult), ApiError> {
    match outbox.wait_for_outcome(number).await.map_err(ApiError::internal)? {
        WriteStage::Applied { transaction, height } => {
            Ok((StatusCode::OK, WriteResult::Applied { transaction, height }))
        }
        WriteStage::Refused { reason } => Err(ApiError::conflict(reason)),
        WriteStage::Waiting | WriteStage::Sent { .. } => {
            Ok((StatusCode::ACCEPTED, WriteResult::Queued(number)))
        }
    }
}
