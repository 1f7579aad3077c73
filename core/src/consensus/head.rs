//! The newest final block, the state derived from it, and the committee of the next block.

use super::error::SnapshotError;
use crate::{
    ledger::{
        Block, Certificate, Committee, Header, State, committee::CommitteeRecord, epoch,
        genesis::GenesisState, leader_seed,
    },
    types::{Digest, Unverified, Verified},
    wire::light::FinalHeader,
};

/// The newest final block and the state derived from it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Header of the block.
    pub header: Header,
    /// The commit certificate; genesis has none.
    pub certificate: Option<Certificate>,
    /// The state after the block.
    pub state: State,
    /// The committee that decides the next block.
    pub committee: Committee,
    digest: Digest,
    seed: Digest,
}

impl Head {
    /// Restores a head from the store. The caller guarantees that `state` is the state of `header`.
    pub fn new(
        header: Header,
        certificate: Option<Certificate>,
        state: State,
    ) -> Result<Self, SnapshotError> {
        let record = next_record(&header, &state).ok_or(SnapshotError::Incomplete)?;
        let committee =
            Committee::from_state(record.clone()).map_err(|_| SnapshotError::Incomplete)?;
        Ok(Self::of_parts(header, certificate, state, committee))
    }

    /// The head after the next final block.
    pub fn after(
        &self,
        block: &Block,
        certificate: Certificate,
        state: State,
    ) -> Result<Self, SnapshotError> {
        if block.header.next_committee != self.header.next_committee {
            let record = next_record(&block.header, &state).ok_or(SnapshotError::Incomplete)?;
            let committee = self
                .committee
                .successor_from_state(record.clone())
                .map_err(|_| SnapshotError::Incomplete)?;
            return Ok(Self::of_parts(block.header.clone(), Some(certificate), state, committee));
        }
        Ok(Self::of_parts(block.header.clone(), Some(certificate), state, self.committee.clone()))
    }

    fn of_parts(
        header: Header,
        certificate: Option<Certificate>,
        state: State,
        committee: Committee,
    ) -> Self {
        let digest = header.digest();
        // The proof of a verified header is always a point, so the fallback never applies to one.
        let seed = leader_seed::next(&header).unwrap_or(header.seed);
        Self { header, certificate, state, committee, digest, seed }
    }

    /// The head after this block of the same term, as if the block were final already.
    pub(super) fn after_prepared(&self, block: &Block, state: State) -> Self {
        Self::of_parts(block.header.clone(), None, state, self.committee.clone())
    }

    /// The head of a new chain.
    pub fn genesis(start: &GenesisState) -> Self {
        Self::of_parts(start.header.clone(), None, start.state.clone(), start.committee.clone())
    }

    /// The head of a state snapshot under a header that was verified as final.
    pub fn of_snapshot(
        header: Verified<FinalHeader>,
        state: State,
    ) -> Result<Verified<Self>, SnapshotError> {
        let FinalHeader { header, certificate } = header.into_inner();
        if state.root() != header.state {
            return Err(SnapshotError::WrongState);
        }
        let record = next_record(&header, &state).ok_or(SnapshotError::Incomplete)?;
        let committee =
            Committee::new(record.clone(), &header.chain).map_err(|_| SnapshotError::Incomplete)?;
        if state.params().is_none() {
            return Err(SnapshotError::Incomplete);
        }
        Ok(Unverified::new(Self::of_parts(header, certificate, state, committee)).into_verified())
    }

    /// Digest of the header.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Seed of the next block's leader term.
    pub fn seed(&self) -> &Digest {
        &self.seed
    }
}

/// The record of the committee that decides the block after this header.
pub(super) fn next_record<'a>(header: &Header, state: &'a State) -> Option<&'a CommitteeRecord> {
    let epoch = epoch::at_height(state.params()?, header.height.checked_add(1)?);
    state.committee(epoch).filter(|record| record.digest() == header.next_committee)
}
