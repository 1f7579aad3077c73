//! The coordinator and its workers in a simulated network: whoever takes part, whoever lies,
//! whoever dies, the weights are those of one process that trains alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod batch;
mod crashes;
mod digits;
mod exact;
mod mix;
mod sim;
