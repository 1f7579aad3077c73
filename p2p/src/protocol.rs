//! The application protocols, their names, caps and default rates. Only this module defines them.
//!
//! Two of them are [`NotificationProtocol`]s, which carry one-way messages on a long-lived stream
//! each ([`crate::protocols::notifications`]). The others are request-response protocols
//! ([`crate::protocols::request_response`]). Each exchange is one request and one response on a
//! libp2p substream of its own. This crate never inspects a body: it only refuses bodies above the
//! caps.

use std::time::Duration;

use libp2p::StreamProtocol;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The protocol of an exchange or a notification. Each has its own libp2p protocol name, caps and
/// rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Headers, certificates, proofs and objects for light nodes.
    Light,
    /// Leases and results of work units.
    Work,
    /// Votes, proposals and other messages between members: [`NotificationProtocol::Consensus`].
    Consensus,
    /// Blocks for nodes that are behind.
    Sync,
    /// Pending transactions and their ids: [`NotificationProtocol::Mempool`].
    Mempool,
    /// Transactions by id.
    GetTransactions,
}

/// The protocols of one-way messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotificationProtocol {
    /// [`Protocol::Consensus`]. Read only from the consensus peers:
    /// [`crate::Network::set_consensus_peers`].
    Consensus,
    /// [`Protocol::Mempool`]. Read from all peers.
    Mempool,
}

impl NotificationProtocol {
    /// Number of notification protocols.
    pub const COUNT: usize = 2;
    /// All notification protocols, in the order of [`NotificationProtocol::index`].
    pub const ALL: [NotificationProtocol; Self::COUNT] =
        [NotificationProtocol::Consensus, NotificationProtocol::Mempool];

    /// Position in [`NotificationProtocol::ALL`], for tables with one entry per notification
    /// protocol.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The protocol that defines the name, caps and rate.
    pub const fn protocol(self) -> Protocol {
        match self {
            NotificationProtocol::Consensus => Protocol::Consensus,
            NotificationProtocol::Mempool => Protocol::Mempool,
        }
    }

    /// Longest message, bytes.
    pub const fn len_max(self) -> usize {
        self.protocol().request_max()
    }
}

impl Protocol {
    /// Number of protocols.
    pub const COUNT: usize = 6;
    /// All protocols, in the order of [`Protocol::index`].
    pub const ALL: [Protocol; Self::COUNT] = [
        Protocol::Light,
        Protocol::Work,
        Protocol::Consensus,
        Protocol::Sync,
        Protocol::Mempool,
        Protocol::GetTransactions,
    ];

    /// Position in [`Protocol::ALL`], for tables with one entry per protocol.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The libp2p protocol name.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Light => "/tequio/light/3",
            Protocol::Work => "/tequio/work/2",
            Protocol::Consensus => "/tequio/consensus/2",
            Protocol::Sync => "/tequio/sync/3",
            Protocol::Mempool => "/tequio/mempool/4",
            Protocol::GetTransactions => "/tequio/want/1",
        }
    }

    /// The notification protocol, if this is one.
    pub const fn notification_protocol(self) -> Option<NotificationProtocol> {
        match self {
            Protocol::Consensus => Some(NotificationProtocol::Consensus),
            Protocol::Mempool => Some(NotificationProtocol::Mempool),
            Protocol::Light | Protocol::Work | Protocol::Sync | Protocol::GetTransactions => None,
        }
    }

    /// Longest request body or notification, in bytes.
    pub const fn request_max(self) -> usize {
        match self {
            // A light node may submit a transaction.
            Protocol::Light => tequio_core::wire::light::REQUEST_LEN_MAX,
            Protocol::Work => 4 * MIB,
            Protocol::Consensus => tequio_core::wire::consensus::REQUEST_LEN_MAX,
            Protocol::Sync => KIB,
            // The packed form adds at most one byte.
            Protocol::Mempool => tequio_core::wire::mempool::MESSAGE_LEN_MAX + 1,
            Protocol::GetTransactions => tequio_core::wire::mempool::GET_TRANSACTIONS_LEN_MAX,
        }
    }

    /// Longest response body in bytes; zero for protocols without responses.
    pub const fn response_max(self) -> usize {
        match self {
            Protocol::Light => 4 * MIB,
            Protocol::Work => 4 * MIB,
            Protocol::Sync => 8 * MIB,
            Protocol::GetTransactions => tequio_core::wire::mempool::MESSAGE_LEN_MAX + 1,
            Protocol::Consensus | Protocol::Mempool => 0,
        }
    }

    /// Requests of all peers together that wait for the application's response; for notification
    /// protocols, messages that the application has not taken.
    pub(crate) const fn inbound_items_max(self) -> usize {
        match self {
            Protocol::Light => 512,
            Protocol::Work => 128,
            // A third of the largest committee cannot fill it.
            Protocol::Consensus => 32 * KIB,
            Protocol::Sync => 128,
            Protocol::Mempool => 8 * KIB,
            Protocol::GetTransactions => 128,
        }
    }

    /// The bytes of these requests or messages.
    pub(crate) const fn inbound_bytes_max(self) -> usize {
        match self {
            Protocol::Light => 4 * MIB,
            Protocol::Work => 64 * MIB,
            Protocol::Consensus => 256 * MIB,
            Protocol::Sync => 128 * KIB,
            Protocol::Mempool => 32 * MIB,
            Protocol::GetTransactions => 4 * MIB,
        }
    }

    pub(crate) const fn stream_protocol(self) -> StreamProtocol {
        StreamProtocol::new(self.name())
    }
}

/// A token bucket: it holds up to `*_burst` tokens and gains `*_per_s` of them a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests per second.
    pub requests_per_s: f64,
    /// Burst of requests after a pause.
    pub requests_burst: f64,
    /// Bytes per second, requests and responses together.
    pub bytes_per_s: f64,
    /// Burst of bytes after a pause.
    pub bytes_burst: f64,
}

/// The rates granted to one peer, per protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    table: [Rate; Protocol::COUNT],
    /// The longest delay of a request; a request that would wait longer is refused.
    pub delay_max: Duration,
    /// Number of strikes after which the peer's connections are closed. One strike is forgotten
    /// every two seconds.
    pub strikes_max: u32,
    /// How long a disconnected peer stays banned.
    pub penalty: Duration,
}

impl Rates {
    /// The rate of a protocol.
    pub fn of(&self, protocol: Protocol) -> Rate {
        self.table[protocol.index()]
    }

    /// Replaces the rate of a protocol.
    pub fn set(&mut self, protocol: Protocol, rate: Rate) {
        self.table[protocol.index()] = rate;
    }
}

impl Default for Rates {
    /// Rates that an honest peer does not reach, catching up included.
    fn default() -> Self {
        let rate = |requests_per_s: f64, mib_per_s: f64| Rate {
            requests_per_s,
            requests_burst: requests_per_s * 5.0,
            bytes_per_s: mib_per_s * MIB as f64,
            bytes_burst: mib_per_s * 4.0 * MIB as f64,
        };
        Self {
            table: [
                rate(100.0, 16.0),
                rate(60.0, 32.0),
                rate(600.0, 32.0),
                rate(60.0, 64.0),
                rate(200.0, 16.0),
                rate(40.0, 8.0),
            ],
            delay_max: Duration::from_secs(2),
            strikes_max: 64,
            penalty: Duration::from_secs(30),
        }
    }
}
