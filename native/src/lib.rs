//! The full node of Tequio: drivers for the machines of `tequio-core`, storage, HTTP API and
//! command line.
//!
//! `tequio-core` holds the rules and `tequio-p2p` uses libp2p; this crate connects both with disk,
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
