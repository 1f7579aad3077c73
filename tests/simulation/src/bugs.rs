//! Faults of the implementation, put into every host by a wrapper around the machine, its disk and
//! its driver. The campaigns must find each of them: that is how the checkers and the schedules are
//! themselves tested.

use crate::world::World;
use tequio_core::{
    consensus::{BuildBlock, Finalised, WalRecord},
    crypto::bls,
    ledger::{Block, Certificate, Committee, Phase, Vote, epoch, fault::Fault, seed},
    types::{Digest, Epoch, Height, Verified},
    wire::consensus::{Message, Proposal, SignedVote},
};

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Bug {
    // What is said.
    ForgetLock,
    NoViewChange,
    CommitWithPrepare,
    VoteInViewZero,
    VoteInOlderEpoch,
    BadShares,
    NeverRepeat,
    ProposeFromTheFuture,
    RewriteViewOfOrigin,
    ProposeOutOfTurn,
    TellWrongFinal,
    PrepareEveryProposal,
    ViewChangeUnsigned,
    ProofMissing,
    ProofOfLastHeight,
    SeedStands,
    // What voters and leaders take for the order of leaders.
    UncheckedProof,
    UnweightedLeaders,
    // What is written.
    WireBeforeDisk,
    LocksNotWritten,
    VotesNotWritten,
    ViewChangesNotWritten,
    BlocksNotWritten,
    // What a restart does.
    Amnesia,
    LastRecordLost,
    // What the driver does.
    ClockStands,
    SyncAnswersNothing,
    SyncSkipsABlock,
    SyncSwapsCertificates,
    CertificateOfPrepare,
    CertificateMissesASigner,
    InventTransaction,
    EmptyBlocks,
    // What is done at the turn of an epoch.
    CommitteeEarly,
    CommitteeStands,
    CertificateOfOldCommittee,
    NoPossession,
    NoOverlap,
    NoUnbonding,
    // What collectors do, and those who hear them.
    NoFallback,
    UncheckedCertificate,
    SpreadTooFew,
    SpreadOtherBlock,
    // What is done at two heights at a time.
    AheadUnprepared,
    AheadInLaterViews,
    AheadAcrossTerms,
    AheadForgotten,
    AheadCommitted,
    AheadNotRead,
    OrphanForgotten,
    LogCutAtBlock,
}

/// All of them.
pub const BUGS: [Bug; 51] = [
    Bug::ForgetLock,
    Bug::NoViewChange,
    Bug::CommitWithPrepare,
    Bug::VoteInViewZero,
    Bug::VoteInOlderEpoch,
    Bug::BadShares,
    Bug::NeverRepeat,
    Bug::ProposeFromTheFuture,
    Bug::RewriteViewOfOrigin,
    Bug::ProposeOutOfTurn,
    Bug::TellWrongFinal,
    Bug::PrepareEveryProposal,
    Bug::ViewChangeUnsigned,
    Bug::ProofMissing,
    Bug::ProofOfLastHeight,
    Bug::SeedStands,
    Bug::UncheckedProof,
    Bug::UnweightedLeaders,
    Bug::WireBeforeDisk,
    Bug::LocksNotWritten,
    Bug::VotesNotWritten,
    Bug::ViewChangesNotWritten,
    Bug::BlocksNotWritten,
    Bug::Amnesia,
    Bug::LastRecordLost,
    Bug::ClockStands,
    Bug::SyncAnswersNothing,
    Bug::SyncSkipsABlock,
    Bug::SyncSwapsCertificates,
    Bug::CertificateOfPrepare,
    Bug::CertificateMissesASigner,
    Bug::InventTransaction,
    Bug::EmptyBlocks,
    Bug::CommitteeEarly,
    Bug::CommitteeStands,
    Bug::CertificateOfOldCommittee,
    Bug::NoPossession,
    Bug::NoOverlap,
    Bug::NoUnbonding,
    Bug::NoFallback,
    Bug::UncheckedCertificate,
    Bug::SpreadTooFew,
    Bug::SpreadOtherBlock,
    Bug::AheadUnprepared,
    Bug::AheadInLaterViews,
    Bug::AheadAcrossTerms,
    Bug::AheadForgotten,
    Bug::AheadCommitted,
    Bug::AheadNotRead,
    Bug::OrphanForgotten,
    Bug::LogCutAtBlock,
];

impl Bug {
    /// By its name in a report.
    pub fn named(name: &str) -> Option<Self> {
        BUGS.into_iter().find(|bug| format!("{bug:?}") == name)
    }

    /// Whether it shows only where members come and go.
    pub fn needs_churn(self) -> bool {
        match self {
            Self::CommitteeStands | Self::CertificateOfOldCommittee => true,
            Self::NoPossession | Self::NoOverlap | Self::NoUnbonding => true,
            // Four seats are of equal weight until somebody bonds more.
            Self::UnweightedLeaders => true,
            _ => false,
        }
    }

    /// A fault of core's own rules.
    pub fn of_core(self) -> Option<Fault> {
        match self {
            Self::NoPossession => Some(Fault::NoPossession),
            Self::NoOverlap => Some(Fault::NoOverlap),
            Self::NoUnbonding => Some(Fault::NoUnbonding),
            Self::UncheckedProof => Some(Fault::UncheckedProof),
            Self::UnweightedLeaders => Some(Fault::UnweightedLeaders),
            Self::AheadUnprepared => Some(Fault::AheadUnprepared),
            Self::AheadInLaterViews => Some(Fault::AheadInLaterViews),
            Self::AheadAcrossTerms => Some(Fault::AheadAcrossTerms),
            Self::AheadForgotten => Some(Fault::AheadForgotten),
            Self::OrphanForgotten => Some(Fault::OrphanForgotten),
            _ => None,
        }
    }

    /// Whether a record is acknowledged and never written.
    pub fn drops(self, record: &WalRecord) -> bool {
        matches!(
            (self, record),
            (Self::LocksNotWritten, WalRecord::Locked(_))
                | (Self::VotesNotWritten, WalRecord::Accepted(_) | WalRecord::Locked(_))
                | (Self::ViewChangesNotWritten, WalRecord::ViewChange(_))
        )
    }

    /// The records that a restart uses, with blocks stored up to this height.
    pub fn read(self, height: Height, mut records: Vec<WalRecord>) -> Vec<WalRecord> {
        match self {
            Self::Amnesia => Vec::new(),
            Self::AheadNotRead => {
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

    /// What is said in place of a message by a host that decides this height.
    pub fn say(self, world: &World, seat: usize, height: Height, message: Message) -> Vec<Message> {
        let (node_key, vote_key) = &world.keys[seat];
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
            (Self::AheadCommitted, Message::Vote(signed)) if signed.vote.height > height => {
                vec![Message::Vote(signed), resigned(Vote { phase: Phase::Commit, ..signed.vote })]
            }
            (Self::VoteInViewZero, Message::Vote(signed)) => {
                vec![resigned(Vote { view: 0, ..signed.vote })]
            }
            (Self::VoteInOlderEpoch, Message::Vote(signed)) => {
                let epoch: Epoch = signed.vote.epoch + 1;
                vec![resigned(Vote { epoch, ..signed.vote })]
            }
            (Self::CommitteeEarly, Message::Vote(signed))
                if epoch::ends(&world.start.params, signed.vote.height) =>
            {
                vec![resigned(Vote { epoch: signed.vote.epoch + 1, ..signed.vote })]
            }
            (Self::BadShares, Message::Vote(signed)) => {
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
                Self::ProofMissing | Self::ProofOfLastHeight | Self::SeedStands,
                Message::Proposal(proposal),
            ) => {
                let mut block = proposal.block;
                let header = &mut block.header;
                if self == Self::SeedStands {
                    header.seed = world.start.header.seed;
                } else if header.proof.is_some() {
                    let input = seed::input(&header.chain, header.height - 1, &header.seed);
                    let old = world.vrf_keys[seat].prove(&input).ok();
                    header.proof = old.filter(|_| self == Self::ProofOfLastHeight);
                }
                vec![Message::Proposal(Proposal::sign(
                    proposal.view,
                    block,
                    proposal.justification,
                    node_key,
                ))]
            }
            (Self::TellWrongFinal, Message::Finalised(mut certificate)) => {
                certificate.vote.view += 1;
                vec![Message::Finalised(certificate)]
            }
            (Self::SpreadTooFew, Message::Prepared(certificate)) => {
                vec![Message::Prepared(without_a_signer(certificate))]
            }
            (Self::SpreadOtherBlock, Message::Prepared(mut certificate)) => {
                certificate.vote.digest = Digest([3; 32]);
                vec![Message::Prepared(certificate)]
            }
            (_, message) => vec![message],
        }
    }

    /// What a host takes a message for. A certificate that is not checked is as good as one that
    /// holds: the secrets are here, so it is made to hold.
    pub fn hear(self, world: &World, message: Message) -> Message {
        match (self, message) {
            (Self::UncheckedCertificate, Message::Prepared(mut certificate)) => {
                let message = certificate.vote.message();
                let seats: Vec<usize> =
                    certificate.seats().filter(|seat| *seat < world.seats()).collect();
                let parts: Vec<_> =
                    seats.into_iter().map(|seat| world.keys[seat].1.sign(&message)).collect();
                if let Ok(signature) = bls::aggregate(&parts) {
                    certificate.signature = signature;
                }
                Message::Prepared(certificate)
            }
            (_, message) => message,
        }
    }

    /// What is said beside nothing, when a proposal of another comes.
    pub fn answer(self, world: &World, seat: usize, heard: &Message) -> Option<Message> {
        let Message::Proposal(proposal) = heard else { return None };
        let (node_key, vote_key) = &world.keys[seat];
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

    /// What a peer that asked for final blocks gets.
    pub fn sync(self, mut blocks: Vec<(Block, Certificate)>) -> Vec<(Block, Certificate)> {
        match self {
            Self::SyncAnswersNothing => Vec::new(),
            Self::SyncSkipsABlock if !blocks.is_empty() => blocks.split_off(1),
            Self::SyncSwapsCertificates if blocks.len() > 1 => {
                let first = blocks[0].1.clone();
                blocks[0].1 = std::mem::replace(&mut blocks[1].1, first);
                blocks
            }
            _ => blocks,
        }
    }

    /// The certificate that is stored with a block.
    pub fn certificate(self, world: &World, finalised: &Finalised) -> Certificate {
        let mut certificate = finalised.certificate.clone();
        match self {
            // Made, and checked, by those who decided the epoch before.
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
                        committee.seats().iter().map(|seat| world.secret(&seat.key)).enumerate();
                    let parts: Vec<_> = secrets
                        .filter_map(|(seat, secret)| Some((seat, secret?.sign(&vote.message()))))
                        .collect();
                    certificate = committee.certify(vote, &parts).unwrap_or(certificate);
                }
            }
            Self::CertificateOfPrepare => certificate.vote.phase = Phase::Prepare,
            Self::CertificateMissesASigner => certificate = without_a_signer(certificate),
            _ => {}
        }
        certificate
    }

    /// The transactions of a block that this node makes.
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

/// A transaction that no client has sent.
pub fn invented(
    world: &World,
    height: Height,
) -> Option<Verified<tequio_core::ledger::SignedTransaction>> {
    let transaction = world.transaction(2, 77 + height, height);
    tequio_core::types::Unverified::new(transaction).verify(&world.start.chain).ok()
}
