//! The reason why the light client refuses what a peer sent.

use crate::{
    ledger::{
        committee::{CertificateError, CommitteeError},
        state::EntryError,
    },
    types::{Epoch, Height},
};

/// The reason why the light client refuses a header or an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// The peer's fault: the header is not what its certificate signs.
    #[error("the header is not the one that its certificate signs")]
    WrongHeader,
    /// The peer's fault: a header above genesis without a certificate, or another genesis.
    #[error("the header has no certificate")]
    NoCertificate,
    /// The peer's fault.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// The committee's fault, if it is certified: its seed does not follow, or its proposer did not
    /// lead by it.
    #[error(
        "the header's seed, its proof or its proposer is not the one that the chain's \
         order of leaders gives"
    )]
    Leader,
    /// The peer's fault: certified, but the time goes backwards.
    #[error("the header is older than its height allows")]
    Time,
    /// The peer's fault.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// The peer's fault: the number of entries differs from the number of requested keys.
    #[error("{requested} entries were requested, but {found} received")]
    Count {
        /// Keys requested.
        requested: usize,
        /// Entries received.
        found: usize,
    },
    /// The header is of a later epoch. The committee handovers from the known epoch on lead to it.
    #[error(
        "the header is of epoch {found}, the known committee of epoch {known}: \
         the committee handovers between are needed"
    )]
    LaterEpoch {
        /// Epoch of the header.
        found: Epoch,
        /// Epoch of the committee.
        known: Epoch,
    },
    /// The header is of an epoch whose committee is no longer known. The peer is not at fault.
    #[error("the header is of the past epoch {0}, whose committee is not known any more")]
    PastEpoch(Epoch),
    /// The handover is invalid. The peer is at fault, or the old committee, if it certified the
    /// handover.
    #[error("{0}")]
    Handover(#[from] HandoverError),
    /// The head is too old to trust its committee. The peer is not at fault.
    #[error(
        "the newest known head is older than the trust period: take a newer checkpoint \
         from a source you trust"
    )]
    Outdated,
    /// The chain has forked. The peer is not necessarily at fault.
    #[error(
        "two final headers of height {0}: the chain has forked; do not trust it, and inform its \
         operators"
    )]
    Forked(Height),
}

/// The reason why a committee handover is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandoverError {
    /// The handover is of another epoch than the next one.
    #[error("the committee handover of epoch {found}, expected that of epoch {expected}")]
    Order {
        /// The epoch of the handover.
        found: Epoch,
        /// The epoch of the known committee.
        expected: Epoch,
    },
    /// The header does not end its epoch, or names another committee.
    #[error("the committee is not the one that the header names for the next epoch")]
    WrongCommittee,
    /// The ledger makes no such committee.
    #[error("{0}")]
    Committee(#[from] CommitteeError),
    /// The ledger moves no such weight in one handover.
    #[error("the next committee keeps less than a quorum of the one before")]
    NoOverlap,
}
