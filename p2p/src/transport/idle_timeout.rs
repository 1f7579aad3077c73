//! A byte stream that fails when the remote has been silent for too long.
//!
//! TCP itself detects a dead peer after many minutes. Peers ping each other every few seconds, so a
//! live peer sends at least that often. Any byte counts, not only the answer to a ping, which may
//! wait for long behind a large message on a slow line.
//!
//! QUIC and WebRTC have an idle timeout of the same length themselves.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, FutureExt};
use web_time::Instant;

use crate::timer::Delay;

/// A peer that has sent nothing for this long counts as gone.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(9);

/// A stream with an idle timeout, see the module's documentation.
pub struct IdleTimeout<C> {
    inner: C,
    last_read: Instant,
    timer: Delay,
    timeout: Duration,
}

impl<C> IdleTimeout<C> {
    pub fn new(inner: C) -> Self {
        Self::with_timeout(inner, IDLE_TIMEOUT)
    }

    fn with_timeout(inner: C, max: Duration) -> Self {
        Self { inner, last_read: Instant::now(), timer: Delay::new(max), timeout: max }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for IdleTimeout<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, buffer) {
            self.last_read = Instant::now();
            return Poll::Ready(read);
        }
        // Received bytes do not reset the timer: when it fires, it checks the time of the last
        // read.
        while self.timer.poll_unpin(cx).is_ready() {
            let left = self.timeout.saturating_sub(self.last_read.elapsed());
            if left.is_zero() {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer fell silent",
                )));
            }
            self.timer.reset(left);
        }
        Poll::Pending
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use futures::{AsyncReadExt, TryStreamExt, channel::mpsc};

    use super::*;

    /// Reads what is sent into the channel; discards writes.
    struct Pipe<R>(R);

    impl<R: AsyncRead + Unpin> AsyncRead for Pipe<R> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    #[tokio::test]
    async fn silence_ends_the_connection_and_occasional_bytes_keep_it() {
        let max = Duration::from_millis(200);
        let (far, near) = mpsc::unbounded::<io::Result<[u8; 1]>>();
        let mut near = IdleTimeout::with_timeout(Pipe(near.into_async_read()), max);
        let began = Instant::now();
        for _ in 0..5 {
            Delay::new(max / 2).await;
            far.unbounded_send(Ok([1])).unwrap();
            near.read_exact(&mut [0]).await.unwrap();
        }
        let error = near.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= max / 2 * 5 + max / 2, "{:?}", began.elapsed());
        drop(far);
    }
}
