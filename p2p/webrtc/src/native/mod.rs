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
mod config;
mod demultiplexer;
mod dialer;
mod driver;
mod dtls;
mod engine;
mod ice;
mod muxer;
mod retired_ufrags;
mod routes;
mod shared;
mod socket;
mod transport;
mod window;

pub use certificate::{BadCertificate, Certificate};
pub use config::Config;
pub(crate) use ice::{Credentials, credentials, is_authentic, is_stun, username};
pub use muxer::Connection;
pub use transport::Transport;
