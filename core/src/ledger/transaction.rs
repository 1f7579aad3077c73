//! What can be asked of the ledger. Every transaction names its chain, its sender's next nonce and
//! the height at which it expires, and is signed with the sender's Ed25519 key.

use super::checked::CheckedSet;
use super::evidence::Evidence;
use super::job::{JobId, JobResult, JobSpec, Verdict};
use super::membership::KeyClaim;
use crate::{
    codec::BoundedString,
    crypto::{
        Keys, NodeKey, Signature,
        batch::Batch,
        hash::{Context, hash_of},
    },
    knowledge::Cid,
    types::{ChainId, Digest, Height, NodeId, Unverified, Verified},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Read, Result as IoResult, Write},
};
use core::ops::Deref;

/// Largest encoded transaction, bytes.
pub const TRANSACTION_LEN_MAX: usize = 64 * 1024;
/// Longest life of a transaction, blocks.
pub const LIFE_MAX: Height = 4096;
/// Longest name of a ref, bytes.
pub const REF_NAME_LEN_MAX: usize = 160;

/// Names a transaction: the digest of what is signed.
pub type TransactionId = Digest;
/// Name of a ref: `<owner's NodeId in hex>/<path>`, or `models/<job>`.
pub type RefName = BoundedString<REF_NAME_LEN_MAX>;

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// The network.
    pub chain: ChainId,
    /// Who asks.
    pub sender: NodeId,
    /// The sender's next number.
    pub nonce: u64,
    /// Last height at which it may be applied.
    pub expires: Height,
    /// What is asked.
    pub action: Action,
}

/// What a transaction asks for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Action {
    /// Opens an account. The puzzle limits the rate of new identities; it is no vote.
    Register {
        /// A recent block.
        anchor: Height,
        /// Solves the puzzle, see [`super::state::admission_digest`].
        solution: u64,
    },
    /// Asks for a seat: moves balance into the bond from which seats follow, and registers the
    /// seat's keys.
    Join {
        /// How much.
        amount: u64,
        /// The keys.
        keys: KeyClaim,
    },
    /// Announces a job; the sender coordinates it.
    SubmitJob(JobSpec),
    /// The coordinator's result. It stays pending until auditors have recomputed it.
    JobResult {
        /// The job.
        job: JobId,
        /// What came out.
        result: JobResult,
    },
    /// An auditor's finding about a pending result.
    Audit {
        /// The job.
        job: JobId,
        /// What recomputing gave.
        verdict: Verdict,
    },
    /// Gives up a job of one's own.
    CancelJob {
        /// The job.
        job: JobId,
    },
    /// Moves a ref of one's own name space if its sequence is still the expected one.
    UpdateRef {
        /// Full name.
        name: RefName,
        /// Sequence before the move; 0 where the ref is new.
        expected: u64,
        /// Where it points afterwards.
        cid: Cid,
    },
    /// Accuses a member of the committee of what nobody does by mistake.
    Report {
        /// Who.
        accused: NodeId,
        /// Shows it.
        evidence: Box<Evidence>,
    },
    /// More bond behind a seat.
    Bond {
        /// How much.
        amount: u64,
    },
    /// Gives the seat up. It is kept until a turn takes it, and the bond is bound for longer.
    Leave,
    /// Registers other keys for the seat; the present ones hold until the turn.
    RotateKeys {
        /// The keys.
        keys: KeyClaim,
    },
    /// Gives balance to another account.
    Transfer {
        /// Whose.
        to: NodeId,
        /// How much.
        amount: u64,
    },
}

/// A transaction and its id, which is worked out once, here, and from nothing but the transaction:
/// it goes from the network to the mempool, through proposals and into blocks, and is asked for its
/// id at each step. Nothing changes it, and copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTransaction(Arc<(TransactionId, Transaction)>);

impl From<Transaction> for NamedTransaction {
    fn from(transaction: Transaction) -> Self {
        Self(Arc::new((hash_of(Context::Transaction, &transaction), transaction)))
    }
}

impl Deref for NamedTransaction {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.0.1
    }
}

impl BorshSerialize for NamedTransaction {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.0.1.serialize(writer)
    }
}

impl BorshDeserialize for NamedTransaction {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        Transaction::deserialize_reader(reader).map(Self::from)
    }
}

/// A transaction with its sender's signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedTransaction {
    /// What is signed.
    pub transaction: NamedTransaction,
    /// By its sender.
    pub signature: Signature,
}

/// Why a transaction is not even looked at. The fault is the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// Another network.
    #[error("the transaction is of another chain")]
    WrongChain,
    /// Not by its sender.
    #[error("the transaction's signature is not valid")]
    BadSignature,
}

impl Transaction {
    /// Signs with the sender's key.
    pub fn sign(self, key: &NodeKey) -> SignedTransaction {
        let transaction = NamedTransaction::from(self);
        let signature = key.sign_digest(&transaction.0.0);
        SignedTransaction { transaction, signature }
    }
}

impl SignedTransaction {
    /// Names it.
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
        let SignedTransaction { transaction, signature } = self.claim();
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

/// Transactions of one chain, with what is to be checked of their signatures, at once.
pub struct Claims {
    transactions: Vec<SignedTransaction>,
    batch: Batch,
}

impl Claims {
    /// Checks the chain. Signatures that have been checked before will not be looked at again.
    pub fn new(
        transactions: Vec<SignedTransaction>,
        chain: &ChainId,
        checked: &CheckedSet,
        keys: &mut impl Keys,
    ) -> Result<Self, InvalidTransaction> {
        let mut batch = Batch::default();
        for signed in &transactions {
            let SignedTransaction { transaction, signature } = signed;
            if transaction.chain != *chain {
                return Err(InvalidTransaction::WrongChain);
            }
            if checked.contains(signed) {
                continue;
            }
            batch.add_digest(keys, &transaction.sender, &transaction.0.0, signature);
        }
        Ok(Self { transactions, batch })
    }

    /// Checks the signatures: all of them are right, or none is taken for it.
    pub fn verify(self) -> Result<Vec<Verified<SignedTransaction>>, InvalidTransaction> {
        self.batch.verify().map_err(|_| InvalidTransaction::BadSignature)?;
        Ok(self.transactions.into_iter().map(|t| Unverified::new(t).into_verified()).collect())
    }
}
