//! The transactions that wait for a block, how they are verified and how they spread.
//! `dissemination` decides what is pushed, announced and requested; `propagation` connects it to
//! the network. `verify` checks what clients and peers send before it enters the pool.

mod dissemination;
mod pool;
pub mod propagation;
mod state;
pub mod verify;

pub use dissemination::{ANNOUNCE_FANOUT, PUSH_LEADERS, PUSH_PEERS, SMALL_COMMITTEE_MAX, Source};
pub use pool::{BYTES_MAX, ITEMS_MAX, PER_SENDER_MAX, Rejected};
pub use state::Mempool;
