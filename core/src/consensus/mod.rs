//! PBFT (Castro and Liskov, OSDI 1999) with BLS-aggregated votes and up to two heights in progress.
//! Votes go to every member, with three hops to finality, or through the leader, with five: see
//! [`VoteRouting`]. [`Replica`] is a sans-IO [`Machine`](crate::machine::Machine).
//!
//! | when | the replica | on disk first |
//! |---|---|---|
//! | it leads view 0, and a block is due | requests transactions, executes them, proposes the block, prepares it | proposal |
//! | it leads view v > 0, has a quorum's view changes, one of them with a prepare certificate | proposes the block of the newest certificate again, byte for byte | proposal |
//! | likewise, none of them with a prepare certificate | requests transactions, proposes a block of view v | proposal |
//! | it receives a valid proposal of this view, or of a higher one that a quorum's view changes justify, and has accepted none in that view | enters that view and prepares the block | proposal |
//! | the host has verified signatures of transactions in the next block | checks only the other signatures | |
//! | it receives a second proposal of the view | reports the leader, with both signatures | |
//! | it has a quorum's prepare votes for the accepted block | locks the block and casts its commit vote | certificate |
//! | it leads view 0 of the next height, is locked in view 0 of this one, is not busy, and pipelining does not slow blocks down | requests transactions, proposes the next block, prepares it | lock, proposal |
//! | it receives a proposal of view 0 of the next height whose parent it has locked in view 0 | prepares that block, and does nothing else at that height | lock, proposal |
//! | another block than that parent became final | leaves view 0 | view change |
//! | it has a quorum's commit votes, of any view | makes the block final, starts the next height | block and state |
//! | likewise, without the block | requests the block from the signers | |
//! | the view timeout expires and a quorum is in the view | enters the next view with its lock, doubles the timeout | view change |
//! | f+1 members have left this view | follows them | view change |
//! | it leads view 0 and has a certificate of it | broadcasts the certificate | |
//! | nothing new arrives for a while | retransmits its last messages, sends votes to all from then on | |
//! | it receives a message of the next height | stores the message until then | |
//! | it receives a message of a later height | requests final blocks from the sender | |
//! | it receives the state of a later final block | continues from there | that state |
//! | the last block of an epoch is final | votes with the keys of its seat in the next committee, if it has one | block and state |
//! | it receives a message of a final height | replies with the certificate of the head | |
//!
//! Two blocks cannot become final at one height. A commit quorum for B in view w holds f+1 correct
//! members whose locks were on disk before their commit votes. None of them votes in w after it has
//! changed to a later view, and each quorum of view changes contains one of them. So the newest
//! certificate in any justification is of view w or later. By induction over views it is of B.
//!
//! A block is due after `block_interval_ms_max`, or after `block_interval_ms_min` if the mempool
//! holds transactions. The timer of view 0 starts then. The timer of a later view starts once a
//! quorum has entered it, so no member runs ahead alone. A member without a quorum retransmits and
//! waits.
//!
//! The last block of an epoch determines the next committee, which takes over when the block is
//! final. `finalise` switches the replica to it; all other code uses the committee of the head.
//!
//! Within a leader term the next height starts on a prepared block that is not final yet: see
//! `handle::pipelining`, and `state::pacing` for the heights at which leaders do so.

mod config;
mod error;
mod handle;
mod head;
mod input;
mod outbox;
mod output;
mod replica;
mod state;
mod validate;
mod wal;

pub use config::{Config, Pipeline, SeatKeys, VoteRouting};
pub use error::{BlockError, Error, Offence, RestoreError, SnapshotError};
pub use head::Head;
pub use input::Input;
pub use outbox::{OUTBOX_BYTES_MAX, OUTBOX_ITEMS_MAX};
pub use output::{BuildBlock, Event, Finalised, Output, Recipient};
pub use replica::Replica;
pub use state::timing::VIEW_TIMEOUT_MS_MAX;
pub use wal::WalRecord;
