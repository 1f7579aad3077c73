//! Transactions: the requests to the ledger. Each names its chain, its sender's next nonce and the
//! height at which it expires, and is signed with the sender's Ed25519 key.

pub use super::ids::{RefName, TransactionId};

use super::{
    evidence::Evidence,
    ids::JobId,
    job::{JobResult, JobSpec, Verdict},
    membership::KeyRegistration,
};
use crate::{
    content::Cid,
    crypto::{
        NodeKey, Signature,
        hash::{HashContext, hash_of},
    },
    types::{ChainId, Height, NodeId, Unverified, Verified},
};
use alloc::{boxed::Box, sync::Arc};
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Read, Result as IoResult, Write},
};
use core::ops::Deref;

/// Largest encoded transaction, bytes.
pub const TRANSACTION_LEN_MAX: usize = 64 * 1024;
/// Longest validity of a transaction, blocks.
pub const VALIDITY_BLOCKS_MAX: Height = 4096;
/// The signed content of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// The chain.
    pub chain: ChainId,
    /// The sender.
    pub sender: NodeId,
    /// The sender's next nonce.
    pub nonce: u64,
    /// Last height at which it may be applied.
    pub expires: Height,
    /// The requested action.
    pub action: Action,
}

/// The action of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Action {
    /// Opens an account. The puzzle limits the rate of new identities; it gives no votes.
    Register {
        /// A recent block.
        anchor: Height,
        /// Solves the puzzle, see [`super::transition::admission::admission_digest`].
        solution: u64,
    },
    /// Requests a seat: moves balance into the bond, which determines the weight, and registers the
    /// seat's keys.
    Join {
        /// Amount to bond.
        amount: u64,
        /// The keys.
        keys: KeyRegistration,
    },
    /// Announces a job; the sender coordinates it.
    SubmitJob(JobSpec),
    /// The coordinator's result. It stays pending until auditors have recomputed it.
    JobResult {
        /// The job.
        job: JobId,
        /// The result.
        result: JobResult,
    },
    /// An auditor's finding about a pending result.
    Audit {
        /// The job.
        job: JobId,
        /// The auditor's finding.
        verdict: Verdict,
    },
    /// Cancels a job of the sender.
    CancelJob {
        /// The job.
        job: JobId,
    },
    /// Moves a ref in the sender's name space if its sequence is still the expected one.
    UpdateRef {
        /// Full name.
        name: RefName,
        /// Sequence before the move; 0 where the ref is new.
        expected: u64,
        /// The object it points to afterwards.
        cid: Cid,
    },
    /// Accuses a committee member of an offence that no member commits by mistake.
    Report {
        /// The accused member.
        accused: NodeId,
        /// The proof of the offence.
        evidence: Box<Evidence>,
    },
    /// Adds bond to a seat.
    Bond {
        /// Amount to add.
        amount: u64,
    },
    /// Gives up the seat. The member keeps it until an epoch boundary takes it, and the bond stays
    /// locked for longer.
    Leave,
    /// Registers new keys for the seat; the current ones hold until the epoch boundary.
    RotateKeys {
        /// The keys.
        keys: KeyRegistration,
    },
    /// Transfers balance to another account.
    Transfer {
        /// The receiver.
        to: NodeId,
        /// The amount.
        amount: u64,
    },
}

/// A transaction with its id. The id is computed once, from the transaction alone, and reused by
/// the network, the mempool, proposals and blocks. The value is immutable, and copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedTransaction(Arc<(TransactionId, Transaction)>);

impl From<Transaction> for HashedTransaction {
    fn from(transaction: Transaction) -> Self {
        Self(Arc::new((hash_of(HashContext::Transaction, &transaction), transaction)))
    }
}

impl Deref for HashedTransaction {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.0.1
    }
}

impl BorshSerialize for HashedTransaction {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.0.1.serialize(writer)
    }
}

impl BorshDeserialize for HashedTransaction {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        Transaction::deserialize_reader(reader).map(Self::from)
    }
}

/// A transaction with its sender's signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedTransaction {
    /// The transaction.
    pub transaction: HashedTransaction,
    /// Signature of the sender.
    pub signature: Signature,
}

/// The reason why a transaction is invalid in every state. The sender is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// The transaction is of another chain.
    #[error("the transaction is of another chain")]
    WrongChain,
    /// The sender did not sign it.
    #[error("the transaction's signature is not valid")]
    BadSignature,
}

impl Transaction {
    /// Signs with the sender's key.
    pub fn sign(self, key: &NodeKey) -> SignedTransaction {
        let transaction = HashedTransaction::from(self);
        let signature = key.sign_digest(&transaction.0.0);
        SignedTransaction { transaction, signature }
    }
}

impl SignedTransaction {
    /// The id of the transaction.
    pub fn id(&self) -> TransactionId {
        self.transaction.0.0
    }
}

impl Unverified<SignedTransaction> {
    /// Checks chain and signature.
    pub fn verify(
        self,
        chain: &ChainId,
    ) -> Result<Verified<SignedTransaction>, InvalidTransaction> {
        let SignedTransaction { transaction, signature } = self.unverified();
        if transaction.chain != *chain {
            return Err(InvalidTransaction::WrongChain);
        }
        transaction
            .sender
            .verify_digest(&transaction.0.0, signature)
            .map_err(|_| InvalidTransaction::BadSignature)?;
        Ok(self.into_verified())
    }
}
