//! Byzantine members. Each wraps a correct replica and rewrites its messages, so core needs no
//! malicious switch.

mod coalition;
mod fault;
mod forgery;
mod sender;

pub use coalition::Coalition;
pub use fault::{BYZANTINE_FAULTS, ByzantineFault};
pub use sender::{ByzantineSender, receivers};
