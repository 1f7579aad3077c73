//! The outputs of a replica. [`Output::Persist`], [`Output::Finalised`] and
//! [`Output::InstallSnapshot`] are barriers: later outputs are not polled before
//! [`super::Input::Persisted`].

use super::{error::Offence, head::Head, wal::WalRecord};
use crate::{
    ledger::{Block, Certificate, Outcome, State},
    types::{Digest, Epoch, Height, NodeId, View},
    wire::consensus::Message,
};
use alloc::boxed::Box;

/// An action for the host, or an event.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Send this message. It may be lost: the replica retransmits where that matters.
    Send {
        /// The recipients.
        to: Recipient,
        /// The message.
        message: Message,
    },
    /// Append this record durably, then answer with [`super::Input::Persisted`].
    Persist(Box<WalRecord>),
    /// A block is final. Store block, certificate and changes in one atomic write, drop the records
    /// of this height and of lower ones, then answer with [`super::Input::Persisted`].
    Finalised(Box<Finalised>),
    /// The replica continues from this state. Replace the stored state in one atomic write, drop
    /// the records of its height and of lower ones, then answer with [`super::Input::Persisted`].
    InstallSnapshot(Box<Head>),
    /// Request transactions from the mempool, which answers with [`super::Input::Built`].
    BuildBlock(BuildBlock),
    /// Request final blocks from this peer. At most one such request is pending.
    SyncNeeded {
        /// The first missing height.
        from: Height,
        /// A peer that seems to have that height.
        peer: NodeId,
    },
    /// A peer did something that no correct peer does.
    Misbehaviour {
        /// The peer.
        peer: NodeId,
        /// The offence.
        offence: Box<Offence>,
    },
    /// Progress, for logs and metrics.
    Event(Event),
}

/// Recipients of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Every other seat of the committee: the [recipients](super::Replica::recipients) of the
    /// message.
    All,
    /// One node.
    One(NodeId),
}

/// A final block and its effects.
#[derive(Clone, Debug)]
pub struct Finalised {
    /// The block.
    pub block: Block,
    /// The commit certificate.
    pub certificate: Certificate,
    /// The next state, the entries that changed, and the result of each transaction.
    pub outcome: Outcome,
}

/// A request for transactions.
#[derive(Clone, Debug)]
pub struct BuildBlock {
    /// Height of the block: the height that is being decided, or the next one.
    pub height: Height,
    /// The view that this node leads.
    pub view: View,
    /// Digest of the parent block.
    pub parent: Digest,
    /// The state after the parent, to which the transactions must apply. It need not be final yet.
    pub state: State,
    /// Most bytes of encoded transactions.
    pub len_max: usize,
    /// Most transactions.
    pub transactions_max: usize,
}

/// Progress, for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A proposal is accepted and gets this node's prepare vote.
    Accepted {
        /// Height of the block.
        height: Height,
        /// View of the proposal.
        view: View,
        /// Digest of the block.
        digest: Digest,
    },
    /// A proposal of the next height is accepted before the present height is decided.
    PipelinedAccepted {
        /// Height of the block.
        height: Height,
        /// Digest of the block.
        digest: Digest,
    },
    /// Another block became final than the parent of a pipelined block. This node's vote for the
    /// pipelined block has no effect.
    Orphaned {
        /// The height of the vote.
        height: Height,
        /// Digest of the block that got the vote.
        digest: Digest,
    },
    /// A quorum has prepared the block.
    Prepared {
        /// Height of the block.
        height: Height,
        /// View of the quorum.
        view: View,
        /// Digest of the block.
        digest: Digest,
    },
    /// The collector did not certify the votes for this block in time. Votes of this height go to
    /// all members from now on.
    CollectorBypassed {
        /// The height.
        height: Height,
        /// Digest of the block.
        digest: Digest,
    },
    /// This node abandons earlier views.
    ViewChange {
        /// The height.
        height: Height,
        /// The new view.
        view: View,
        /// The leader of the new view.
        leader: NodeId,
    },
    /// A new committee takes over.
    Epoch {
        /// The new epoch.
        epoch: Epoch,
        /// Number of seats.
        seats: usize,
        /// This node's seat, if it has one and the keys for it.
        seat: Option<usize>,
    },
}

impl Output {
    pub(super) fn is_barrier(&self) -> bool {
        matches!(self, Self::Persist(_) | Self::Finalised(_) | Self::InstallSnapshot(_))
    }

    /// Approximate size in memory, bytes.
    pub(super) fn len(&self) -> usize {
        const SMALL: usize = 1024;
        let large = match self {
            Self::Send { message: Message::Proposal(proposal), .. } => {
                borsh::object_length(proposal)
            }
            Self::Send { message: Message::ViewChange { block: Some(block), .. }, .. } => {
                borsh::object_length(block)
            }
            Self::Persist(record) => borsh::object_length(&**record),
            Self::Finalised(finalised) => borsh::object_length(&finalised.block),
            _ => Ok(0),
        };
        SMALL + large.unwrap_or_default()
    }
}
