//! The protocols of Tequio on libp2p connections.
//!
//! Exchanges ([`request_response`]) and one-way messages ([`notifications`]) form one behaviour
//! with one handler per connection, because they share the limits of a peer. In browser tabs
//! [`signalling`] is another behaviour.

mod behaviour;
mod body;
mod handler;
mod messages;
pub mod notifications;
mod peer_limits;
pub mod request_response;
mod shared_state;
pub mod signalling;

pub use behaviour::{Behaviour, Event};
#[cfg(not(target_arch = "wasm32"))]
pub use body::read_body;
pub use messages::OutboundRequest;
