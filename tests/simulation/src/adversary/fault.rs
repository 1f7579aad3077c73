//! The faults of Byzantine members, and their names.

/// The fault of a Byzantine seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ByzantineFault {
    /// Sends nothing.
    Silence,
    /// As the leader, sends one block to half of the others and another to the rest, and votes for
    /// both.
    Equivocate,
    /// As the leader, sends both blocks to all.
    ProposeTwice,
    /// Signs each vote wrongly.
    BadVoteSignature,
    /// Votes for two blocks, to all.
    VoteTwice,
    /// Claims in view changes that nothing was prepared.
    HideLock,
    /// Proposes invalid blocks, or blocks with forged transactions.
    BadBlock,
    /// Proposes blocks with another seed, another member's proof, an old proof, a damaged one, or
    /// one where none is due.
    WrongVrf,
    /// As the leader of a term's last height, withholds its block, if the seed that follows from it
    /// gives this seat no more than its share.
    WithholdSeed,
    /// Sends forged certificates, distant heights and absurd views.
    Forge,
    /// Withholds each message from a random half of its receivers.
    SelectiveOmission,
    /// Repeats old messages, its own and those of others.
    Replay,
    /// Presents others' votes, proposals and view changes as its own.
    Impersonate,
    /// Proposes in views that other seats lead.
    ProposeOutOfTurn,
    /// As the leader of a later view, proposes a block of its own, although the view changes bind
    /// it to another.
    IgnoreLock,
    /// As the leader of a later view, justifies its own block by its own view change many times, or
    /// by too few view changes.
    BadJustification,
    /// Claims in view changes that its own block was prepared.
    ForgeLock,
    /// As the collector, withholds all certificates.
    WithholdCertificates,
    /// As the collector, sends certificates of other blocks, with forged signatures, with too few
    /// signers, or too early.
    ForgeCertificates,
    /// As the collector, sends a certificate to some members only, and decides alone.
    SelectiveCertificates,
    /// Loses its log at each restart, and restarts often.
    Amnesia,
    /// Is correct, but bits of its disk flip.
    DiskCorruption,
}

/// All faults.
pub const BYZANTINE_FAULTS: [ByzantineFault; 22] = [
    ByzantineFault::Silence,
    ByzantineFault::Equivocate,
    ByzantineFault::ProposeTwice,
    ByzantineFault::BadVoteSignature,
    ByzantineFault::VoteTwice,
    ByzantineFault::HideLock,
    ByzantineFault::BadBlock,
    ByzantineFault::WrongVrf,
    ByzantineFault::WithholdSeed,
    ByzantineFault::Forge,
    ByzantineFault::SelectiveOmission,
    ByzantineFault::Replay,
    ByzantineFault::Impersonate,
    ByzantineFault::ProposeOutOfTurn,
    ByzantineFault::IgnoreLock,
    ByzantineFault::BadJustification,
    ByzantineFault::ForgeLock,
    ByzantineFault::WithholdCertificates,
    ByzantineFault::ForgeCertificates,
    ByzantineFault::SelectiveCertificates,
    ByzantineFault::Amnesia,
    ByzantineFault::DiskCorruption,
];

impl ByzantineFault {
    /// Returns the name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Equivocate => "equivocate",
            Self::ProposeTwice => "propose_twice",
            Self::BadVoteSignature => "bad_vote_signature",
            Self::VoteTwice => "vote_twice",
            Self::HideLock => "hide_lock",
            Self::BadBlock => "bad_block",
            Self::WrongVrf => "wrong_vrf",
            Self::WithholdSeed => "withhold_seed",
            Self::Forge => "forge",
            Self::SelectiveOmission => "selective_omission",
            Self::Replay => "replay",
            Self::Impersonate => "impersonate",
            Self::ProposeOutOfTurn => "propose_out_of_turn",
            Self::IgnoreLock => "ignore_lock",
            Self::BadJustification => "bad_justification",
            Self::ForgeLock => "forge_lock",
            Self::WithholdCertificates => "withhold_certificates",
            Self::ForgeCertificates => "forge_certificates",
            Self::SelectiveCertificates => "selective_certificates",
            Self::Amnesia => "amnesia",
            Self::DiskCorruption => "disk_corruption",
        }
    }
}
