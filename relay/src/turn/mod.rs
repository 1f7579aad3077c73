//! STUN and TURN on one UDP port, so that two browsers find a path to each other.
//!
//! | module | contents |
//! |---|---|
//! | `machine` | all state and the packets of the protocol, without sockets and clock |
//! | `requests` | the answers of the machine to requests |
//! | `allocation` | one client's permissions and channels |
//! | `credentials` | credentials that expire, and nonces, without a table of either |
//! | `targets` | the addresses to which the relay sends |
//! | `limits` | limits for clients |
//! | `responses` | the messages that the server writes |
//! | `server` | the sockets |

mod allocation;
mod credentials;
mod limits;
mod machine;
mod requests;
mod responses;
mod server;
mod targets;
#[cfg(test)]
mod tests;

pub use credentials::{CREDENTIAL_LIFETIME, Credential};
pub use limits::TurnLimits;
pub use machine::Counts;
pub use server::{IceServer, TurnServer};
pub(crate) use {credentials::Issuer, targets::TargetPolicy};

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// The operator's configuration of the TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnConfig {
    /// The UDP address to listen on. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address at which clients and peers reach this machine, if it differs from the listening
    /// address.
    pub external: Option<IpAddr>,
    /// Whether to send to private, loopback and link-local addresses too.
    pub allow_private: bool,
    /// Time for which a credential can open and refresh allocations. Clients request the next one
    /// after half of it.
    pub credential_lifetime: Duration,
    /// Limits for clients.
    pub limits: TurnLimits,
}

impl TurnConfig {
    /// A configuration with the default limits.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            external: None,
            allow_private: false,
            credential_lifetime: CREDENTIAL_LIFETIME,
            limits: TurnLimits::default(),
        }
    }

    /// The address to announce; `None` if the server listens on all interfaces and no external
    /// address is set.
    pub(crate) fn announced(&self) -> Option<IpAddr> {
        self.external.or(Some(self.listen.ip())).filter(|ip| {
            !ip.is_unspecified() && !ip.is_multicast() && ip.is_ipv6() == self.listen.is_ipv6()
        })
    }
}
