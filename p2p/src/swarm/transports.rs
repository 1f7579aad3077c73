//! The transports of a host, with the behaviour that signals for them.

use libp2p::{identity::Keypair, relay};

use super::{behaviour::Signalling, shared::Shared};
use crate::{
    config::Config,
    error::SpawnError,
    transport::{self, Connections},
};

/// Builds the transports. Native hosts do not signal.
#[cfg(not(target_arch = "wasm32"))]
pub fn transports(
    config: &Config,
    keys: &Keypair,
    relay: relay::client::Transport,
    shared: &Shared,
) -> Result<(Connections, Signalling), SpawnError> {
    Ok((transport::build(config, keys, relay, &shared.meter)?, Signalling {}))
}

/// Builds the transports.
#[cfg(target_arch = "wasm32")]
pub fn transports(
    config: &Config,
    keys: &Keypair,
    relay: relay::client::Transport,
    shared: &Shared,
) -> Result<(Connections, Signalling), SpawnError> {
    let (tabs, signalling) = crate::protocols::signalling::new(shared.signaller.clone());
    Ok((transport::build(config, keys, relay, &shared.meter, tabs)?, signalling))
}
