//! Deliberate faults of the implementation (mutants), put into every host by a wrapper around the
//! machine, its disk and its driver. The campaigns must find each of them; this tests the checkers
//! and the schedules.

use crate::chain_fixture::ChainFixture;
use tequio_core::{
    consensus::{BuildBlock, Finalised, WalRecord},
    crypto::bls,
    ledger::{Block, Certificate, Committee, Phase, Vote, epoch, leader_seed, mutation::Mutation},
    types::{Digest, Epoch, Height, Verified},
    wire::consensus::{Message, Proposal, SignedVote},
};

/// A deliberate fault of the implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mutant {
    // Messages.
    ForgetLock,
    NoViewChange,
    CommitWithPrepare,
    VoteInViewZero,
    VoteInOlderEpoch,
    BadVoteSignatures,
    NeverRetransmit,
    ProposeFromTheFuture,
    RewriteViewOfOrigin,
    ProposeOutOfTurn,
    SendWrongFinal,
    PrepareEveryProposal,
    ViewChangeUnsigned,
    MissingSeedProof,
    SeedProofOfLastHeight,
    FrozenSeed,
    // Order of leaders, as voters and leaders compute it.
    SkipSeedProofCheck,
    UnweightedLeaders,
    // Writes.
    SendBeforeWrite,
    LocksNotWritten,
    VotesNotWritten,
    ViewChangesNotWritten,
    BlocksNotWritten,
    // Restarts.
    Amnesia,
    LastRecordLost,
    // The driver.
    FrozenClock,
    EmptySyncResponse,
    SyncSkipsBlock,
    SyncSwapsCertificates,
    CertificateOfPrepare,
    CertificateMissesASigner,
    InventTransaction,
    EmptyBlocks,
    // Epoch boundaries.
    EarlyCommittee,
    FrozenCommittee,
    CertificateOfOldCommittee,
    SkipPossessionCheck,
    SkipOverlapLimit,
    SkipUnbonding,
    // Collectors, and the members that receive their certificates.
    NoCollectorFallback,
    SkipCertificateCheck,
    CertificateBelowQuorum,
    CertificateOfOtherBlock,
    // Pipelining.
    PipelineUnprepared,
    PipelineInLaterViews,
    PipelineAcrossTerms,
    ForgetPipelinedVotes,
    CommitPipelinedVotes,
    PipelinedVotesNotRead,
    ForgetOrphanedVotes,
    LogClearedAtBlock,
}

/// All mutants.
pub const MUTANTS: [Mutant; 51] = [
    Mutant::ForgetLock,
    Mutant::NoViewChange,
    Mutant::CommitWithPrepare,
    Mutant::VoteInViewZero,
    Mutant::VoteInOlderEpoch,
    Mutant::BadVoteSignatures,
    Mutant::NeverRetransmit,
    Mutant::ProposeFromTheFuture,
    Mutant::RewriteViewOfOrigin,
    Mutant::ProposeOutOfTurn,
    Mutant::SendWrongFinal,
    Mutant::PrepareEveryProposal,
    Mutant::ViewChangeUnsigned,
    Mutant::MissingSeedProof,
    Mutant::SeedProofOfLastHeight,
    Mutant::FrozenSeed,
    Mutant::SkipSeedProofCheck,
    Mutant::UnweightedLeaders,
    Mutant::SendBeforeWrite,
    Mutant::LocksNotWritten,
    Mutant::VotesNotWritten,
    Mutant::ViewChangesNotWritten,
    Mutant::BlocksNotWritten,
    Mutant::Amnesia,
    Mutant::LastRecordLost,
    Mutant::FrozenClock,
    Mutant::EmptySyncResponse,
    Mutant::SyncSkipsBlock,
    Mutant::SyncSwapsCertificates,
    Mutant::CertificateOfPrepare,
    Mutant::CertificateMissesASigner,
    Mutant::InventTransaction,
    Mutant::EmptyBlocks,
    Mutant::EarlyCommittee,
    Mutant::FrozenCommittee,
    Mutant::CertificateOfOldCommittee,
    Mutant::SkipPossessionCheck,
    Mutant::SkipOverlapLimit,
    Mutant::SkipUnbonding,
    Mutant::NoCollectorFallback,
    Mutant::SkipCertificateCheck,
    Mutant::CertificateBelowQuorum,
    Mutant::CertificateOfOtherBlock,
    Mutant::PipelineUnprepared,
    Mutant::PipelineInLaterViews,
    Mutant::PipelineAcrossTerms,
    Mutant::ForgetPipelinedVotes,
    Mutant::CommitPipelinedVotes,
    Mutant::PipelinedVotesNotRead,
    Mutant::ForgetOrphanedVotes,
    Mutant::LogClearedAtBlock,
];

impl Mutant {
    /// Finds a mutant by its name in a report.
    pub fn named(name: &str) -> Option<Self> {
        MUTANTS.into_iter().find(|mutant| format!("{mutant:?}") == name)
    }

    /// Whether the mutant shows only where the committee changes.
    pub fn needs_churn(self) -> bool {
        match self {
            Self::FrozenCommittee | Self::CertificateOfOldCommittee => true,
            Self::SkipPossessionCheck | Self::SkipOverlapLimit | Self::SkipUnbonding => true,
            // Four seats are of equal weight until a member bonds more.
            Self::UnweightedLeaders => true,
            _ => false,
        }
    }

    /// Returns the mutation of core's own rules, if this mutant is one.
    pub fn core_mutation(self) -> Option<Mutation> {
        match self {
            Self::SkipPossessionCheck => Some(Mutation::SkipPossessionCheck),
            Self::SkipOverlapLimit => Some(Mutation::SkipOverlapLimit),
            Self::SkipUnbonding => Some(Mutation::SkipUnbonding),
            Self::SkipSeedProofCheck => Some(Mutation::SkipSeedProofCheck),
            Self::UnweightedLeaders => Some(Mutation::UnweightedLeaders),
            Self::PipelineUnprepared => Some(Mutation::PipelineUnprepared),
            Self::PipelineInLaterViews => Some(Mutation::PipelineInLaterViews),
            Self::PipelineAcrossTerms => Some(Mutation::PipelineAcrossTerms),
            Self::ForgetPipelinedVotes => Some(Mutation::ForgetPipelinedVotes),
            Self::ForgetOrphanedVotes => Some(Mutation::ForgetOrphanedVotes),
            _ => None,
        }
    }

    /// Whether the host acknowledges this record without writing it.
    pub fn drops(self, record: &WalRecord) -> bool {
        matches!(
            (self, record),
            (Self::LocksNotWritten, WalRecord::Locked(_))
                | (Self::VotesNotWritten, WalRecord::Accepted(_) | WalRecord::Locked(_))
                | (Self::ViewChangesNotWritten, WalRecord::ViewChange(_))
        )
    }

    /// Returns the records that a restart uses, with blocks stored up to this height.
    pub fn on_read_log(self, height: Height, mut records: Vec<WalRecord>) -> Vec<WalRecord> {
        match self {
            Self::Amnesia => Vec::new(),
            Self::PipelinedVotesNotRead => {
                records.retain(|record| record.height() == height + 1);
                records
            }
            Self::LastRecordLost => {
                records.pop();
                records
            }
            _ => records,
        }
    }

    /// Returns the messages that a host at this height sends in place of this one.
    pub fn on_send(
        self,
        fixture: &ChainFixture,
        seat: usize,
        height: Height,
        message: Message,
    ) -> Vec<Message> {
        let (node_key, vote_key) = &fixture.keys[seat];
        let resigned = |vote: Vote| Message::Vote(SignedVote::sign(vote, vote_key));
        match (self, message) {
            (Self::ForgetLock, Message::ViewChange { change, .. }) => {
                let mut change = change.change;
                change.prepared = None;
                vec![Message::ViewChange { change: change.sign(node_key), block: None }]
            }
            (Self::ViewChangeUnsigned, Message::ViewChange { mut change, block }) => {
                change.signature.0[0] ^= 1;
                vec![Message::ViewChange { change, block }]
            }
            (Self::NoViewChange, Message::ViewChange { .. }) => Vec::new(),
            (Self::CommitWithPrepare, message @ Message::Vote(_)) => {
                let Message::Vote(signed) = &message else { return vec![message] };
                let commit = resigned(Vote { phase: Phase::Commit, ..signed.vote });
                vec![message, commit]
            }
            (Self::CommitPipelinedVotes, Message::Vote(signed)) if signed.vote.height > height => {
                vec![Message::Vote(signed), resigned(Vote { phase: Phase::Commit, ..signed.vote })]
            }
            (Self::VoteInViewZero, Message::Vote(signed)) => {
                vec![resigned(Vote { view: 0, ..signed.vote })]
            }
            (Self::VoteInOlderEpoch, Message::Vote(signed)) => {
                let epoch: Epoch = signed.vote.epoch + 1;
                vec![resigned(Vote { epoch, ..signed.vote })]
            }
            (Self::EarlyCommittee, Message::Vote(signed))
                if epoch::is_last_height(&fixture.genesis.params, signed.vote.height) =>
            {
                vec![resigned(Vote { epoch: signed.vote.epoch + 1, ..signed.vote })]
            }
            (Self::BadVoteSignatures, Message::Vote(signed)) => {
                vec![Message::Vote(SignedVote { signature: bls::Signature([1; 48]), ..signed })]
            }
            (Self::ProposeFromTheFuture, Message::Proposal(proposal)) => {
                let mut block = proposal.block;
                block.header.time_ms += 60_000;
                vec![Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    node_key,
                ))]
            }
            (Self::RewriteViewOfOrigin, Message::Proposal(proposal)) => {
                let mut block = proposal.block;
                block.header.view = proposal.view;
                vec![Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    node_key,
                ))]
            }
            (
                Self::MissingSeedProof | Self::SeedProofOfLastHeight | Self::FrozenSeed,
                Message::Proposal(proposal),
            ) => {
                let mut block = proposal.block;
                let header = &mut block.header;
                if self == Self::FrozenSeed {
                    header.seed = fixture.genesis.header.seed;
                } else if header.proof.is_some() {
                    let input =
                        leader_seed::vrf_input(&header.chain, header.height - 1, &header.seed);
                    let old = fixture.vrf_keys[seat].prove(&input).ok();
                    header.proof = old.filter(|_| self == Self::SeedProofOfLastHeight);
                }
                vec![Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    node_key,
                ))]
            }
            (Self::SendWrongFinal, Message::CommitCertificate(mut certificate)) => {
                certificate.vote.view += 1;
                vec![Message::CommitCertificate(certificate)]
            }
            (Self::CertificateBelowQuorum, Message::PrepareCertificate(certificate)) => {
                vec![Message::PrepareCertificate(without_a_signer(certificate))]
            }
            (Self::CertificateOfOtherBlock, Message::PrepareCertificate(mut certificate)) => {
                certificate.vote.digest = Digest([3; 32]);
                vec![Message::PrepareCertificate(certificate)]
            }
            (_, message) => vec![message],
        }
    }

    /// Returns the message that a host receives in place of this one. The mutant that does not
    /// check certificates gets a valid one instead: the secrets are here, so it can be made.
    pub fn on_receive(self, fixture: &ChainFixture, message: Message) -> Message {
        match (self, message) {
            (Self::SkipCertificateCheck, Message::PrepareCertificate(mut certificate)) => {
                let message = certificate.vote.message();
                let seats: Vec<usize> =
                    certificate.seats().filter(|seat| *seat < fixture.seats()).collect();
                let parts: Vec<_> =
                    seats.into_iter().map(|seat| fixture.keys[seat].1.sign(&message)).collect();
                if let Ok(signature) = bls::aggregate(&parts) {
                    certificate.signature = signature;
                }
                Message::PrepareCertificate(certificate)
            }
            (_, message) => message,
        }
    }

    /// Returns an additional message that the host sends when another member's proposal arrives.
    pub fn extra_message(
        self,
        fixture: &ChainFixture,
        seat: usize,
        received: &Message,
    ) -> Option<Message> {
        let Message::Proposal(proposal) = received else { return None };
        let (node_key, vote_key) = &fixture.keys[seat];
        let header = &proposal.block.header;
        match self {
            Self::PrepareEveryProposal => {
                let (view, digest) = (proposal.view, header.digest());
                let (chain, epoch, height) = (header.chain, header.epoch, header.height);
                let vote = Vote { chain, epoch, height, view, phase: Phase::Prepare, digest };
                Some(Message::Vote(SignedVote::sign(vote, vote_key)))
            }
            Self::ProposeOutOfTurn => {
                let block = proposal.block.clone();
                Some(Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification.clone(),
                    node_key,
                )))
            }
            _ => None,
        }
    }

    /// Returns the answer to a peer that requested final blocks.
    pub fn on_sync_response(
        self,
        mut blocks: Vec<(Block, Certificate)>,
    ) -> Vec<(Block, Certificate)> {
        match self {
            Self::EmptySyncResponse => Vec::new(),
            Self::SyncSkipsBlock if !blocks.is_empty() => blocks.split_off(1),
            Self::SyncSwapsCertificates if blocks.len() > 1 => {
                let first = blocks[0].1.clone();
                blocks[0].1 = std::mem::replace(&mut blocks[1].1, first);
                blocks
            }
            _ => blocks,
        }
    }

    /// Returns the certificate that the host stores with a block.
    pub fn certificate(self, fixture: &ChainFixture, finalised: &Finalised) -> Certificate {
        let mut certificate = finalised.certificate.clone();
        match self {
            // The committee of the epoch before makes and checks it.
            Self::CertificateOfOldCommittee => {
                let vote = certificate.vote;
                let old = vote
                    .epoch
                    .checked_sub(1)
                    .and_then(|epoch| finalised.outcome.state.committee(epoch));
                let committee =
                    old.and_then(|record| Committee::new(record.clone(), &vote.chain).ok());
                if let Some(committee) = committee {
                    let secrets =
                        committee.seats().iter().map(|seat| fixture.secret(&seat.key)).enumerate();
                    let parts: Vec<_> = secrets
                        .filter_map(|(seat, secret)| Some((seat, secret?.sign(&vote.message()))))
                        .collect();
                    certificate = committee.aggregate_votes(vote, &parts).unwrap_or(certificate);
                }
            }
            Self::CertificateOfPrepare => certificate.vote.phase = Phase::Prepare,
            Self::CertificateMissesASigner => certificate = without_a_signer(certificate),
            _ => {}
        }
        certificate
    }

    /// Returns the transactions of a block that this host builds.
    pub fn build<T: Clone>(
        self,
        wanted: &BuildBlock,
        chosen: Vec<T>,
        invent: impl FnOnce(Height) -> Option<T>,
    ) -> Vec<T> {
        match self {
            Self::InventTransaction if wanted.height.is_multiple_of(3) => {
                chosen.into_iter().chain(invent(wanted.height)).collect()
            }
            Self::EmptyBlocks => Vec::new(),
            _ => chosen,
        }
    }
}

fn without_a_signer(mut certificate: Certificate) -> Certificate {
    let first = certificate.seats().next().unwrap_or_default();
    certificate.signers[first / 8] ^= 1 << (first % 8);
    certificate
}

/// Makes a transaction that no client has sent.
pub fn unsubmitted_transaction(
    fixture: &ChainFixture,
    height: Height,
) -> Option<Verified<tequio_core::ledger::SignedTransaction>> {
    let transaction = fixture.transaction(2, 77 + height, height);
    tequio_core::types::Unverified::new(transaction).verify(&fixture.genesis.chain).ok()
}
