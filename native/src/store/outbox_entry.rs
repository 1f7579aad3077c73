//! A write in the outbox, and its progress.

use borsh::{BorshDeserialize, BorshSerialize};
use tequio_core::{
    codec::BoundedString,
    ledger::{Action, SignedTransaction, TransactionId},
    types::{Height, TimeMs},
};

/// A client's write.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum ClientWrite {
    /// Signed by this node when it is due, and again with another nonce and expiry if necessary.
    Own(Action),
    /// Signed by another sender, so it cannot be changed.
    Signed(SignedTransaction),
}

/// Progress of a write.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum WriteStage {
    /// The write has not been sent to another node yet.
    Waiting,
    /// Other nodes may have the write. The transaction is stored here before it is sent, so that no
    /// write has two signed transactions at once.
    Sent {
        /// The transaction that other nodes may have.
        transaction: SignedTransaction,
        /// The final height when it was signed.
        since: Height,
    },
    /// The write is in a final block.
    Applied {
        /// The transaction.
        transaction: TransactionId,
        /// Height of the block.
        height: Height,
    },
    /// The write had no effect, and can have none later.
    Refused {
        /// The reason, for people.
        reason: BoundedString<256>,
    },
}

/// A write and its progress.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OutboxEntry {
    /// Time of the request.
    pub queued_ms: TimeMs,
    /// The write; removed once its outcome is known.
    pub write: Option<ClientWrite>,
    /// Progress of the write.
    pub stage: WriteStage,
}

impl WriteStage {
    /// Whether the outcome of the write is known.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Applied { .. } | Self::Refused { .. })
    }
}
