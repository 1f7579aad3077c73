//! The full node of Tequio: drivers for the machines of `tequio-core`, storage, HTTP API and
//! command line.
//!
//! Rules live in `tequio-core`, libp2p lives in `tequio-p2p`; this crate connects both with disk,
//! clock and threads.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod cli;
pub mod config;
pub mod data;
pub mod descriptors;
pub mod keys;
#[cfg(test)]
mod limits;
pub mod log;
pub mod node;
mod panics;
pub mod store;
