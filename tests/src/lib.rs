//! End-to-end tests and attacks, and the checks that the fuzz targets share with them.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod browser;
pub mod decoders;
pub mod network;
pub mod process;
pub mod stream_requests;
pub mod udp_partition_proxy;
