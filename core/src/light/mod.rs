//! The light client: follows final headers from a checkpoint and reads proved entries of the state.
//!
//! It holds one header, one committee (and the one before, to notice a fork at an epoch's end) and
//! the chain's id, whatever the length of the chain. It enters later epochs by their committee
//! handovers, see [`handover`]. It refuses headers without a quorum's certificate of the committee
//! it knows, headers that do not carry what the certificate signs or whose proposer did not lead by
//! their seed, and entries whose proof does not lead to such a header. Two certified headers of one
//! height are an alarm: it halts, because more than a third of the weight has then signed both
//! (DESIGN rule 8: only inside the trust period, so that old keys can't halt anyone).

pub mod contribution;
pub mod handover;

pub use handover::HandoverError;

use crate::{
    codec,
    ledger::{
        Certificate, Checkpoint, Committee, Entry, Header, Key, Phase,
        committee::CertificateError,
        genesis::StartError,
        leader, seed,
        state::{EntryError, ProvedEntry},
    },
    types::{ChainId, Digest, Epoch, Height, TimeMs, Unverified, Verified},
    wire::light::FinalHeader,
};
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest saved state, bytes.
pub const SAVED_LEN_MAX: usize = 512 * 1024;

/// Follows the chain. Cheap to copy but for the committee's keys.
#[derive(Clone, Debug)]
pub struct LightClient {
    chain: ChainId,
    committee: Committee,
    /// The committee of the previous epoch and that epoch's last height, if this client followed
    /// the handover.
    before: Option<(Committee, Height)>,
    head: FinalHeader,
    digest: Digest,
    trust_period_ms: u64,
    alarm: Option<Alarm>,
}

/// Two final headers of one height. Somebody holds more than a third of the voting weight and signs
/// both.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Alarm {
    /// Followed until now.
    pub ours: FinalHeader,
    /// As well certified.
    pub theirs: FinalHeader,
}

/// What a verified header changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A new head.
    Advanced,
    /// The head that is known.
    Known,
    /// Final, but older than the head.
    Older,
    /// Final, and the last of its epoch: the committee of the next block is not known yet. The head
    /// stays; [`LightClient::follow_handovers`] advances it.
    EpochEnd,
}

/// Why something is refused.
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
        "the header's seed, its proof or its proposer is not the one that the chain's order of leaders gives"
    )]
    Leader,
    /// The peer's fault: certified, but the time goes backwards.
    #[error("the header is older than its height allows")]
    Time,
    /// The peer's fault.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// The peer's fault: another number of entries than was asked for.
    #[error("asked for {asked} entries, got {found}")]
    Count {
        /// Keys asked.
        asked: usize,
        /// Entries received.
        found: usize,
    },
    /// The header is of a later epoch. The committee handovers from the known epoch on lead to it.
    #[error(
        "the header is of epoch {found}, the known committee of epoch {known}: the committee handovers between are needed"
    )]
    Ahead {
        /// Of the header.
        found: Epoch,
        /// Of the committee.
        known: Epoch,
    },
    /// Nobody's fault: of an epoch whose committee is not known any more.
    #[error("the header is of the past epoch {0}, whose committee is not known any more")]
    Past(Epoch),
    /// The peer's fault, or the old committee's, if it has certified it.
    #[error("{0}")]
    Handover(#[from] HandoverError),
    /// Nobody's fault: the head is too old to believe its committee.
    #[error(
        "the newest known head is older than the trust period: take a newer checkpoint from a source you trust"
    )]
    Outdated,
    /// Nobody's fault that can be named: the chain has forked.
    #[error(
        "two final headers of height {0}: the chain has forked; do not trust it, tell its operators"
    )]
    Forked(Height),
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Saved {
    checkpoint: Checkpoint,
    alarm: Option<Alarm>,
}

impl LightClient {
    /// Starts from a checkpoint file; see [`Checkpoint::open`].
    pub fn start(
        checkpoint: &[u8],
        expected: Option<&Digest>,
        now_ms: TimeMs,
    ) -> Result<Self, StartError> {
        let (checkpoint, committee) = Checkpoint::open(checkpoint, expected, now_ms)?;
        Ok(Self::from_parts(checkpoint, committee, None))
    }

    fn from_parts(checkpoint: Checkpoint, committee: Committee, alarm: Option<Alarm>) -> Self {
        let Checkpoint { header, certificate, trust_period_ms, .. } = checkpoint;
        let (chain, digest) = (header.chain, header.digest());
        let head = FinalHeader { header, certificate };
        Self { chain, committee, before: None, head, digest, trust_period_ms, alarm }
    }

    /// What to keep for [`LightClient::resume`]: the head as a checkpoint.
    pub fn save(&self) -> Vec<u8> {
        codec::encode(&Saved { checkpoint: self.checkpoint(), alarm: self.alarm.clone() })
    }

    /// Goes on from a saved state of the same chain. It is checked like a checkpoint.
    pub fn resume(saved: &[u8], chain: &ChainId, now_ms: TimeMs) -> Result<Self, StartError> {
        let Saved { checkpoint, alarm } = codec::decode(saved, SAVED_LEN_MAX)?;
        let (checkpoint, committee) = Checkpoint::open(&checkpoint.encode(), None, now_ms)?;
        if checkpoint.header.chain != *chain {
            return Err(StartError::Inconsistent);
        }
        Ok(Self::from_parts(checkpoint, committee, alarm))
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

    /// Its certificate; genesis has none.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.head.certificate.as_ref()
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The committee that decides.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The committee that decided the head. At the end of an epoch it is the previous one, which is
    /// known only if this client followed the handover.
    pub fn deciders(&self) -> Option<&Committee> {
        let before = self.before.as_ref().map(|(committee, _)| committee);
        core::iter::once(&self.committee)
            .chain(before)
            .find(|committee| committee.epoch() == self.head.header.epoch)
    }

    /// The fork that made it halt, if any.
    pub fn alarm(&self) -> Option<&Alarm> {
        self.alarm.as_ref()
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
        self.halted()?;
        let claimed = &header.claim().header;
        if claimed.height == self.head.header.height && claimed.digest() == self.digest {
            // It is trusted already. A checkpoint of an epoch's end has no committee to check it
            // with.
            return Ok(Progress::Known);
        }
        let verified = self.verify(header)?;
        let progress = self.judge(&verified, now_ms)?;
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

    /// What a final header is to the head. Raises the alarm where the two contradict each other.
    fn judge(
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
            // Those who have left since then answer for nothing any more.
            return Err(LightError::Past(found.epoch));
        }
        if found.height == ours.height {
            if now_ms.saturating_sub(found.time_ms) > self.trust_period_ms {
                return Ok(Progress::Older);
            }
            self.alarm =
                Some(Alarm { ours: self.head.clone(), theirs: FinalHeader::clone(verified) });
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
            // Whoever could be made to pay for a false header may have left, and sold the keys.
            return Err(LightError::Outdated);
        }
        Ok(Progress::Advanced)
    }

    /// Checks that a header is final, without following it.
    pub fn verify(
        &self,
        header: Unverified<FinalHeader>,
    ) -> Result<Verified<FinalHeader>, LightError> {
        let FinalHeader { header: claimed, certificate } = header.claim();
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
        match &self.before {
            _ if epoch > known => Err(LightError::Ahead { found: epoch, known }),
            _ if epoch == known => Ok(&self.committee),
            Some((committee, last)) if committee.epoch() == epoch => {
                // A committee decides nothing above the last height of its epoch.
                if height <= *last { Ok(committee) } else { Err(LightError::WrongHeader) }
            }
            _ => Err(LightError::Past(epoch)),
        }
    }

    /// The order of leaders, as far as one header shows it; blocks may have been skipped.
    fn check_leader(&self, header: &Header) -> Result<(), LightError> {
        let seat = leader(&self.committee, &header.seed, header.height, header.view);
        let led = self.committee.seats().get(seat).filter(|seat| seat.node == header.proposer);
        let key = led.and_then(|_| self.committee.vrf_key(seat)).ok_or(LightError::Leader)?;
        seed::verify(header, key).map_err(|_| LightError::Leader)?;
        let ours = &self.head.header;
        let is_next = ours.height.checked_add(1) == Some(header.height);
        if is_next && seed::after(ours) != Ok(header.seed) {
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
            return Err(LightError::Count { asked: keys.len(), found: entries.len() });
        }
        let root = header.claim().header.state;
        self.follow(header, now_ms)?;
        keys.iter().zip(entries).map(|(key, entry)| Ok(entry.verify(&root, key)?)).collect()
    }

    fn halted(&self) -> Result<(), LightError> {
        match &self.alarm {
            Some(alarm) => Err(LightError::Forked(alarm.ours.header.height)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
