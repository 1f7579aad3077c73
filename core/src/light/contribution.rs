//! The proof of what a member did for a job, as a file to keep or to share.
//!
//! The file holds the committee handovers from a checkpoint on, a final header, and the job's entry
//! with its proof. It is verified against a checkpoint that the reader trusts, without a network.
//! It refuses a job that is not final, and a member that the job's result does not name.

use super::{client::LightClient, error::LightError, handover::FILE_HANDOVERS_MAX};
use crate::{
    codec::{self, BoundedVec, DecodeError},
    ledger::{
        Entry, Header, Key,
        job::{Contributor, Job, JobId, JobResult, JobStatus},
        state::ProvedEntry,
    },
    types::{ChainId, NodeId, TimeMs, Unverified},
    wire::light::{CommitteeHandover, FinalHeader},
};
use alloc::{boxed::Box, vec::Vec};
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest file of a contribution, bytes.
pub const FILE_LEN_MAX: usize = 16 * 1024 * 1024;
const MAGIC: [u8; 8] = *b"TEQUIOW1";

/// The file of a contribution.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ContributionFile {
    pub(super) magic: [u8; 8],
    /// The contributor.
    pub node: NodeId,
    /// The job.
    pub job: JobId,
    /// The handovers from the checkpoint's epoch to that of the header, oldest first.
    pub handovers: BoundedVec<CommitteeHandover, FILE_HANDOVERS_MAX>,
    /// The header that the proof leads to.
    pub header: FinalHeader,
    /// The job's entry in the state.
    pub entry: ProvedEntry,
}

/// The reason why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContributionError {
    /// Another kind of file.
    #[error("not a Tequio file of a contribution")]
    Magic,
    /// Malformed, or too large.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The header does not follow from the checkpoint, or the entry not from the header.
    #[error("{0}")]
    Light(#[from] LightError),
    /// The checkpoint and the file belong to different networks.
    #[error(
        "the checkpoint belongs to network {known}, but the file to network {found}: \
         take both from one network"
    )]
    OtherNetwork {
        /// The checkpoint's network.
        known: ChainId,
        /// The network that the file's header names.
        found: ChainId,
    },
    /// The ledger has no such job, or has not accepted its result.
    #[error("the ledger has no final job {0}")]
    NotFinal(JobId),
    /// The result does not name the member.
    #[error("the job's result does not name {0}")]
    NoContributor(NodeId),
}

/// The content of a file that has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedContribution {
    /// The block whose state holds the job.
    pub header: Header,
    /// The job.
    pub job: Box<Job>,
    /// The job's result.
    pub result: JobResult,
    /// The member's part.
    pub contributor: Contributor,
}

impl ContributionFile {
    /// A file of these parts. Nothing of it is verified yet.
    pub fn new(
        node: NodeId,
        job: JobId,
        handovers: Vec<CommitteeHandover>,
        header: FinalHeader,
        entry: ProvedEntry,
    ) -> Result<Self, ContributionError> {
        Ok(Self { magic: MAGIC, node, job, handovers: handovers.try_into()?, header, entry })
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads the file's bytes. Nothing of it is verified yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContributionError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ContributionError::Magic);
        }
        Ok(codec::decode(bytes, FILE_LEN_MAX)?)
    }

    /// Verifies the file with a light client that has just started from a checkpoint. Handovers of
    /// epochs before the checkpoint's are skipped, so a newer checkpoint than the file's own also
    /// works.
    pub fn verify(
        self,
        mut light: LightClient,
        now_ms: TimeMs,
    ) -> Result<ProvedContribution, ContributionError> {
        let (known, found) = (*light.chain(), self.header.header.chain);
        if known != found {
            return Err(ContributionError::OtherNetwork { known, found });
        }
        let epoch = light.committee().epoch();
        let handovers: Vec<_> =
            self.handovers.into_vec().into_iter().filter(|h| h.epoch() >= epoch).collect();
        light.follow_handovers(handovers.len(), handovers, now_ms)?;
        let header = self.header.header.clone();
        let found = light.read(
            &[Key::Job(self.job)],
            Unverified::new(self.header),
            &[self.entry],
            now_ms,
        )?;
        let not_final = || ContributionError::NotFinal(self.job);
        let Some(Some(Entry::Job(_, job))) = found.into_iter().next() else {
            return Err(not_final());
        };
        let JobStatus::Final { result, .. } = job.status.clone() else { return Err(not_final()) };
        let contributor = result.contributors.iter().find(|c| c.node == self.node).cloned();
        let contributor = contributor.ok_or(ContributionError::NoContributor(self.node))?;
        Ok(ProvedContribution { header, job, result, contributor })
    }
}
