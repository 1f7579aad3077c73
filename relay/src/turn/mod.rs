//! STUN and TURN on one UDP port, so that two browsers find a path to each other.
//!
//! | module | owns |
//! |---|---|
//! | `machine` | the protocol and all state, without sockets and clock |
//! | `allocation` | one client's permissions and channels |
//! | `credentials` | credentials that expire, and nonces, without a table of either |
//! | `targets` | whom the relay sends to |
//! | `limits` | what clients may use |
//! | `answer` | the messages that the server writes |
//! | `server` | the sockets |

mod allocation;
mod answer;
mod credentials;
mod limits;
mod machine;
mod server;
mod targets;
#[cfg(test)]
mod tests;

pub use credentials::{CREDENTIAL_LIFETIME, Credential};
pub use limits::TurnLimits;
pub use machine::Counts;
pub use server::{IceServer, TurnServer};
pub(crate) use {credentials::Issuer, targets::Targets};

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// What an operator decides about the TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnConfig {
    /// Where it listens (UDP). Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address by which clients and peers reach this machine, if it is not the one listened
    /// on.
    pub external: Option<IpAddr>,
    /// Sends to private, loopback and link-local addresses too.
    pub allow_private: bool,
    /// How long a credential can open and refresh allocations; whoever has one asks for the next
    /// after half of it.
    pub credential_lifetime: Duration,
    /// What clients may use.
    pub limits: TurnLimits,
}

impl TurnConfig {
    /// A server with the usual bounds.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            external: None,
            allow_private: false,
            credential_lifetime: CREDENTIAL_LIFETIME,
            limits: TurnLimits::default(),
        }
    }

    /// The address to announce; none if all interfaces are listened on and no external one is
    /// given.
    pub(crate) fn announced(&self) -> Option<IpAddr> {
        self.external.or(Some(self.listen.ip())).filter(|ip| {
            !ip.is_unspecified() && !ip.is_multicast() && ip.is_ipv6() == self.listen.is_ipv6()
        })
    }
}
