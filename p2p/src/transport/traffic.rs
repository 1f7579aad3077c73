//! Counts bytes in and out per transport, on the substreams of every connection.
//!
//! Relayed bytes count once, on the transport to the relay. Encryption and framing below the
//! substreams (a few per cent) are not included.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

use crate::path::TransportKind;

/// Bytes received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// Bytes since the start, per transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic([Counters; TransportKind::COUNT]);

impl Traffic {
    /// The bytes of one transport.
    pub fn of(&self, kind: TransportKind) -> Counters {
        self.0[kind.index()]
    }

    /// The bytes of all transports.
    pub fn total(&self) -> Counters {
        self.0.iter().fold(Counters::default(), |sum, c| Counters {
            received: sum.received + c.received,
            sent: sum.sent + c.sent,
        })
    }
}

#[derive(Debug, Default)]
struct AtomicCounters {
    received: AtomicU64,
    sent: AtomicU64,
}

/// The shared counters of all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrafficMeter([Arc<AtomicCounters>; TransportKind::COUNT]);

impl TrafficMeter {
    pub fn read(&self) -> Traffic {
        Traffic(std::array::from_fn(|i| Counters {
            received: self.0[i].received.load(Ordering::Relaxed),
            sent: self.0[i].sent.load(Ordering::Relaxed),
        }))
    }

    /// Wraps a connection over `kind` so that its bytes are counted.
    pub fn count(&self, kind: TransportKind, muxer: StreamMuxerBox) -> StreamMuxerBox {
        StreamMuxerBox::new(Counted { inner: muxer, counters: self.0[kind.index()].clone() })
    }
}

struct Counted<T> {
    inner: T,
    counters: Arc<AtomicCounters>,
}

impl<T> Counted<T> {
    fn wrap<S>(&self, inner: S) -> Counted<S> {
        Counted { inner, counters: self.counters.clone() }
    }
}

impl StreamMuxer for Counted<StreamMuxerBox> {
    type Substream = Counted<SubstreamBox>;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        Pin::new(&mut self.inner).poll_inbound(cx).map_ok(|s| self.wrap(s))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Self::Substream>> {
        Pin::new(&mut self.inner).poll_outbound(cx).map_ok(|s| self.wrap(s))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl AsyncRead for Counted<SubstreamBox> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(n)) = result {
            self.counters.received.fetch_add(n as u64, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Counted<SubstreamBox> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = result {
            self.counters.sent.fetch_add(n as u64, Ordering::Relaxed);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
