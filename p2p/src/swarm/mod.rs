//! The task that owns the swarm.
//!
//! It executes the commands of the handles and turns libp2p's reports into
//! [`Event`](crate::Event)s. It also maintains the connections to persistent peers and the
//! reservations at relays. Nothing here blocks. While the application does not take its events, the
//! driver does not poll the swarm: peers then wait, and memory does not grow.

mod behaviour;
mod command;
mod dials;
mod disconnect;
mod driver;
mod listening;
mod relay_server;
mod shared;
mod swarm_events;
mod transports;

pub use command::Command;
pub use driver::{Driver, EVENTS_MAX};
pub use shared::Shared;
