//! A WebSocket that is closed only once it has opened.
//!
//! A browser logs an error in the console when a page closes a socket that is still connecting, and
//! no page can prevent that. So a cancelled dial lets its socket open, sends nothing that
//! identifies this node, and closes.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, future::select};
use futures_timer::Delay;

use super::CONNECT_TIMEOUT;

/// A socket whose close waits until it has opened, see the module's documentation.
pub struct DeferredClose<C: AsyncWrite + Unpin + 'static> {
    /// `None` only while this is dropped.
    inner: Option<C>,
    is_open: bool,
}

impl<C: AsyncWrite + Unpin + 'static> DeferredClose<C> {
    pub fn new(inner: C) -> Self {
        Self { inner: Some(inner), is_open: false }
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

    /// Polls an operation that is ready only once the socket has opened or failed.
    fn poll_opening<T>(
        &mut self,
        act: impl FnOnce(Pin<&mut C>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let done = self.poll(act);
        self.is_open |= done.is_ready();
        done
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> AsyncRead for DeferredClose<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_opening(|inner| inner.poll_read(cx, buffer))
    }
}

impl<C: AsyncWrite + Unpin + 'static> AsyncWrite for DeferredClose<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_opening(|inner| inner.poll_write(cx, buffer))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|inner| inner.poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|inner| inner.poll_close(cx))
    }
}

impl<C: AsyncWrite + Unpin + 'static> Drop for DeferredClose<C> {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take().filter(|_| !self.is_open) else { return };
        wasm_bindgen_futures::spawn_local(async move {
            // An empty write is ready when the socket is open.
            let opened = poll_fn(|cx| Pin::new(&mut inner).poll_write(cx, &[]));
            select(opened, Delay::new(CONNECT_TIMEOUT)).await;
        });
    }
}
