//! The receiving side. The length is checked before anything is allocated. The message then waits
//! for shares of the peer's and of the common budget. Until both have room nothing more is read, so
//! the peer's own queue fills and not this node's memory.

use std::{io, sync::Arc, time::Duration};

use futures::{
    AsyncRead, AsyncReadExt,
    future::{Either, select},
    io::BufReader,
};
use tequio_core::types::NodeId;
use web_time::Instant;

use super::{router::NotificationRouter, send_queue::BATCH_BYTES};
use crate::{
    event::MemoryPermit,
    protocol::NotificationProtocol,
    protocols::{
        body::read_body,
        peer_limits::{PeerLimits, RateDecision},
    },
    timer::Delay,
};

/// Time limit for a message after its length has arrived: the message holds its budget shares from
/// then on. The limit is short for messages that any peer may send.
const fn transfer_timeout(channel: NotificationProtocol) -> Duration {
    match channel {
        NotificationProtocol::Consensus => Duration::from_secs(60),
        NotificationProtocol::Mempool => Duration::from_secs(10),
    }
}

/// The reason why reading a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer exceeded the limits and must be disconnected.
    #[error("the peer exceeds its rate limit")]
    Flooding,
    #[error("a message of {len} bytes, where 1 to {len_max} are allowed")]
    InvalidLength { len: usize, len_max: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the local receiver of messages is closed")]
    ReceiverClosed,
}

/// Reads messages until the stream ends.
pub async fn read(
    stream: impl AsyncRead + Unpin,
    channel: NotificationProtocol,
    peer: NodeId,
    limits: Arc<PeerLimits>,
    router: Arc<NotificationRouter>,
) -> ReadError {
    match read_all(stream, channel, peer, &limits, &router).await {
        Ok(never) => match never {},
        // Rates slow a stream down; behaviour that no correct peer shows counts as a strike.
        Err(ReadError::InvalidLength { len, .. }) if limits.strike(Instant::now()) => {
            tracing::debug!(len, "the peer sent too many messages above the length limit");
            ReadError::Flooding
        }
        Err(end) => end,
    }
}

async fn read_all(
    stream: impl AsyncRead + Unpin,
    channel: NotificationProtocol,
    peer: NodeId,
    limits: &PeerLimits,
    router: &NotificationRouter,
) -> Result<std::convert::Infallible, ReadError> {
    let (protocol, len_max) = (channel.protocol(), channel.len_max());
    let mut stream = BufReader::with_capacity(BATCH_BYTES, stream);
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len).await?;
        let len = usize::try_from(u32::from_le_bytes(len)).map_err(io::Error::other)?;
        if len == 0 || len > len_max {
            return Err(ReadError::InvalidLength { len, len_max });
        }
        match limits.admit(protocol, Instant::now()) {
            RateDecision::Allow => {}
            RateDecision::Delay(delay) => Delay::new(delay).await,
            RateDecision::Reject | RateDecision::Disconnect => return Err(ReadError::Flooding),
        }
        let share = MemoryPermit {
            _peer: limits.unread_notifications(channel).acquire(len).await,
            _all: router.unread_budget(channel, &peer).acquire(len).await,
        };
        let body = match select(
            std::pin::pin!(read_body(&mut stream, len)),
            Delay::new(transfer_timeout(channel)),
        )
        .await
        {
            Either::Left((body, _)) => body?,
            Either::Right(_) => return Err(ReadError::Io(io::ErrorKind::TimedOut.into())),
        };
        limits.charge(protocol, len, Instant::now());
        if !router.deliver(channel, peer, body, share) {
            return Err(ReadError::ReceiverClosed);
        }
    }
}
