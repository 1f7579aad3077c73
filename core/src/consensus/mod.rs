//! PBFT (Castro and Liskov, OSDI 1999) with BLS-aggregated votes: one height at a time, or two;
//! votes to everyone and three hops to finality, or by way of the leader and five ([`VotesTo`]). A
//! sans-IO [`Machine`](crate::machine::Machine); [`Replica`] is its state.
//!
//! | when | the replica | on disk first |
//! |---|---|---|
//! | it leads view 0, and a block is due | asks the mempool, executes the answer, proposes it, prepares it | proposal |
//! | it leads view v > 0, a quorum's view changes are in, one of them has a prepare certificate | proposes the block of the newest certificate again, byte for byte | proposal |
//! | likewise, and none of them has | asks the mempool, proposes a block of view v | proposal |
//! | a valid proposal of this view, or of a higher one that a quorum's view changes justify, and it has accepted none in it | enters that view and prepares the block | proposal |
//! | the host has verified transactions of a block that comes next | checks only the signatures of the others | |
//! | a second proposal of the view | reports the leader, with both signatures | |
//! | prepare votes of a quorum for the accepted block | locks on it and commits it | certificate |
//! | it leads view 0 of the next height, is locked in view 0 of this one, is not busy, and blocks take no longer by it | asks the mempool, proposes it, prepares it | lock, proposal |
//! | a proposal of view 0 of the next height upon a block that it has locked in view 0 | prepares it, and goes no further there | lock, proposal |
//! | that block's parent did not become final | leaves view 0 | view change |
//! | commit votes of a quorum, of any view | makes the block final, goes on to the next height | block and state |
//! | likewise, and the block is missing | asks those who signed | |
//! | the view takes too long and a quorum is in it | enters the next view with its lock, patience doubles | view change |
//! | f+1 have left this view | follows them | view change |
//! | it leads view 0 and has a certificate of it | gives it to all | |
//! | nothing new for a while | says its last words again, votes to all from then on | |
//! | a message of the next height | keeps it until then | |
//! | a message of a height further on | asks its sender for the final blocks | |
//! | the state of a later final block | goes on from there | that state |
//! | the last block of an epoch is final | votes with the keys of its seat in the next committee, if it has one there | block and state |
//! | a message of a final height | answers with the certificate of the head | |
//!
//! Why two blocks cannot become final at one height: a commit quorum for B in view w holds f+1
//! correct members whose locks were on disk before their commit votes. None of them votes in w any
//! more once it has changed to a later view, and each quorum of view changes contains one of them.
//! So the newest certificate in any justification is of view w or later, and by induction over
//! views it is of B.
//!
//! A block is due after `block_interval_ms_max`, or `block_interval_ms_min` if the mempool holds
//! something. The clock of view 0 runs from then; the clock of a later view runs once a quorum has
//! entered it, so no member runs ahead alone. A member without a quorum repeats itself and waits.
//!
//! The last block of an epoch makes the next committee; with the block's finality that one takes
//! over, here in `finalise`, and everything that a replica does asks the committee of its head.
//!
//! The next height is opened upon a block that is prepared and not final yet, within a term: see
//! `ahead`. Where processors are contended it is not, and its leader rests before it proposes: see
//! `pace`.

mod ahead;
mod ballot;
mod catch_up;
mod collect;
mod error;
mod future;
mod handle;
mod input;
mod instance;
mod outbox;
mod output;
mod pace;
mod replica;
mod restore;
mod timing;
mod validate;
mod wal;

pub use collect::VotesTo;
pub use error::{Error, RestoreError, SnapshotError};
pub use input::Input;
pub use outbox::{OUTBOX_BYTES_MAX, OUTBOX_ITEMS_MAX};
pub use output::{BuildBlock, Event, Finalised, Offence, Output, To};
pub use pace::Pipeline;
pub use replica::{Config, Head, Replica, SeatKeys};
pub use timing::VIEW_TIMEOUT_MS_MAX;
pub use validate::BlockError;
pub use wal::WalRecord;
