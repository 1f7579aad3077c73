//! A WebSocket that is given up only once it has opened.
//!
//! A browser writes an error into the console when a page closes a socket that is still connecting,
//! and no page can prevent that. So a dial that has become superfluous lets its socket open, sends
//! nothing that tells of us, and closes.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, future::select};
use futures_timer::Delay;

use super::CONNECT_TIMEOUT;

/// See the module's documentation.
pub struct Quiet<C: AsyncWrite + Unpin + 'static> {
    /// Taken when dropped.
    inner: Option<C>,
    is_settled: bool,
}

impl<C: AsyncWrite + Unpin + 'static> Quiet<C> {
    pub fn new(inner: C) -> Self {
        Self { inner: Some(inner), is_settled: false }
    }

    fn poll<T>(
        &mut self,
        act: impl FnOnce(Pin<&mut C>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        act(Pin::new(inner))
    }

    /// For what is ready only once the socket has opened or failed.
    fn settling<T>(
        &mut self,
        act: impl FnOnce(Pin<&mut C>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let done = self.poll(act);
        self.is_settled |= done.is_ready();
        done
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> AsyncRead for Quiet<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.settling(|inner| inner.poll_read(cx, buffer))
    }
}

impl<C: AsyncWrite + Unpin + 'static> AsyncWrite for Quiet<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.settling(|inner| inner.poll_write(cx, buffer))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|inner| inner.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|inner| inner.poll_close(cx))
    }
}

impl<C: AsyncWrite + Unpin + 'static> Drop for Quiet<C> {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take().filter(|_| !self.is_settled) else { return };
        wasm_bindgen_futures::spawn_local(async move {
            // An empty write is ready when the socket is open.
            let opened = poll_fn(|cx| Pin::new(&mut inner).poll_write(cx, &[]));
            select(opened, Delay::new(CONNECT_TIMEOUT)).await;
        });
    }
}
