//! Listener and dialer over real sockets: data arrives whole, bounds hold, hostile datagrams change
//! nothing.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod afterlife;
mod connections;
mod hostile;
mod load;
mod lossy;
mod peer;
mod streams;
