//! Committee handovers: how a light client enters later epochs.
//!
//! The last header of an epoch carries the digest of the next committee, and the epoch's committee
//! certifies that header. So one certificate per epoch leads a client on. A handover is refused
//! unless it is that of the known epoch, gives the record that the header names, and
//! keeps a quorum of the weight.

use super::{
    client::{LightClient, Progress},
    error::{HandoverError, LightError},
};
use crate::{
    codec::{self, BoundedVec, DecodeError},
    ledger::{Committee, Phase, State, committee::CommitteeRecord, epoch},
    types::{ChainId, Epoch, TimeMs, Unverified, Verified},
    wire::light::{CommitteeHandover, FinalHeader},
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Most handovers in a file: 30 days of epochs of 40 seconds.
pub const FILE_HANDOVERS_MAX: usize = 65_536;
/// Largest file of handovers, bytes.
pub const FILE_LEN_MAX: usize = 64 * 1024 * 1024;
const MAGIC: [u8; 8] = *b"TEQUIOH1";

/// Handovers of consecutive epochs, as in the file `handovers.bin` of an export.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HandoverFile {
    magic: [u8; 8],
    /// The handovers, oldest first.
    pub handovers: BoundedVec<CommitteeHandover, FILE_HANDOVERS_MAX>,
}

/// The reason why the bytes are not a file of handovers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandoverFileError {
    /// Another kind of file.
    #[error("not a Tequio file of committee handovers")]
    Magic,
    /// Malformed, or too many.
    #[error("{0}")]
    Decode(#[from] DecodeError),
}

impl HandoverFile {
    /// A file of these handovers.
    pub fn new(handovers: Vec<CommitteeHandover>) -> Result<Self, HandoverFileError> {
        Ok(Self { magic: MAGIC, handovers: handovers.try_into()? })
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the file's bytes. Nothing of it is verified yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, HandoverFileError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HandoverFileError::Magic);
        }
        Ok(codec::decode(bytes, FILE_LEN_MAX)?)
    }
}

impl CommitteeHandover {
    /// The handover from one committee to the next, without the seats where they stay the same.
    pub fn new(header: FinalHeader, before: &CommitteeRecord, next: &CommitteeRecord) -> Self {
        let seats = (before.seats != next.seats).then(|| next.seats.clone());
        Self { header, formed_ms: next.formed_ms, seats }
    }

    /// The epoch that ends with this handover.
    pub fn epoch(&self) -> Epoch {
        self.header.header.epoch
    }
}

impl LightClient {
    /// Follows handovers, starting with that of the known epoch, and returns how many are valid.
    /// `count_max`: how many were requested. The client keeps the valid ones even if a later one is
    /// invalid.
    pub fn follow_handovers(
        &mut self,
        count_max: usize,
        handovers: Vec<CommitteeHandover>,
        now_ms: TimeMs,
    ) -> Result<usize, LightError> {
        if handovers.len() > count_max {
            return Err(LightError::Count { requested: count_max, found: handovers.len() });
        }
        handovers.into_iter().try_fold(0, |valid, handover| {
            self.follow_handover(handover, now_ms).map(|()| valid + 1)
        })
    }

    fn follow_handover(
        &mut self,
        handover: CommitteeHandover,
        now_ms: TimeMs,
    ) -> Result<(), LightError> {
        self.check_not_forked()?;
        let CommitteeHandover { header, formed_ms, seats } = handover;
        let (found, expected) = (header.header.epoch, self.committee.epoch());
        let next_epoch = expected.checked_add(1).filter(|_| found == expected);
        let next_epoch = next_epoch.ok_or(HandoverError::Order { found, expected })?;
        let seats = seats.unwrap_or_else(|| self.committee.record().seats.clone());
        let record = CommitteeRecord { epoch: next_epoch, formed_ms, seats };
        // Checked before the certificate, which costs more to verify.
        if record.digest() != header.header.next_committee {
            return Err(HandoverError::WrongCommittee.into());
        }
        let verified = self.verify(Unverified::new(header))?;
        match self.compare_with_head(&verified, now_ms)? {
            Progress::Advanced => {}
            // The client followed every handover below its head.
            _ => return Err(HandoverError::WrongCommittee.into()),
        }
        if !epoch::overlaps(self.committee.seats(), &record.seats) {
            return Err(HandoverError::NoOverlap.into());
        }
        let committee =
            self.committee.successor(record, &self.chain).map_err(HandoverError::from)?;
        let previous = core::mem::replace(&mut self.committee, committee);
        self.previous_committee = Some((previous, verified.header.height));
        self.digest = verified.header.digest();
        self.head = verified.into_inner();
        Ok(())
    }
}

/// Checks the last header of an epoch against a state that this node trusts, whose entries name the
/// committees of all epochs. So a node whose store lacks older handovers can take them from any
/// peer.
pub fn verify_epoch_end(
    header: Unverified<FinalHeader>,
    chain: &ChainId,
    state: &State,
) -> Option<Verified<FinalHeader>> {
    let FinalHeader { header: claimed, certificate } = header.unverified();
    let last_height = epoch::last_height(state.params()?, claimed.epoch)?;
    let record = state.committee(claimed.epoch)?;
    let next = state.committee(claimed.epoch.checked_add(1)?)?;
    let certificate = certificate.clone()?;
    let vote = &certificate.vote;
    let same = vote.height == claimed.height
        && vote.epoch == claimed.epoch
        && vote.digest == claimed.digest();
    if !same || claimed.height != last_height || claimed.next_committee != next.digest() {
        return None;
    }
    let committee = Committee::from_state(record.clone()).ok()?;
    Unverified::new(certificate).verify(chain, Phase::Commit, &committee).ok()?;
    Some(header.into_verified())
}
