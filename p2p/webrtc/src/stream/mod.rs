//! One libp2p stream over one data channel, without I/O.
//!
//! [`Core`] is the state shared by the [`Stream`] handle of the application and the driver (a tokio
//! task, or browser callbacks), which moves frames between the core and the data channel. A
//! [`DriverWaker`] wakes the driver when a core has frames to send.
//!
//! # Flow control
//!
//! Neither a browser's `RTCDataChannel` nor str0m can stop the remote: received messages arrive
//! whether the application reads or not. So the receiver grants credit, as QUIC does (RFC 9000,
//! section 4). A stream starts with the window announced on channel 0 (between browsers, which have
//! no channel 0, in the session description), and `Frame::window` raises the limit as the
//! application reads. Peers that announce no window (js-libp2p, go-libp2p) get none and send
//! without limit; for them unread data is capped, and the stream is reset beyond the cap.

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

/// Wakes the driver that moves a core's frames to its data channel.
pub trait DriverWaker: Send + Sync {
    /// Signals that the core has frames to send, or that its handle was dropped.
    fn wake(&self);
}

/// A libp2p stream: ordered, reliable bytes in both directions, each side closed separately.
///
/// Dropping it without closing resets the local side and asks the remote to stop sending.
pub struct Stream {
    core: SharedCore,
    waker: Arc<dyn DriverWaker>,
}

impl Stream {
    pub(crate) fn new(core: SharedCore, waker: Arc<dyn DriverWaker>) -> Self {
        Self { core, waker }
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
        let (result, must_wake) = lock(&self.core).poll_read(cx, buf);
        if must_wake {
            self.waker.wake();
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
            self.waker.wake();
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.core).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let started = lock(&self.core).start_close();
        if started {
            self.waker.wake();
        }
        // An error here only means that the remote closed the channel after our FIN.
        lock(&self.core).poll_flush(cx).map(|_| Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.core).drop_handle();
        self.waker.wake();
    }
}
