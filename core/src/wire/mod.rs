//! The messages of each protocol. All are requests, responses and one-way messages in canonical
//! borsh; libp2p carries their bytes and knows nothing of them.

pub mod compact;
pub mod consensus;
pub mod light;
pub mod mempool;
pub mod packed;
pub mod progress;
pub mod sync;
pub mod work;
