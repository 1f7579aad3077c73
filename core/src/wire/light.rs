//! `/tequio/light/3`: requests of a light node to any full node. Answers are verified: headers by
//! certificates, entries by proofs, objects by the digest of their bytes. The exceptions are marked
//! as advice, for display and routing only.

use super::work::{JobProgress, RejectionKind};
use crate::{
    codec::{BoundedBytes, BoundedString, BoundedVec},
    content::{Cid, object::BLOCK_LEN_MAX},
    ledger::{
        Certificate, Header, Key, Seat, SignedTransaction, committee::SEATS_MAX,
        state::ProvedEntry, transaction::TransactionId,
    },
    types::{Epoch, Height, NodeId, TimeMs},
};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded request, bytes.
pub const REQUEST_LEN_MAX: usize = 96 * 1024;
/// Largest encoded response, bytes.
pub const RESPONSE_LEN_MAX: usize = 2 * 1024 * 1024;
/// Most keys proved at once.
pub const KEYS_MAX: usize = 16;
/// Most jobs, events or members listed at once.
pub const LIST_MAX: usize = 64;
/// Most committee handovers in an answer. With unchanged seats one takes about 520 bytes.
pub const HANDOVERS_MAX: usize = 1024;
/// Most addresses in an answer.
pub const ADDRESSES_MAX: usize = 32;
/// Longest address, as the text of a multiaddress, bytes.
pub const ADDRESS_LEN_MAX: usize = 256;
/// Longest that a node holds back its answer to [`Request::Head`], milliseconds.
pub const HEAD_WAIT_MS_MAX: u32 = 15_000;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Request {
    /// The newest final header above `after`; held back for up to `wait_ms` while there is none.
    Head {
        /// The highest header that the light node has.
        after: Height,
        /// How long to wait.
        wait_ms: u32,
    },
    /// The final header of one height.
    Header {
        /// The height.
        height: Height,
    },
    /// Entries of the newest state, with proofs and the header that they lead to.
    Prove {
        /// The keys of the entries.
        keys: BoundedVec<Key, KEYS_MAX>,
    },
    /// A block of the knowledge base.
    Object {
        /// The content identifier of the block.
        cid: Cid,
    },
    /// Submits a transaction.
    Submit {
        /// The transaction.
        transaction: SignedTransaction,
    },
    /// Advice: the jobs of this node's ledger, running and pending ones first, then newest first.
    Jobs,
    /// Advice: rejected results and other events after a number.
    Events {
        /// The number of the last event that the light node has.
        after: u64,
    },
    /// Advice: full nodes that can be reached through this node.
    Members,
    /// The committee handovers at the ends of epochs.
    Handovers {
        /// The first epoch whose handover is requested.
        from: Epoch,
        /// Most handovers to send; at most [`HANDOVERS_MAX`] are sent.
        count: u16,
    },
    /// Advice: addresses that connected peers claim for themselves.
    Addresses {
        /// The peers in question.
        of: AddressQuery,
    },
}

/// The peers whose addresses are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AddressQuery {
    /// This node, which must coordinate a job that is not over.
    Coordinator(NodeId),
    /// Relays.
    Relays,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Response {
    /// Answer to [`Request::Head`] and [`Request::Header`].
    Header(FinalHeader),
    /// Answer to [`Request::Prove`], in the order of the keys.
    Proved {
        /// The header whose state root the proofs lead to.
        header: FinalHeader,
        /// The entries.
        entries: BoundedVec<ProvedEntry, KEYS_MAX>,
    },
    /// Answer to [`Request::Object`].
    Object(BoundedBytes<BLOCK_LEN_MAX>),
    /// Answer to [`Request::Submit`].
    Submitted(TransactionId),
    /// Answer to [`Request::Jobs`].
    Jobs(BoundedVec<JobProgress, LIST_MAX>),
    /// Answer to [`Request::Events`], oldest first.
    Events(BoundedVec<(u64, TimeMs, Event), LIST_MAX>),
    /// Answer to [`Request::Members`].
    Members(BoundedVec<Member, LIST_MAX>),
    /// Answer to [`Request::Handovers`], without gaps, from the requested epoch on; empty where
    /// that epoch has not ended, or the node does not have its last header.
    Handovers(BoundedVec<CommitteeHandover, HANDOVERS_MAX>),
    /// Answer to [`Request::Addresses`]: multiaddresses, each with the peer's id at its end; none
    /// where the peer is not connected.
    Addresses(BoundedVec<BoundedString<ADDRESS_LEN_MAX>, ADDRESSES_MAX>),
    /// No answer, for the given reason.
    Refused(Refusal),
}

/// A header and what makes it final; genesis needs none.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FinalHeader {
    /// The header.
    pub header: Header,
    /// A quorum's commit votes.
    pub certificate: Option<Certificate>,
}

/// The end of an epoch: the committee of the epoch certifies the next one.
///
/// The next committee's record follows from the previous record and these fields. The header
/// commits to its digest.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CommitteeHandover {
    /// The last header of the epoch, which carries the digest of the next committee.
    pub header: FinalHeader,
    /// [`CommitteeRecord::formed_ms`](crate::ledger::committee::CommitteeRecord::formed_ms) of the
    /// next committee.
    pub formed_ms: TimeMs,
    /// The seats of the next committee; absent where they are those of the committee before.
    pub seats: Option<BoundedVec<Seat, SEATS_MAX>>,
}

/// The reason why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum Refusal {
    /// Nothing new within the wait.
    #[error("nothing new")]
    NothingNew,
    /// Unknown height or object.
    #[error("not found")]
    NotFound,
    /// The transaction was not accepted.
    #[error("not accepted: {0}")]
    NotAccepted(BoundedString<256>),
    /// Too many requests at once; retry later.
    #[error("busy")]
    Busy,
    /// The node cannot decode the request.
    #[error("malformed request")]
    Malformed,
}

/// An event for display. Advice: it has no effect in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Event {
    /// A worker's result was rejected, or was late.
    Rejected {
        /// The job.
        job: crate::ledger::job::JobId,
        /// The round.
        round: u32,
        /// The work unit.
        unit: u32,
        /// The worker.
        worker: NodeId,
        /// What the rejection implies about the worker.
        kind: RejectionKind,
        /// The reason, for display.
        reason: BoundedString<160>,
    },
}

/// A full node.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// Identity of the node.
    pub node: NodeId,
    /// Its agent string.
    pub agent: BoundedString<64>,
}
