//! The configuration of a transport and its default limits.

use crate::DialVersion;

/// Configuration of a transport. Every limit is per transport unless stated otherwise.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes written to SCTP but not acknowledged, over all streams of a connection. Throughput
    /// to the browser is about this much per round trip.
    pub send_buffer: usize,
    /// Connections, authenticated or not.
    pub max_connections: usize,
    /// Inbound handshakes in progress; further dialers are ignored until some finish.
    pub max_pending: usize,
    /// The same limit for one source: an IPv4 address or an IPv6 /64.
    pub max_pending_per_source: usize,
    /// Handshakes that one source may start at once.
    pub handshake_burst_per_source: u32,
    /// Handshakes per second that one source may start in the long run.
    pub handshakes_per_source_per_s: u32,
    /// Handshakes that all sources together may start at once.
    pub handshake_burst: u32,
    /// Handshakes per second that all sources together may start in the long run.
    pub handshakes_per_s: u32,
    /// Streams of the remote that may be open at once on a connection; further ones are closed on
    /// arrival.
    pub max_inbound_streams: usize,
    /// Received bytes of a connection that the application has not read yet.
    pub max_unread_per_connection: usize,
    /// The same limit over all connections.
    pub max_unread: usize,
    /// The handshake version of outbound dials.
    pub dial_version: DialVersion,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            send_buffer: 1024 * 1024,
            max_connections: 1024,
            max_pending: 128,
            max_pending_per_source: 32,
            handshake_burst_per_source: 64,
            handshakes_per_source_per_s: 8,
            handshake_burst: 256,
            handshakes_per_s: 128,
            max_inbound_streams: 512,
            max_unread_per_connection: 32 * 1024 * 1024,
            max_unread: 256 * 1024 * 1024,
            dial_version: DialVersion::default(),
        }
    }
}
