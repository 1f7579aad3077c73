//! What can happen to a replica.

use super::replica::{Head, SeatKeys};
use crate::{
    ledger::{Block, Certificate, Checked, SignedTransaction},
    types::{Digest, Height, NodeId, Unverified, Verified, View},
    wire::consensus::Message,
};
use alloc::{boxed::Box, vec::Vec};

/// One input.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Input {
    /// A message came.
    Received {
        /// The authenticated peer that said it.
        from: NodeId,
        /// What it says.
        message: Unverified<Message>,
    },
    /// The oldest [`super::Output::Persist`], [`super::Output::Finalised`] or
    /// [`super::Output::Adopted`] that was polled is on disk.
    Persisted,
    /// Answers [`super::BuildBlock`], also where there is nothing to put into a block.
    Built {
        /// As asked.
        height: Height,
        /// As asked.
        view: View,
        /// As asked.
        parent: Digest,
        /// The mempool's choice, in the order of application. What exceeds the limits is left out.
        transactions: Vec<Verified<SignedTransaction>>,
        /// Inputs that wait for the machine at this moment. A leader with much to do opens no
        /// height ahead of time.
        waiting: usize,
    },
    /// Whether more tasks want this host's processors than they can serve, until the host says
    /// otherwise. Then a leader opens no height ahead of time, and rests before the next,
    /// unless it is to hurry by [`super::Pipeline::On`].
    Contended(bool),
    /// Final blocks from a peer, ascending and without gaps. Nothing about them is believed.
    Synced {
        /// Who sent them.
        from: NodeId,
        /// The blocks; those that are final here already are skipped.
        blocks: Vec<(Block, Certificate)>,
    },
    /// The state of a later final block, to go on from: the blocks between are passed over.
    Snapshot(Box<Verified<Head>>),
    /// Of the transactions in the block that the next message brings, those that the host has
    /// verified before: their signatures need no second look. Nothing but time depends on it.
    Checked(Vec<Checked>),
    /// More keys of this node's: they are on disk already, and will be registered for its seat.
    SeatKeys(Box<SeatKeys>),
    /// The mempool holds something: a block is due after the shortest interval.
    WantBlock {
        /// The height wanted, one above the block up to which the mempool has been emptied. For
        /// any other height the wish has been overtaken: what was waiting may be in that
        /// block.
        height: Height,
    },
    /// The deadline has come.
    Tick,
}
