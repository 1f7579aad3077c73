//! The ledger: blocks, the transactions in them, and the one pure function that applies them to the
//! state.

pub mod block;
pub mod checked;
pub mod committee;
pub mod epoch;
pub mod evidence;
pub mod fault;
pub mod genesis;
pub mod job;
pub mod leader;
pub mod membership;
pub mod seed;
pub mod state;
pub mod statement;
pub mod transaction;
mod transition;

pub use block::{Block, Header};
pub use checked::{Checked, CheckedSet};
pub use committee::{Certificate, Committee, Phase, Seat, Vote};
pub use evidence::{Crime, Evidence, EvidenceError};
pub use genesis::{Checkpoint, Genesis, Params};
pub use leader::{leader, leader_among};
pub use membership::{KeyClaim, Member, MemberStatus};
pub use state::{Change, Entry, Key, State};
pub use transaction::{Action, NamedTransaction, SignedTransaction, Transaction, TransactionId};
pub use transition::{BlockContext, Outcome, Receipt, Standing, TransactionError};
