//! Simulates whole committees in virtual time, to search for violations of the protocol's rules.
//!
//! The machines are those of real nodes. Everything around them is simulated and drawn from one
//! seed: the network, disks, clocks and cores of the hosts, Byzantine members and twins. Checkers
//! examine every decision, and a protocol monitor every message. A seed repeats its run exactly.
//! Mutants, which the campaigns must find, test the checkers and schedules.
//!
//! Signatures are real. With feature `simulator`, which no program has, core verifies signatures of
//! keys whose secrets are in the process without a pairing. Runs with pairings must leave the same
//! trace.

#![cfg(feature = "simulator")]
// Everything here is test code: a wrong index is a fault of the simulator, and ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::large_enum_variant)]

pub mod adversary;
pub mod campaign;
pub mod chain_fixture;
pub mod checkers;
pub mod cluster;
pub mod disk;
pub mod fault_profile;
pub mod host;
pub mod leader_oracle;
pub mod mutants;
pub mod network;
pub mod protocol_monitor;
pub mod random;
pub mod scenarios;
pub mod soak;
pub mod twins;
