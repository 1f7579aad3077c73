//! BLAKE3 in `derive_key` mode: a digest made for one purpose can never be taken for another.

use crate::{codec, types::Digest};
use borsh::{BorshSerialize, io};

/// What a digest or signature is for. The strings are part of the protocol and never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Context {
    Genesis,
    Checkpoint,
    Committee,
    BlockHeader,
    Transaction,
    TransactionLeaf,
    TransactionNode,
    StateKey,
    StateValue,
    StateLeaf,
    StateNode,
    Vote,
    BlsPossession,
    BlsSecret,
    ViewChange,
    Proposal,
    AuditDraw,
    Admission,
    Job,
    LaneStep,
    LaneResult,
    LaneCommitment,
    ProductCheck,
    CheckerDraw,
    Weights,
    Dataset,
    Keystore,
    SignatureBatch,
    Seed,
    SeedProof,
    Leader,
    VrfPossession,
}

impl Context {
    /// The BLAKE3 context string.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Genesis => "tequio 2026 genesis",
            Self::Checkpoint => "tequio 2026 checkpoint",
            Self::Committee => "tequio 2026 committee",
            Self::BlockHeader => "tequio 2026 block header",
            Self::Transaction => "tequio 2026 transaction",
            Self::TransactionLeaf => "tequio 2026 transaction tree leaf",
            Self::TransactionNode => "tequio 2026 transaction tree node",
            Self::StateKey => "tequio 2026 state key",
            Self::StateValue => "tequio 2026 state value",
            Self::StateLeaf => "tequio 2026 state tree leaf",
            Self::StateNode => "tequio 2026 state tree node",
            Self::Vote => "tequio 2026 vote",
            Self::BlsPossession => "tequio 2026 bls proof of possession",
            Self::BlsSecret => "tequio 2026 bls secret key",
            Self::ViewChange => "tequio 2026 view change",
            Self::Proposal => "tequio 2026 proposal",
            Self::AuditDraw => "tequio 2026 draw of auditors",
            Self::Admission => "tequio 2026 admission puzzle",
            Self::Job => "tequio 2026 job",
            Self::LaneStep => "tequio 2026 lane step",
            Self::LaneResult => "tequio 2026 lane result",
            Self::LaneCommitment => "tequio 2026 lane commitment",
            Self::ProductCheck => "tequio 2026 product check",
            Self::CheckerDraw => "tequio 2026 draw of checkers",
            Self::Weights => "tequio 2026 weights",
            Self::Dataset => "tequio 2026 dataset",
            Self::Keystore => "tequio 2026 keystore",
            Self::SignatureBatch => "tequio 2026 batch of signatures",
            Self::Seed => "tequio 2026 seed of leaders",
            Self::SeedProof => "tequio 2026 vrf input",
            Self::Leader => "tequio 2026 order of leaders",
            Self::VrfPossession => "tequio 2026 vrf proof of possession",
        }
    }

    /// A hasher for data that comes in pieces.
    pub fn hasher(self) -> blake3::Hasher {
        blake3::Hasher::new_derive_key(self.name())
    }
}

/// The digest of some bytes.
pub fn hash(context: Context, bytes: &[u8]) -> Digest {
    Digest(*context.hasher().update(bytes).finalize().as_bytes())
}

/// The digest of a value's canonical encoding.
pub fn hash_of<T: BorshSerialize + ?Sized>(context: Context, value: &T) -> Digest {
    struct Sink(blake3::Hasher);
    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Sink(context.hasher());
    match value.serialize(&mut sink) {
        Ok(()) => Digest(*sink.0.finalize().as_bytes()),
        Err(_) => hash(context, &codec::encode(value)),
    }
}
