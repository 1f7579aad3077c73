//! Submits this node's own transactions: assigns nonces in order, sends, and waits for the receipt.
//! A node without an account registers first.

use super::context::{NodeContext, NotAccepted};
use std::sync::Arc;
use tequio_core::{
    ledger::{Action, Transaction, TransactionError, TransactionId, state::solve_admission},
    types::Height,
};

/// Blocks after which a transaction expires.
const LIFE: Height = 512;
/// Blocks after which a registration expires: its puzzle is bound to a recent block.
const REGISTRATION_LIFE: Height = 128;
/// Attempts at the admission puzzle before a newer block is used.
const ADMISSION_TRIES: u64 = 1 << 32;

/// Why a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The mempool refused it.
    #[error("{0}")]
    NotAccepted(#[from] NotAccepted),
    /// Included in a block, but not applied.
    #[error("{0}")]
    NotApplied(TransactionError),
    /// Expired without being in a block.
    #[error("in no block within {LIFE} blocks: is there a quorum?")]
    Expired,
    /// No solution of the puzzle was found.
    #[error("the admission puzzle could not be solved")]
    Admission,
    /// The store fails, or the node stops.
    #[error("the node stops")]
    Stopping,
}

/// Signs and sends an action, and waits until it is applied. Returns the transaction id and the
/// height of its block.
pub async fn submit_and_wait(
    context: &Arc<NodeContext>,
    action: Action,
) -> Result<(TransactionId, Height), SubmitError> {
    register(context).await?;
    let id = send(context, action, LIFE)?;
    Ok((id, wait_for_receipt(context, id, LIFE).await?))
}

/// Signs with the next nonce and sends. The lock keeps nonces consecutive.
fn send(context: &NodeContext, action: Action, life: Height) -> Result<TransactionId, SubmitError> {
    let _one_at_a_time =
        context.signing_lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let tip = context.tip();
    let nonce = context.mempool.next_nonce(&context.id, &tip.state);
    let expires = tip.height() + life;
    let transaction =
        Transaction { chain: context.chain, sender: context.id, nonce, expires, action };
    let signed = transaction.sign(context.node_key());
    let id = signed.id();
    context.accept_local(signed)?;
    Ok(id)
}

/// Waits until a transaction is in a final block or has expired.
async fn wait_for_receipt(
    context: &Arc<NodeContext>,
    id: TransactionId,
    life: Height,
) -> Result<Height, SubmitError> {
    let mut tips = context.watch_tip();
    let until = tips.borrow().height() + life;
    loop {
        let reader = context.clone();
        let found = tokio::task::spawn_blocking(move || reader.store.receipt(&id)).await;
        match found.map_err(|_| SubmitError::Stopping)?.map_err(|_| SubmitError::Stopping)? {
            Some((height, receipt)) => {
                return receipt.result.map(|()| height).map_err(SubmitError::NotApplied);
            }
            None if tips.borrow().height() > until => return Err(SubmitError::Expired),
            None => tips.changed().await.map_err(|_| SubmitError::Stopping)?,
        }
    }
}

/// Opens an account if there is none: solves the puzzle for the newest block.
pub(super) async fn register(context: &Arc<NodeContext>) -> Result<(), SubmitError> {
    let _one_at_a_time = context.registration_lock.lock().await;
    let tip = context.tip();
    if tip.state.account(&context.id).is_some_and(|a| a.registered) {
        return Ok(());
    }
    tracing::info!("opening an account");
    let (chain, node, bits, anchor, digest) =
        (context.chain, context.id, context.params.admission_bits, tip.height(), tip.digest);
    let solved = tokio::task::spawn_blocking(move || {
        solve_admission(&chain, &node, &digest, bits, 0, ADMISSION_TRIES)
    });
    let solution = solved.await.ok().flatten().ok_or(SubmitError::Admission)?;
    let id = send(context, Action::Register { anchor, solution }, REGISTRATION_LIFE)?;
    wait_for_receipt(context, id, REGISTRATION_LIFE).await.map(|_| ())
}
