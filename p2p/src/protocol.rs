//! The five application protocols, their caps and their default rates.
//!
//! Members of a committee tell each other things one way, on streams of their own: [`crate::tell`]. Everything else is an
//! exchange; every exchange is one request and one response on a libp2p substream of its own (the bytes are in
//! [`crate::rpc::codec`]). This crate never looks into a body: it only refuses to move more of it than the caps allow.

use std::time::Duration;

use libp2p::StreamProtocol;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What a request is about; each has a libp2p protocol name, caps and rates of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Headers, certificates, proofs and objects for light nodes.
    Light,
    /// Leases and results of work units.
    Work,
    /// Between validators, where an answer is wanted; votes and proposals go by [`crate::Network::tell`], at this rate.
    Consensus,
    /// Blocks for nodes that catch up.
    Sync,
    /// Transactions that wait for a block.
    Mempool,
}

impl Protocol {
    /// Number of protocols.
    pub const COUNT: usize = 5;
    /// All of them, in the order of [`Protocol::index`].
    pub const ALL: [Protocol; Self::COUNT] =
        [Protocol::Light, Protocol::Work, Protocol::Consensus, Protocol::Sync, Protocol::Mempool];

    /// Position in [`Protocol::ALL`], for tables with one entry per protocol.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The libp2p protocol name.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Light => "/tequio/light/2",
            Protocol::Work => "/tequio/work/1",
            Protocol::Consensus => "/tequio/consensus/1",
            Protocol::Sync => "/tequio/sync/3",
            Protocol::Mempool => "/tequio/mempool/3",
        }
    }

    /// Longest request body in bytes.
    pub const fn request_max(self) -> usize {
        match self {
            // A light node may submit a transaction.
            Protocol::Light => tequio_core::wire::light::REQUEST_LEN_MAX,
            Protocol::Work => 4 * MIB,
            Protocol::Consensus => 4 * MIB,
            Protocol::Sync => KIB,
            Protocol::Mempool => 256 * KIB,
        }
    }

    /// Longest response body in bytes.
    pub const fn response_max(self) -> usize {
        match self {
            Protocol::Light => 4 * MIB,
            Protocol::Work => 4 * MIB,
            Protocol::Consensus => 64,
            Protocol::Sync => 8 * MIB,
            Protocol::Mempool => KIB,
        }
    }

    /// Requests of all peers together that may wait for the application's answer.
    pub(crate) const fn inbound_items_max(self) -> usize {
        match self {
            Protocol::Light => 512,
            Protocol::Work => 128,
            Protocol::Consensus => 512,
            Protocol::Sync => 128,
            Protocol::Mempool => 256,
        }
    }

    /// Bytes of those requests.
    pub(crate) const fn inbound_bytes_max(self) -> usize {
        match self {
            Protocol::Light => 4 * MIB,
            Protocol::Work => 64 * MIB,
            Protocol::Consensus => 64 * MIB,
            Protocol::Sync => 128 * KIB,
            Protocol::Mempool => 16 * MIB,
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
    /// Refusals, forgotten at one every two seconds, after which the peer's connections are closed.
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
            table: [rate(100.0, 16.0), rate(60.0, 32.0), rate(600.0, 32.0), rate(60.0, 64.0), rate(200.0, 16.0)],
            delay_max: Duration::from_secs(2),
            strikes_max: 64,
            penalty: Duration::from_secs(30),
        }
    }
}
