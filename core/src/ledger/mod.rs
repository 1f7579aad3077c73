//! The ledger: blocks, the transactions in them, and the one pure function that applies them to the
//! state.

pub mod block;
pub mod committee;
pub mod epoch;
pub mod evidence;
pub mod genesis;
pub mod job;
pub mod leader;
pub mod leader_seed;
pub mod membership;
pub mod mutation;
pub mod state;
pub mod statement;
pub mod transaction;
mod transition;
pub mod verified_signatures;

pub use block::{Block, Header};
pub use committee::{Certificate, Committee, Phase, Seat, Vote};
pub use evidence::{ConvictionReason, Evidence, EvidenceError};
pub use genesis::{Checkpoint, Genesis, Params};
pub use leader::{leader, leader_among};
pub use membership::{KeyRegistration, Member, MemberStatus};
pub use state::{Entry, Key, State, StateChange};
pub use transaction::{Action, HashedTransaction, SignedTransaction, Transaction, TransactionId};
pub use transition::{BlockContext, Outcome, Receipt, SenderView, TransactionError};
pub use verified_signatures::{VerifiedSignature, VerifiedSignatureCache};
