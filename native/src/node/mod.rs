//! A running full node, arranged by domain. `runtime` makes the parts: the machines of core with
//! their drivers, and the tasks around them. Each part gets the handles that it uses.

mod blocking;
mod bounded_text;
pub mod chain;
pub mod chain_view;
mod directory;
#[cfg(test)]
mod fixture;
pub mod jobs;
mod listening;
pub mod machine;
pub mod mempool;
pub mod objects;
pub mod peers;
mod runtime;
mod serve;
pub mod telemetry;
pub mod writes;

pub(crate) use directory::read_public;
pub use directory::{CHECKPOINT_FILE, GENESIS_FILE};
pub use runtime::Node;
