//! Submits this node's own transactions: assigns nonces in order, sends, and waits for the receipt.
//! A node without an account registers first.

use crate::{
    node::{
        chain_view::ChainView,
        mempool::{
            Mempool,
            verify::admission::{Admission, NotAccepted},
        },
    },
    store::Store,
};
use std::sync::{Arc, Mutex, MutexGuard};
use tequio_core::{
    crypto::NodeKey,
    ledger::{
        Action, SignedTransaction, Transaction, TransactionError, TransactionId,
        transition::admission::solve_admission,
    },
    types::Height,
};

/// Blocks after which a transaction expires.
const VALIDITY_BLOCKS: Height = 512;
/// Blocks after which a registration expires: its puzzle is bound to a recent block.
const REGISTRATION_VALIDITY_BLOCKS: Height = 128;
/// Attempts at the admission puzzle before a newer block is used.
const ADMISSION_TRIES: u64 = 1 << 32;

/// The reason why a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The mempool refused it.
    #[error("{0}")]
    NotAccepted(#[from] NotAccepted),
    /// Included in a block, but not applied.
    #[error("{0}")]
    NotApplied(TransactionError),
    /// Expired without being in a block.
    #[error(
        "the transaction was not included within {VALIDITY_BLOCKS} blocks: check that a quorum of \
         the committee is running"
    )]
    Expired,
    /// No solution of the puzzle was found.
    #[error("the admission puzzle could not be solved")]
    Admission,
    /// The store fails, or the node stops.
    #[error("the node is stopping")]
    Stopping,
}

/// Submits this node's transactions. Clones share the locks.
#[derive(Clone)]
pub struct Submitter {
    chain: ChainView,
    store: Arc<Store>,
    mempool: Arc<Mempool>,
    admission: Admission,
    /// The key of the node's account.
    key: NodeKey,
    /// Held while a transaction gets its nonce and signature.
    signing_lock: Arc<Mutex<()>>,
    /// Held while the account is opened.
    registration_lock: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Submitter {
    /// Shows the node, and not its key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "submitter of {:?}", self.chain.node)
    }
}

/// Signs this node's transactions, see [`Submitter::signer`].
pub struct Signer<'a> {
    submitter: &'a Submitter,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Signer<'_> {
    /// Signs with the next nonce. The transaction expires after `life` blocks.
    pub fn sign(&self, action: Action, life: Height) -> SignedTransaction {
        let Submitter { chain, mempool, key, .. } = self.submitter;
        let tip = chain.tip();
        let nonce = mempool.next_nonce(&chain.node, &tip.state);
        let expires = tip.height() + life;
        Transaction { chain: chain.id, sender: chain.node, nonce, expires, action }.sign(key)
    }
}

impl Submitter {
    /// Signs with this key.
    pub fn new(
        chain: ChainView,
        store: Arc<Store>,
        mempool: Arc<Mempool>,
        admission: Admission,
        key: NodeKey,
    ) -> Self {
        let (signing_lock, registration_lock) = (Arc::default(), Arc::default());
        Self { chain, store, mempool, admission, key, signing_lock, registration_lock }
    }

    /// Signs and sends an action, and waits until it is applied. Returns the transaction id and the
    /// height of its block.
    pub async fn submit_and_wait(
        &self,
        action: Action,
    ) -> Result<(TransactionId, Height), SubmitError> {
        self.register().await?;
        let id = self.send(action, VALIDITY_BLOCKS)?;
        Ok((id, self.wait_for_receipt(id, VALIDITY_BLOCKS).await?))
    }

    /// Signs with the next nonce and sends.
    fn send(&self, action: Action, life: Height) -> Result<TransactionId, SubmitError> {
        let signer = self.signer();
        let signed = signer.sign(action, life);
        let id = signed.id();
        self.admission.accept_local(signed)?;
        Ok(id)
    }

    /// The signer of this node's transactions. Only one exists at a time: its owner holds it until
    /// the transaction is in the pool, which then reserves its nonce. So nonces are consecutive.
    pub fn signer(&self) -> Signer<'_> {
        let one_at_a_time =
            self.signing_lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Signer { submitter: self, _one_at_a_time: one_at_a_time }
    }

    /// Waits until a transaction is in a final block or has expired.
    async fn wait_for_receipt(
        &self,
        id: TransactionId,
        life: Height,
    ) -> Result<Height, SubmitError> {
        let mut tips = self.chain.watch_tip();
        let until = tips.borrow().height() + life;
        loop {
            let reader = self.store.clone();
            let found = tokio::task::spawn_blocking(move || reader.receipt(&id)).await;
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
    pub(super) async fn register(&self) -> Result<(), SubmitError> {
        let _one_at_a_time = self.registration_lock.lock().await;
        let tip = self.chain.tip();
        if tip.state.account(&self.chain.node).is_some_and(|a| a.registered) {
            return Ok(());
        }
        tracing::info!("opening an account");
        let (chain, node, bits, anchor, digest) = (
            self.chain.id,
            self.chain.node,
            self.chain.params.admission_bits,
            tip.height(),
            tip.digest,
        );
        let solved = tokio::task::spawn_blocking(move || {
            solve_admission(&chain, &node, &digest, bits, 0, ADMISSION_TRIES)
        });
        let solution = solved.await.ok().flatten().ok_or(SubmitError::Admission)?;
        let id = self.send(Action::Register { anchor, solution }, REGISTRATION_VALIDITY_BLOCKS)?;
        self.wait_for_receipt(id, REGISTRATION_VALIDITY_BLOCKS).await.map(|_| ())
    }
}
