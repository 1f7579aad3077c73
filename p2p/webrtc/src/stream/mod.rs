//! One libp2p stream over one data channel, without I/O.
//!
//! [`Core`] is the state both ends of the plumbing share: the [`Stream`] handle the application
//! holds, and the driver (a tokio task, or browser callbacks) that moves frames between the core
//! and the data channel. An [`Outlet`] tells the driver that a core has something to send.
//!
//! # Flow control
//!
//! Neither a browser's `RTCDataChannel` nor str0m can stop the remote: received messages are
//! pushed at us whether anyone reads or not. So the receiver grants credit, as QUIC does
//! (RFC 9000, section 4): a stream starts with the window announced on channel 0 (between browsers,
//! which have none, in the session description) and
//! `Frame::window` raises the limit as the application reads. Peers that announce no window
//! (js-libp2p, go-libp2p) get none and send unlimited; for them unread data is capped and the
//! stream is reset beyond the cap.

mod core;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "wasm32")]
pub use self::core::RECV_WINDOW;
pub use self::core::{Core, SharedCore, lock};

use futures::{AsyncRead, AsyncWrite};
use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Wakes whoever moves a core's frames to its data channel.
pub trait Outlet: Send + Sync {
    /// The core has frames to send, or its handle was dropped.
    fn kick(&self);
}

/// A libp2p stream: ordered, reliable bytes both ways, each side closed on its own.
///
/// Dropping it without closing resets our side and asks the remote to stop sending.
pub struct Stream {
    core: SharedCore,
    outlet: Arc<dyn Outlet>,
}

impl Stream {
    pub(crate) fn new(core: SharedCore, outlet: Arc<dyn Outlet>) -> Self {
        Self { core, outlet }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (result, kick) = lock(&self.core).poll_read(cx, buf);
        if kick {
            self.outlet.kick();
        }
        result
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = lock(&self.core).poll_write(cx, data);
        if result.is_ready() {
            self.outlet.kick();
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.core).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let started = lock(&self.core).start_close();
        if started {
            self.outlet.kick();
        }
        // An error here only says that the remote closed the channel behind our FIN.
        lock(&self.core).poll_flush(cx).map(|_| Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.core).drop_handle();
        self.outlet.kick();
    }
}
