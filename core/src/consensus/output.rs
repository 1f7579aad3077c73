//! What a replica wants done. [`Output::Persist`], [`Output::Finalised`] and [`Output::Adopted`]
//! are barriers: nothing that comes after them is polled before [`super::Input::Persisted`].

use super::{replica::Head, validate::BlockError, wal::WalRecord};
use crate::{
    ledger::{Block, Certificate, Evidence, Outcome, State, committee::CertificateError},
    types::{Digest, Epoch, Height, NodeId, View},
    wire::consensus::{Message, SignedClaim, SignedViewChange, SignedVote},
};
use alloc::boxed::Box;

/// One output.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Say this. It may be lost: the machine says it again where that matters.
    Send {
        /// To whom.
        to: To,
        /// What.
        message: Message,
    },
    /// Append this durably, then answer [`super::Input::Persisted`].
    Persist(Box<WalRecord>),
    /// A block is final: store block, certificate and changes in one atomic write, drop the records
    /// of this height and of those below, then answer [`super::Input::Persisted`].
    Finalised(Box<Finalised>),
    /// The replica goes on from this state: make it the store's in one atomic write, drop the
    /// records of its height and of those below, then answer [`super::Input::Persisted`].
    Adopted(Box<Head>),
    /// Ask the mempool. [`super::Input::Built`] answers.
    Request(BuildBlock),
    /// Ask this peer for final blocks. At most one such request is under way.
    SyncNeeded {
        /// The first height wanted.
        from: Height,
        /// Who has shown signs of having it.
        peer: NodeId,
    },
    /// A peer did what no correct one does.
    Misbehaviour {
        /// Who.
        peer: NodeId,
        /// What.
        offence: Box<Offence>,
    },
    /// For people and metrics.
    Event(Event),
}

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To every other seat of the committee: the [audience](super::Replica::audience) of the
    /// message.
    All,
    /// To one.
    One(NodeId),
}

/// A final block and what it does.
#[derive(Clone, Debug)]
pub struct Finalised {
    /// The block.
    pub block: Block,
    /// Shows that it is final.
    pub certificate: Certificate,
    /// The next state, the entries that changed, and what became of each transaction.
    pub outcome: Outcome,
}

/// A request for transactions.
#[derive(Clone, Debug)]
pub struct BuildBlock {
    /// Of the block: the height that is being decided, or the next one.
    pub height: Height,
    /// The view that this node leads.
    pub view: View,
    /// The block before it.
    pub parent: Digest,
    /// The state after that: what can be applied to it is wanted. It need not be final yet.
    pub state: State,
    /// Most bytes of encoded transactions.
    pub len_max: usize,
    /// Most transactions.
    pub transactions_max: usize,
}

/// Progress, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A proposal is accepted and gets this node's prepare vote.
    Accepted {
        /// Its height.
        height: Height,
        /// Its view.
        view: View,
        /// Its block.
        digest: Digest,
    },
    /// Likewise of the next height, before the present one is decided.
    Ahead {
        /// Its height.
        height: Height,
        /// Its block.
        digest: Digest,
    },
    /// Another block became final than the one upon which this node has voted ahead: that vote was
    /// in vain.
    Orphaned {
        /// The height of the vote.
        height: Height,
        /// The block that it was for.
        digest: Digest,
    },
    /// A quorum has prepared the block.
    Prepared {
        /// Its height.
        height: Height,
        /// Its view.
        view: View,
        /// The block.
        digest: Digest,
    },
    /// The collector of this block's votes did not answer in time: votes of this height go to all
    /// from here on.
    FellBack {
        /// The height.
        height: Height,
        /// The block.
        digest: Digest,
    },
    /// This node gives up on earlier views.
    ViewChange {
        /// The height.
        height: Height,
        /// The new view.
        view: View,
        /// Who leads it.
        leader: NodeId,
    },
    /// Another committee decides from here on.
    Epoch {
        /// Its number.
        epoch: Epoch,
        /// How many seats it has.
        seats: usize,
        /// This node's, if it has one and the keys for it.
        seat: Option<usize>,
    },
}

/// What a peer did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// Two votes of one phase of one view, both validly signed.
    #[error("voted twice in one phase of a view")]
    DoubleVote(SignedVote, SignedVote),
    /// Two blocks in one view, both validly signed.
    #[error("proposed two blocks in one view")]
    DoubleProposal(SignedClaim, SignedClaim),
    /// Two statements about one view change, both validly signed.
    #[error("changed its mind about a view change")]
    DoubleViewChange(Box<SignedViewChange>, Box<SignedViewChange>),
    /// A commit vote, and a later view change that does not show what was committed, both validly
    /// signed.
    #[error("hides in a view change what it has committed")]
    HiddenLock(SignedVote, Box<SignedViewChange>),
    /// The vote spoiled an aggregate.
    #[error("sent a vote whose signature is not valid")]
    BadVote(SignedVote),
    /// Of another network or period.
    #[error("sent a message of another chain or epoch")]
    Foreign,
    /// Has no seat.
    #[error("has no seat in the committee")]
    NotSeated,
    /// An Ed25519 signature does not verify.
    #[error("sent a message whose signature is not valid")]
    BadSignature,
    /// Another member's turn.
    #[error("proposed out of turn")]
    NotLeader,
    /// Its votes are not that member's to collect.
    #[error("sent a certificate of votes that it does not collect")]
    NotCollector,
    /// The proposal's justification does not hold.
    #[error("justified a new view wrongly")]
    BadJustification,
    /// The view change contradicts itself.
    #[error("sent a view change that contradicts itself")]
    BadViewChange,
    /// A certificate does not hold.
    #[error("sent a bad certificate: {0}")]
    BadCertificate(#[from] CertificateError),
    /// The proposed or synced block does not hold.
    #[error("sent a bad block: {0}")]
    BadBlock(#[from] BlockError),
    /// Synced blocks with a gap, or with certificates of other blocks.
    #[error("sent blocks that do not follow each other")]
    Gap,
}

impl Offence {
    /// What convinces anybody, where it authenticates itself. All else only lowers a local score.
    pub fn evidence(&self) -> Option<Evidence> {
        let evidence = match self {
            Self::DoubleVote(first, second) => Some(Evidence::Votes(*first, *second)),
            Self::DoubleProposal(first, second) => Some(Evidence::Proposals(*first, *second)),
            Self::DoubleViewChange(first, second) => {
                Some(Evidence::ViewChanges((**first).clone(), (**second).clone()))
            }
            Self::HiddenLock(commit, change) => {
                Some(Evidence::HiddenLock(*commit, (**change).clone()))
            }
            _ => None,
        };
        evidence.filter(Evidence::is_contradiction)
    }
}

impl Output {
    pub(super) fn is_barrier(&self) -> bool {
        matches!(self, Self::Persist(_) | Self::Finalised(_) | Self::Adopted(_))
    }

    /// About how many bytes it holds in memory.
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
