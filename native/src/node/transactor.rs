//! This node's own transactions: numbered in order, sent, and waited for. A node without an account
//! registers first.

use super::context::{Context, NotAccepted};
use std::sync::Arc;
use tequio_core::{
    ledger::{Action, Transaction, TransactionError, TransactionId, state::solve_admission},
    types::Height,
};

/// Blocks after which a transaction that is in none is given up.
const LIFE: Height = 512;
/// Blocks that a registration has, whose puzzle is bound to a recent block.
const REGISTRATION_LIFE: Height = 128;
/// Tries at the admission puzzle before a newer block is taken.
const TRIES: u64 = 1 << 32;

/// Why a transaction has come to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactError {
    /// Not even waiting for a block.
    #[error("{0}")]
    NotAccepted(#[from] NotAccepted),
    /// In a block, but not applied.
    #[error("{0}")]
    NotApplied(TransactionError),
    /// In no block until it expired.
    #[error("in no block within {LIFE} blocks: is there a quorum?")]
    Expired,
    /// No solution found.
    #[error("the admission puzzle could not be solved")]
    Admission,
    /// The store fails, or the node stops.
    #[error("the node stops")]
    Stopping,
}

/// Signs and sends an action, and waits until it is applied. Returns the transaction and its
/// block's height.
pub async fn perform(
    context: &Arc<Context>,
    action: Action,
) -> Result<(TransactionId, Height), TransactError> {
    register(context).await?;
    let id = send(context, action, LIFE)?;
    Ok((id, settled(context, id, LIFE).await?))
}

/// Signs with the next nonce. The lock makes numbers follow each other.
fn send(context: &Context, action: Action, life: Height) -> Result<TransactionId, TransactError> {
    let _one_at_a_time = context.signing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let tip = context.tip();
    let nonce = context.mempool.next_nonce(&context.id, &tip.state);
    let expires = tip.height() + life;
    let transaction =
        Transaction { chain: context.chain, sender: context.id, nonce, expires, action };
    let signed = transaction.sign(context.node_key());
    let id = signed.id();
    context.accept_own(signed)?;
    Ok(id)
}

/// Waits until a transaction is in a final block or can no longer be.
async fn settled(
    context: &Arc<Context>,
    id: TransactionId,
    life: Height,
) -> Result<Height, TransactError> {
    let mut tips = context.watch_tip();
    let until = tips.borrow().height() + life;
    loop {
        let reader = context.clone();
        let found = tokio::task::spawn_blocking(move || reader.store.receipt(&id)).await;
        match found.map_err(|_| TransactError::Stopping)?.map_err(|_| TransactError::Stopping)? {
            Some((height, receipt)) => {
                return receipt.result.map(|()| height).map_err(TransactError::NotApplied);
            }
            None if tips.borrow().height() > until => return Err(TransactError::Expired),
            None => tips.changed().await.map_err(|_| TransactError::Stopping)?,
        }
    }
}

/// Opens an account where there is none: solves the puzzle for the newest block.
pub(super) async fn register(context: &Arc<Context>) -> Result<(), TransactError> {
    let _one_at_a_time = context.registering.lock().await;
    let tip = context.tip();
    if tip.state.account(&context.id).is_some_and(|a| a.registered) {
        return Ok(());
    }
    tracing::info!("opening an account");
    let (chain, node, bits, anchor, digest) =
        (context.chain, context.id, context.params.admission_bits, tip.height(), tip.digest);
    let solved = tokio::task::spawn_blocking(move || {
        solve_admission(&chain, &node, &digest, bits, 0, TRIES)
    });
    let solution = solved.await.ok().flatten().ok_or(TransactError::Admission)?;
    let id = send(context, Action::Register { anchor, solution }, REGISTRATION_LIFE)?;
    settled(context, id, REGISTRATION_LIFE).await.map(|_| ())
}
