//! Listener and dialer over real sockets: data arrives complete, bounds hold, hostile datagrams
//! have no effect.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod connections;
mod hostile;
mod load;
mod lossy;
mod peer;
mod retired_ufrags;
mod streams;
