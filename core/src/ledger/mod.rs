//! The ledger: blocks, the transactions in them, and the one pure function that applies them to the
//! state.

pub mod block;
pub mod committee;
pub mod epoch;
pub mod evidence;
pub mod genesis;
pub mod ids;
pub mod job;
pub mod leader;
pub mod leader_seed;
pub mod membership;
pub mod mutation;
pub mod params;
pub mod seeded_shuffle;
pub mod signature_cache;
pub mod state;
pub mod statement;
pub mod transaction;
pub mod transaction_batch;
pub mod transition;

pub use block::{Block, Header};
pub use committee::{Certificate, Committee, Phase, Seat, Vote};
pub use evidence::{ConvictionReason, Evidence, EvidenceError};
pub use genesis::{Checkpoint, Genesis};
pub use ids::TransactionId;
pub use leader::{leader, leader_among};
pub use membership::{KeyRegistration, Member, MemberStatus};
pub use params::Params;
pub use signature_cache::{VerifiedSignature, VerifiedSignatureCache};
pub use state::{Entry, Key, State, StateChange};
pub use transaction::{Action, HashedTransaction, SignedTransaction, Transaction};
pub use transition::{BlockContext, Outcome, Receipt, SenderView, TransactionError};
