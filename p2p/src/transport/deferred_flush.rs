//! A byte stream that defers a flush while more is being written.
//!
//! yamux flushes after each frame. Noise would therefore encrypt the protocol's name, the length,
//! the body and the end of one request as four messages, and the stream below would send them
//! apart. In a data channel, in a WebSocket and at a relay a message costs far more than its bytes:
//! it is an event on the page's thread, and a packet. With a deferred flush, all that a connection
//! writes in one poll of its task leaves together.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt, future::BoxFuture};
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    noise,
};

/// A stream whose first flush after a write waits for the next poll of the task.
pub struct DeferredFlush<C> {
    inner: C,
    /// Data was written since the last request for a flush.
    is_written: bool,
}

impl<C> DeferredFlush<C> {
    fn new(inner: C) -> Self {
        Self { inner, is_written: false }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for DeferredFlush<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for DeferredFlush<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buffer);
        self.is_written |= written.is_ready();
        written
    }

    /// Defers the first flush after a write until the task is polled again, because the task may
    /// write more in this poll.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// Noise whose output is a [`DeferredFlush`].
#[derive(Clone)]
pub struct DeferredFlushNoise(pub noise::Config);

type Output<T> = (PeerId, DeferredFlush<noise::Output<T>>);

fn deferred<T>((peer, output): (PeerId, noise::Output<T>)) -> Output<T> {
    (peer, DeferredFlush::new(output))
}

impl UpgradeInfo for DeferredFlushNoise {
    type Info = <noise::Config as UpgradeInfo>::Info;
    type InfoIter = <noise::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<T>
    for DeferredFlushNoise
{
    type Output = Output<T>;
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: T, info: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(stream, info).map_ok(deferred).boxed()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<T>
    for DeferredFlushNoise
{
    type Output = Output<T>;
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: T, info: Self::Info) -> Self::Future {
        self.0.upgrade_outbound(stream, info).map_ok(deferred).boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncWriteExt, executor::block_on, task::noop_waker};

    use super::*;

    /// Counts bytes and flushes.
    #[derive(Default)]
    struct Sink {
        bytes: usize,
        flushes: usize,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.bytes += buffer.len();
            Poll::Ready(Ok(buffer.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    /// As yamux: in one poll a frame, a flush, the next frame, and so on; in the next poll a flush.
    #[test]
    fn writes_of_one_poll_are_flushed_once() {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut stream = DeferredFlush::new(Sink::default());
        for _ in 0..4 {
            assert!(Pin::new(&mut stream).poll_write(&mut cx, b"frame").is_ready());
            assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
        }
        assert_eq!(stream.inner.flushes, 0);
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
        assert_eq!((stream.inner.bytes, stream.inner.flushes), (20, 1));
    }

    #[test]
    fn a_task_that_waits_for_a_flush_is_woken() {
        let mut stream = DeferredFlush::new(Sink::default());
        block_on(async {
            stream.write_all(b"frame").await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(stream.inner.flushes, 1);
    }
}
