//! The application protocols, their names, caps and default rates. This is the one place that knows
//! them.
//!
//! Two of them are [`Channel`]s, on which peers tell each other things one way, on a long-lived
//! stream each ([`crate::tell`]). The others are exchanges; every exchange is one request and one
//! response on a libp2p substream of its own (the bytes are in [`crate::rpc::codec`]). This crate
//! never looks into a body: it only refuses to move more of it than the caps allow.

use std::time::Duration;

use libp2p::StreamProtocol;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What an exchange or a one-way message is about; each has a libp2p protocol name, caps and rates
/// of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Headers, certificates, proofs and objects for light nodes.
    Light,
    /// Leases and results of work units.
    Work,
    /// Votes, proposals and what else members tell each other: [`Channel::Consensus`].
    Consensus,
    /// Blocks for nodes that catch up.
    Sync,
    /// Transactions that wait for a block, and the names of such: [`Channel::Mempool`].
    Mempool,
    /// Transactions by their names.
    Want,
}

/// What peers tell each other one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// [`Protocol::Consensus`]. It is read only from peers that the application listens to:
    /// [`crate::Network::hear`].
    Consensus,
    /// [`Protocol::Mempool`]. It is read from everybody.
    Mempool,
}

impl Channel {
    /// Number of channels.
    pub const COUNT: usize = 2;
    /// All of them, in the order of [`Channel::index`].
    pub const ALL: [Channel; Self::COUNT] = [Channel::Consensus, Channel::Mempool];

    /// Position in [`Channel::ALL`], for tables with one entry per channel.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whose name, caps and rate it has.
    pub const fn protocol(self) -> Protocol {
        match self {
            Channel::Consensus => Protocol::Consensus,
            Channel::Mempool => Protocol::Mempool,
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
    /// All of them, in the order of [`Protocol::index`].
    pub const ALL: [Protocol; Self::COUNT] = [
        Protocol::Light,
        Protocol::Work,
        Protocol::Consensus,
        Protocol::Sync,
        Protocol::Mempool,
        Protocol::Want,
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
            Protocol::Want => "/tequio/want/1",
        }
    }

    /// The channel that speaks it, if it is one.
    pub const fn channel(self) -> Option<Channel> {
        match self {
            Protocol::Consensus => Some(Channel::Consensus),
            Protocol::Mempool => Some(Channel::Mempool),
            Protocol::Light | Protocol::Work | Protocol::Sync | Protocol::Want => None,
        }
    }

    /// Longest request body, or message of a channel, in bytes.
    pub const fn request_max(self) -> usize {
        match self {
            // A light node may submit a transaction.
            Protocol::Light => tequio_core::wire::light::REQUEST_LEN_MAX,
            Protocol::Work => 4 * MIB,
            Protocol::Consensus => tequio_core::wire::consensus::REQUEST_LEN_MAX,
            Protocol::Sync => KIB,
            // Packed: at most a byte more.
            Protocol::Mempool => tequio_core::wire::mempool::MESSAGE_LEN_MAX + 1,
            Protocol::Want => tequio_core::wire::mempool::WANT_LEN_MAX,
        }
    }

    /// Longest response body in bytes; nothing where none is given.
    pub const fn response_max(self) -> usize {
        match self {
            Protocol::Light => 4 * MIB,
            Protocol::Work => 4 * MIB,
            Protocol::Sync => 8 * MIB,
            Protocol::Want => tequio_core::wire::mempool::MESSAGE_LEN_MAX + 1,
            Protocol::Consensus | Protocol::Mempool => 0,
        }
    }

    /// Requests of all peers together that may wait for the application's answer; of a channel,
    /// messages that may wait to be taken.
    pub(crate) const fn inbound_items_max(self) -> usize {
        match self {
            Protocol::Light => 512,
            Protocol::Work => 128,
            // A third of the largest committee cannot fill it.
            Protocol::Consensus => 32 * KIB,
            Protocol::Sync => 128,
            Protocol::Mempool => 8 * KIB,
            Protocol::Want => 128,
        }
    }

    /// Bytes of those.
    pub(crate) const fn inbound_bytes_max(self) -> usize {
        match self {
            Protocol::Light => 4 * MIB,
            Protocol::Work => 64 * MIB,
            Protocol::Consensus => 256 * MIB,
            Protocol::Sync => 128 * KIB,
            Protocol::Mempool => 32 * MIB,
            Protocol::Want => 4 * MIB,
        }
    }

    pub(crate) const fn stream_protocol(self) -> StreamProtocol {
        StreamProtocol::new(self.name())
    }
}

/// A token bucket: it holds up to `*_burst` tokens and gains `*_per_s` of them a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second.
    pub requests_per_s: f64,
    /// Requests at once after a pause.
    pub requests_burst: f64,
    /// Bytes a second, requests and responses together.
    pub bytes_per_s: f64,
    /// Bytes at once after a pause.
    pub bytes_burst: f64,
}

/// The rates that one peer is granted, per protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    table: [Rate; Protocol::COUNT],
    /// The longest that a request is held back; beyond that it is refused.
    pub delay_max: Duration,
    /// Refusals, forgotten at one every two seconds, after which the peer's connections are
    /// closed.
    pub strikes_max: u32,
    /// How long a peer that was cut off is not let in again.
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
