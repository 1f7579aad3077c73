//! The messages of each protocol: requests, responses and one-way messages in canonical borsh.
//! libp2p carries their bytes without decoding them.

pub mod compact;
pub mod compression;
pub mod consensus;
pub mod light;
pub mod mempool;
pub mod progress;
pub mod sync;
pub mod work;
