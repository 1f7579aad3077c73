//! The state of a light client, and the rules for a header and for proved entries.

use super::error::LightError;
use crate::{
    codec,
    ledger::{
        Certificate, Checkpoint, Committee, Entry, Header, Key, Phase, committee::CertificateError,
        genesis::BootstrapError, leader, leader_seed, state::ProvedEntry,
    },
    types::{ChainId, Digest, Epoch, Height, TimeMs, Unverified, Verified},
    wire::light::FinalHeader,
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest saved state, bytes.
pub const SAVED_LEN_MAX: usize = 512 * 1024;

/// A light client. Cheap to clone except for the committee's keys.
#[derive(Clone, Debug)]
pub struct LightClient {
    pub(super) chain: ChainId,
    pub(super) committee: Committee,
    /// The committee of the previous epoch and that epoch's last height, if this client followed
    /// the handover.
    pub(super) previous_committee: Option<(Committee, Height)>,
    pub(super) head: FinalHeader,
    pub(super) digest: Digest,
    pub(super) trust_period_ms: u64,
    pub(super) fork: Option<ForkEvidence>,
}

/// Two final headers of one height. Members with more than a third of the voting weight have signed
/// both.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ForkEvidence {
    /// The header that the client follows.
    pub ours: FinalHeader,
    /// Another certified header of the same height.
    pub theirs: FinalHeader,
}

/// Relation of a verified header to the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A new head.
    Advanced,
    /// The present head.
    Known,
    /// Final, but older than the head.
    Older,
    /// Final, and the last header of its epoch. The committee of the next block is still unknown,
    /// so the head stays; [`LightClient::follow_handovers`] advances it.
    EpochEnd,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct SavedState {
    checkpoint: Checkpoint,
    fork: Option<ForkEvidence>,
}

impl LightClient {
    /// Starts from a checkpoint file; see [`Checkpoint::open`].
    pub fn start(
        checkpoint: &[u8],
        expected: Option<&Digest>,
        now_ms: TimeMs,
    ) -> Result<Self, BootstrapError> {
        let (checkpoint, committee) = Checkpoint::open(checkpoint, expected, now_ms)?;
        Ok(Self::from_parts(checkpoint, committee, None))
    }

    fn from_parts(
        checkpoint: Checkpoint,
        committee: Committee,
        fork: Option<ForkEvidence>,
    ) -> Self {
        let Checkpoint { header, certificate, trust_period_ms, .. } = checkpoint;
        let (chain, digest) = (header.chain, header.digest());
        let head = FinalHeader { header, certificate };
        Self { chain, committee, previous_committee: None, head, digest, trust_period_ms, fork }
    }

    /// The state to store for [`LightClient::resume`]: the head as a checkpoint.
    pub fn save(&self) -> Vec<u8> {
        codec::encode(&SavedState { checkpoint: self.checkpoint(), fork: self.fork.clone() })
    }

    /// Continues from a saved state of the same chain. It is checked like a checkpoint.
    pub fn resume(saved: &[u8], chain: &ChainId, now_ms: TimeMs) -> Result<Self, BootstrapError> {
        let SavedState { checkpoint, fork } = codec::decode(saved, SAVED_LEN_MAX)?;
        let (checkpoint, committee) = Checkpoint::open(&checkpoint.encode(), None, now_ms)?;
        if checkpoint.header.chain != *chain {
            return Err(BootstrapError::Inconsistent);
        }
        Ok(Self::from_parts(checkpoint, committee, fork))
    }

    /// The head as a checkpoint for others.
    pub fn checkpoint(&self) -> Checkpoint {
        let FinalHeader { header, certificate } = self.head.clone();
        Checkpoint::new(header, certificate, self.committee.record().clone(), self.trust_period_ms)
    }

    /// The chain.
    pub fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The newest header that is known to be final.
    pub fn head(&self) -> &Header {
        &self.head.header
    }

    /// The head's certificate; genesis has none.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.head.certificate.as_ref()
    }

    /// The head's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The committee that decides the next block.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The committee that decided the head. At the end of an epoch it is the previous one, which is
    /// known only if this client followed the handover.
    pub fn head_committee(&self) -> Option<&Committee> {
        let before = self.previous_committee.as_ref().map(|(committee, _)| committee);
        core::iter::once(&self.committee)
            .chain(before)
            .find(|committee| committee.epoch() == self.head.header.epoch)
    }

    /// The fork that halted the client, if any.
    pub fn fork_evidence(&self) -> Option<&ForkEvidence> {
        self.fork.as_ref()
    }

    /// Whether the head is older than three times the longest time between blocks.
    pub fn is_stale(&self, block_interval_ms_max: u64, now_ms: TimeMs) -> bool {
        now_ms.saturating_sub(self.head.header.time_ms) > block_interval_ms_max.saturating_mul(3)
    }

    /// Checks a header and follows it if it is newer.
    pub fn follow(
        &mut self,
        header: Unverified<FinalHeader>,
        now_ms: TimeMs,
    ) -> Result<Progress, LightError> {
        self.check_not_forked()?;
        let claimed = &header.unverified().header;
        if claimed.height == self.head.header.height && claimed.digest() == self.digest {
            // It is trusted already. A checkpoint of an epoch's end has no committee to check it
            // with.
            return Ok(Progress::Known);
        }
        let verified = self.verify(header)?;
        let progress = self.compare_with_head(&verified, now_ms)?;
        if progress != Progress::Advanced {
            return Ok(progress);
        }
        if self.ends_epoch(&verified.header) {
            return Ok(Progress::EpochEnd);
        }
        self.digest = verified.header.digest();
        self.head = verified.into_inner();
        Ok(Progress::Advanced)
    }

    /// Whether a header names another committee than the one that decides it: only the last one of
    /// an epoch does.
    fn ends_epoch(&self, header: &Header) -> bool {
        header.next_committee != self.committee.record().digest()
    }

    /// The relation of a final header to the head. Records a fork if the two contradict each other.
    pub(super) fn compare_with_head(
        &mut self,
        verified: &Verified<FinalHeader>,
        now_ms: TimeMs,
    ) -> Result<Progress, LightError> {
        let found = &verified.header;
        let ours = &self.head.header;
        if found.height == ours.height && found.digest() == self.digest {
            return Ok(Progress::Known);
        }
        if found.epoch != self.committee.epoch()
            && now_ms.saturating_sub(self.committee.record().formed_ms) > self.trust_period_ms
        {
            // Members that have left since then are no longer accountable.
            return Err(LightError::PastEpoch(found.epoch));
        }
        if found.height == ours.height {
            if now_ms.saturating_sub(found.time_ms) > self.trust_period_ms {
                return Ok(Progress::Older);
            }
            self.fork = Some(ForkEvidence {
                ours: self.head.clone(),
                theirs: FinalHeader::clone(verified),
            });
            return Err(LightError::Forked(self.head.header.height));
        }
        if found.height < ours.height {
            return Ok(Progress::Older);
        }
        if found.time_ms <= ours.time_ms {
            return Err(LightError::Time);
        }
        self.check_leader(found)?;
        if now_ms.saturating_sub(ours.time_ms) > self.trust_period_ms {
            // Members accountable for a false header may have left and sold their keys.
            return Err(LightError::Outdated);
        }
        Ok(Progress::Advanced)
    }

    /// Checks that a header is final, without following it.
    pub fn verify(
        &self,
        header: Unverified<FinalHeader>,
    ) -> Result<Verified<FinalHeader>, LightError> {
        let FinalHeader { header: claimed, certificate } = header.unverified();
        let Some(certificate) = certificate else {
            // Only the header that is trusted already needs none.
            let known =
                claimed.height == self.head.header.height && claimed.digest() == self.digest;
            return if known { Ok(header.into_verified()) } else { Err(LightError::NoCertificate) };
        };
        let vote = &certificate.vote;
        let same = vote.height == claimed.height
            && vote.epoch == claimed.epoch
            && vote.digest == claimed.digest();
        if !same || vote.view < claimed.view {
            return Err(LightError::WrongHeader);
        }
        if claimed.chain != self.chain {
            return Err(LightError::Certificate(CertificateError::WrongChain));
        }
        let committee = self.committee_of(claimed.epoch, claimed.height)?;
        Unverified::new(certificate.clone()).verify(&self.chain, Phase::Commit, committee)?;
        Ok(header.into_verified())
    }

    fn committee_of(&self, epoch: Epoch, height: Height) -> Result<&Committee, LightError> {
        let known = self.committee.epoch();
        match &self.previous_committee {
            _ if epoch > known => Err(LightError::LaterEpoch { found: epoch, known }),
            _ if epoch == known => Ok(&self.committee),
            Some((committee, last)) if committee.epoch() == epoch => {
                // A committee decides nothing above the last height of its epoch.
                if height <= *last { Ok(committee) } else { Err(LightError::WrongHeader) }
            }
            _ => Err(LightError::PastEpoch(epoch)),
        }
    }

    /// The order of leaders, as far as one header shows it; blocks may have been skipped.
    fn check_leader(&self, header: &Header) -> Result<(), LightError> {
        let seat = leader(&self.committee, &header.seed, header.height, header.view);
        let led = self.committee.seats().get(seat).filter(|seat| seat.node == header.proposer);
        let key = led.and_then(|_| self.committee.vrf_key(seat)).ok_or(LightError::Leader)?;
        leader_seed::verify_proof(header, key).map_err(|_| LightError::Leader)?;
        let ours = &self.head.header;
        let is_next = ours.height.checked_add(1) == Some(header.height);
        if is_next && leader_seed::next(ours) != Ok(header.seed) {
            return Err(LightError::Leader);
        }
        Ok(())
    }

    /// Checks entries against the header they came with, and follows that header.
    pub fn read(
        &mut self,
        keys: &[Key],
        header: Unverified<FinalHeader>,
        entries: &[ProvedEntry],
        now_ms: TimeMs,
    ) -> Result<Vec<Option<Entry>>, LightError> {
        if keys.len() != entries.len() {
            return Err(LightError::Count { requested: keys.len(), found: entries.len() });
        }
        let root = header.unverified().header.state;
        self.follow(header, now_ms)?;
        keys.iter().zip(entries).map(|(key, entry)| Ok(entry.verify(&root, key)?)).collect()
    }

    pub(super) fn check_not_forked(&self) -> Result<(), LightError> {
        match &self.fork {
            Some(fork) => Err(LightError::Forked(fork.ours.header.height)),
            None => Ok(()),
        }
    }
}
