//! The rules of Tequio, with no IO, no clock, no logger and no thread.
//!
//! Native nodes, browsers and the simulator run this same code. Data flows one way through it:
//! bytes → [`codec`] → `Unverified<T>` → verify → `Verified<T>` → machine input → machine output →
//! driver. A module imports only modules that precede it in this list: [`types`], [`machine`],
//! [`codec`] → [`crypto`] → [`merkle`], [`content`], [`keystore`] → [`compute`] → [`ledger`] →
//! [`objects`], [`wire`] → [`consensus`], [`light`], [`scheduler`].

#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

pub mod codec;
pub mod compute;
pub mod consensus;
pub mod content;
pub mod crypto;
pub mod keystore;
pub mod ledger;
pub mod light;
pub mod machine;
pub mod merkle;
pub mod objects;
pub mod scheduler;
pub mod types;
pub mod wire;
