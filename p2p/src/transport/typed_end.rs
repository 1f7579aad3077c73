//! Gives the end of a connection an [`io::ErrorKind`], so that no code reads its text.
//!
//! [`io::ErrorKind::TimedOut`] stands for a silent peer, [`io::ErrorKind::ConnectionReset`] for a
//! connection that the peer has closed. All other errors keep their kind.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::{MapOk, Ready, TryFutureExt};
use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    core::{
        UpgradeInfo,
        muxing::{StreamMuxer, StreamMuxerEvent},
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    yamux,
};

/// An error of a muxer that can be converted to one with a specific kind.
pub trait EndError {
    fn into_io(self) -> io::Error;
}

impl EndError for yamux::Error {
    fn into_io(self) -> io::Error {
        let error = io::Error::from(self);
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        match cause {
            Some(::yamux::ConnectionError::Closed) => {
                io::Error::new(io::ErrorKind::ConnectionReset, error)
            }
            _ => error,
        }
    }
}

impl EndError for tequio_webrtc::Error {
    fn into_io(self) -> io::Error {
        use tequio_webrtc::{Closed, Error};
        match self {
            Error::Closed(Closed::TimedOut) => io::Error::new(io::ErrorKind::TimedOut, self),
            Error::Closed(Closed::ByRemote) => io::Error::new(io::ErrorKind::ConnectionReset, self),
            _ => io::Error::other(self),
        }
    }
}

/// libp2p-quic hides quinn's error, and passes on its text alone. So this is the one place that
/// compares texts: with the text of quinn's own error.
#[cfg(not(target_arch = "wasm32"))]
impl EndError for libp2p::quic::Error {
    fn into_io(self) -> io::Error {
        match &self {
            libp2p::quic::Error::Connection(cause) => {
                io::Error::new(quic_kind(&cause.to_string()), self)
            }
            _ => io::Error::other(self),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn quic_kind(text: &str) -> io::ErrorKind {
    if text == quinn::ConnectionError::TimedOut.to_string() {
        io::ErrorKind::TimedOut
    } else if text.contains(&quinn::ConnectionError::LocallyClosed.to_string()) {
        // Also quinn's texts for a close by the peer contain "closed".
        io::ErrorKind::ConnectionReset
    } else {
        io::ErrorKind::Other
    }
}

/// A muxer whose errors have a telling kind.
pub struct TypedEnd<M>(pub M);

impl<M> StreamMuxer for TypedEnd<M>
where
    M: StreamMuxer + Unpin,
    M::Error: EndError,
{
    type Substream = M::Substream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<M::Substream>> {
        Pin::new(&mut self.0).poll_inbound(cx).map_err(EndError::into_io)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<M::Substream>> {
        Pin::new(&mut self.0).poll_outbound(cx).map_err(EndError::into_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx).map_err(EndError::into_io)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.0).poll(cx).map_err(EndError::into_io)
    }
}

/// A WebSocket whose failed writes have a telling kind. A write fails only once the socket is
/// closed; libp2p's error for it is private.
#[cfg(not(target_arch = "wasm32"))]
pub struct TypedWrites<C>(pub C);

#[cfg(not(target_arch = "wasm32"))]
fn write_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => io::Error::new(io::ErrorKind::BrokenPipe, error),
        _ => error,
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<C: AsyncRead + Unpin> AsyncRead for TypedWrites<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl<C: AsyncWrite + Unpin> AsyncWrite for TypedWrites<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer).map_err(write_error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(write_error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx).map_err(write_error)
    }
}

/// yamux with [`TypedEnd`].
#[derive(Clone)]
pub struct TypedYamux(pub yamux::Config);

impl UpgradeInfo for TypedYamux {
    type Info = <yamux::Config as UpgradeInfo>::Info;
    type InfoIter = <yamux::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

type Upgraded<C> =
    MapOk<Ready<io::Result<yamux::Muxer<C>>>, fn(yamux::Muxer<C>) -> TypedEnd<yamux::Muxer<C>>>;

impl<C> InboundConnectionUpgrade<C> for TypedYamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = TypedEnd<yamux::Muxer<C>>;
    type Error = io::Error;
    type Future = Upgraded<C>;

    fn upgrade_inbound(self, io: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(io, info).map_ok(TypedEnd)
    }
}

impl<C> OutboundConnectionUpgrade<C> for TypedYamux
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = TypedEnd<yamux::Muxer<C>>;
    type Error = io::Error;
    type Future = Upgraded<C>;

    fn upgrade_outbound(self, io: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_outbound(io, info).map_ok(TypedEnd)
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn the_error_texts_of_quinn_get_their_error_kinds() {
        use quinn::ConnectionError as E;
        let close = quinn::ApplicationClose { error_code: 0u32.into(), reason: Default::default() };
        for (error, kind) in [
            (E::TimedOut, io::ErrorKind::TimedOut),
            (E::LocallyClosed, io::ErrorKind::ConnectionReset),
            (E::ApplicationClosed(close), io::ErrorKind::ConnectionReset),
            (E::Reset, io::ErrorKind::Other),
            (E::VersionMismatch, io::ErrorKind::Other),
            (E::CidsExhausted, io::ErrorKind::Other),
        ] {
            assert_eq!(quic_kind(&error.to_string()), kind, "{error}");
        }
    }
}
