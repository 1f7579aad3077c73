//! The coordinator and its workers in a simulated network. Whichever workers take part, misbehave
//! or crash, the weights equal those of one process that trains alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod batch;
mod byzantine;
mod crashes;
mod digits;
mod exact;
mod fixture;
mod mix;
mod sim;
mod worker_outputs;
