//! `/tequio/light/3`: what a light node asks of anyone. Nothing in an answer is believed: headers come with
//! certificates, entries with proofs, objects under the digest of their bytes. The exceptions, advice for
//! display and for routing only, are marked as such.

use super::work::{JobProgress, RejectionKind};
use crate::{
    codec::{BoundedBytes, BoundedString, BoundedVec},
    knowledge::{Cid, object::BLOCK_LEN_MAX},
    ledger::{
        Certificate, Header, Key, SignedTransaction, committee::CommitteeRecord, state::ProvedEntry,
        transaction::TransactionId,
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
/// Most turns at once: of committees with [`SEATS_MAX`](crate::ledger::committee::SEATS_MAX) seats they still fit an answer.
pub const TURNS_MAX: usize = 32;
/// Most addresses told at once.
pub const ADDRESSES_MAX: usize = 32;
/// Longest address, as the text of a multiaddress, bytes.
pub const ADDRESS_LEN_MAX: usize = 256;
/// Longest that a node holds back its answer to [`Request::Head`], milliseconds.
pub const HEAD_WAIT_MS_MAX: u32 = 15_000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Request {
    /// The newest final header above `after`; held back for up to `wait_ms` while there is none.
    Head {
        /// The highest header that is known already.
        after: Height,
        /// How long to wait.
        wait_ms: u32,
    },
    /// The final header of one height.
    Header {
        /// Which.
        height: Height,
    },
    /// Entries of the newest state, with proofs and the header that they lead to.
    Prove {
        /// Which.
        keys: BoundedVec<Key, KEYS_MAX>,
    },
    /// A block of the knowledge base.
    Object {
        /// Which.
        cid: Cid,
    },
    /// Passes a transaction on.
    Submit {
        /// Which.
        transaction: SignedTransaction,
    },
    /// Advice: the jobs that this node knows of: those that are not over first, then by age, newest first.
    Jobs,
    /// Advice: the newest refused results and other events after a number.
    Events {
        /// Number of the last event that is known already.
        after: u64,
    },
    /// Advice: full nodes that can be reached through the asked node.
    Members,
    /// The turns of epochs: who follows whom in deciding.
    Turns {
        /// The first epoch whose end is wanted.
        from: Epoch,
        /// How many at most.
        count: u8,
    },
    /// Advice: addresses that connected peers claim for themselves.
    Addresses {
        /// The peers in question.
        of: AddressesOf,
    },
}

/// The peers whose addresses are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AddressesOf {
    /// This node, which must coordinate a job that is not over.
    Coordinator(NodeId),
    /// Relays.
    Relays,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Response {
    /// To [`Request::Head`] and [`Request::Header`].
    Header(FinalHeader),
    /// To [`Request::Prove`], in the order of the keys.
    Proved {
        /// The header whose state root the proofs lead to.
        header: FinalHeader,
        /// The entries.
        entries: BoundedVec<ProvedEntry, KEYS_MAX>,
    },
    /// To [`Request::Object`].
    Object(BoundedBytes<BLOCK_LEN_MAX>),
    /// To [`Request::Submit`].
    Submitted(TransactionId),
    /// To [`Request::Jobs`].
    Jobs(BoundedVec<JobProgress, LIST_MAX>),
    /// To [`Request::Events`], oldest first.
    Events(BoundedVec<(u64, TimeMs, Event), LIST_MAX>),
    /// To [`Request::Members`].
    Members(BoundedVec<Member, LIST_MAX>),
    /// To [`Request::Turns`], without gaps, from the asked epoch on; none where it has not ended.
    Turns(BoundedVec<Turn, TURNS_MAX>),
    /// To [`Request::Addresses`]: multiaddresses, each with the peer's id at its end; none where the peer is not connected.
    Addresses(BoundedVec<BoundedString<ADDRESS_LEN_MAX>, ADDRESSES_MAX>),
    /// Not there, not yet, or not accepted; the text is for people.
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

/// The end of an epoch: the old committee certifies the new one.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Turn {
    /// The last header of the epoch, which carries the digest of the next committee.
    pub header: FinalHeader,
    /// The next committee.
    pub committee: CommitteeRecord,
}

/// Why there is no answer.
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
    /// Too much at once; ask again later.
    #[error("busy")]
    Busy,
    /// Not a request that this node understands.
    #[error("malformed request")]
    Malformed,
}

/// Something worth showing. Advice: nobody is blamed in the ledger for it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Event {
    /// A worker's result was refused, or did not come in time.
    Rejected {
        /// Which job.
        job: crate::ledger::job::JobId,
        /// Which round.
        round: u32,
        /// Which lane.
        lane: u32,
        /// Whose.
        worker: NodeId,
        /// What the rejection says of the worker.
        kind: RejectionKind,
        /// Why, for people.
        reason: BoundedString<160>,
    },
}

/// A full node.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Its agent string.
    pub agent: BoundedString<64>,
}
