//! The native side: a libp2p `Transport` that listens on and dials `/webrtc-direct` with str0m.
//!
//! There is one UDP socket per listener. Its [`demultiplexer`] delivers each datagram to the
//! [`driver`] of its connection. A driver is a task that owns one `str0m::Rtc` and sends on the
//! [`socket`] itself. A [`dialer`] has a socket of its own and the same driver.
//!
//! ```text
//! socket ─► demultiplexer ─(routes)─► driver ◄─► channels ◄─► stream cores ◄─► muxer ─► libp2p
//!                └─(admission)─► transport: an incoming connection
//! ```
//!
//! A dialer passes through these states at a listener; each has less time, and more memory, than
//! the one before:
//!
//! ```text
//! nothing ──valid STUN, admitted──► half open ──DTLS──► unauthenticated ──Noise──► open
//!                                   │ 4 s               │ 15 s                     │ 9 s silent
//!                                   └───────────────────┴──────────────────────────┴──► gone
//! ```
//!
//! An ended connection is not created again: its ufrag is stored ([`retired_ufrags`]), and a dialer
//! that continues to use it gets no answer.

mod admission;
mod certificate;
mod channels;
mod demultiplexer;
mod dialer;
mod driver;
mod dtls;
mod ice;
mod muxer;
mod retired_ufrags;
mod routes;
mod socket;
mod transport;
mod window;

pub use certificate::{BadCertificate, Certificate};
pub(crate) use ice::{Credentials, credentials, is_authentic, is_stun, username};
pub use muxer::Connection;
pub use transport::Transport;

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
