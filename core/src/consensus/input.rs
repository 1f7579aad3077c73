//! The inputs of a replica.

use super::{config::SeatKeys, head::Head};
use crate::{
    ledger::{Block, Certificate, SignedTransaction, VerifiedSignature},
    types::{Digest, Height, NodeId, Unverified, Verified, View},
    wire::consensus::Message,
};
use alloc::{boxed::Box, vec::Vec};

/// An event that a replica handles.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Input {
    /// A message arrived.
    Received {
        /// The authenticated sender.
        from: NodeId,
        /// The message.
        message: Unverified<Message>,
    },
    /// The oldest polled [`super::Output::Persist`], [`super::Output::Finalised`] or
    /// [`super::Output::InstallSnapshot`] is on disk.
    Persisted,
    /// Answers [`super::BuildBlock`], also if no transaction is available.
    Built {
        /// Height of the request.
        height: Height,
        /// View of the request.
        view: View,
        /// Parent of the request.
        parent: Digest,
        /// The mempool's choice, in order of application. Transactions above the limits are left
        /// out.
        transactions: Vec<Verified<SignedTransaction>>,
        /// Inputs queued for the replica at this moment. A busy leader does not pipeline.
        queued_inputs: usize,
    },
    /// Final blocks from a peer, ascending and without gaps. The replica verifies all of them.
    Synced {
        /// The peer.
        from: NodeId,
        /// The blocks; those that are final here already are skipped.
        blocks: Vec<(Block, Certificate)>,
    },
    /// The state of a later final block. The replica continues from there and skips the blocks
    /// between.
    Snapshot(Box<Verified<Head>>),
    /// Transactions of the block in the next message whose signatures the host has verified
    /// already. This input only saves time.
    SignaturesVerified(Vec<VerifiedSignature>),
    /// Additional seat keys of this node. They are on disk already and will be registered for its
    /// seat.
    SeatKeys(Box<SeatKeys>),
    /// The mempool holds transactions: a block is due after the shortest interval.
    WantBlock {
        /// One above the last height whose transactions the mempool has removed. The replica
        /// ignores any other height, because a later block may contain the waiting transactions
        /// already.
        height: Height,
    },
    /// The deadline has passed.
    Tick,
}
