//! The behaviour of the simulated committee in known situations, and the agreement of the faster
//! signature checks with pairings. `cargo xtask simulate` runs the random campaigns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod byzantine;
mod collectors;
mod disks;
mod pipelining;
mod progress;
mod signatures;
mod support;
