//! Whole committees in virtual time, to look for what must never happen.
//!
//! The machines are those that real nodes run; everything around them is simulated and drawn from
//! one seed: the network, disks, clocks and cores of the hosts, liars and twins. Checkers look at
//! every decision, and oaths at every word. Each run is repeated exactly by its seed. The checkers
//! and schedules are tested by bugs that they have to find.
//!
//! Signatures are real. With feature `simulator`, which no program has, core answers for keys whose
//! secrets are in the process without a pairing; runs by pairings must leave the same trace.

#![cfg(feature = "simulator")]
// Everything here is test code: a wrong index is a fault of the simulator, and ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::large_enum_variant)]

pub mod adversary;
pub mod bugs;
pub mod campaign;
pub mod checkers;
pub mod cluster;
pub mod directed;
pub mod disk;
pub mod host;
pub mod month;
pub mod network;
pub mod oath;
pub mod order;
pub mod random;
pub mod twins;
pub mod weather;
pub mod world;
