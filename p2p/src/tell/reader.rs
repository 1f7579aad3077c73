//! The receiving side. A length is judged before anything is allocated; then the message gets its
//! share of the peer's and of the common budget, and until both have room nothing more is read, so
//! the peer's own queue fills and not our memory.

use std::{io, sync::Arc, time::Duration};

use futures::{
    AsyncRead, AsyncReadExt,
    future::{Either, select},
    io::BufReader,
};
use tequio_core::types::NodeId;
use web_time::Instant;

use super::{BATCH_BYTES, Hub};
use crate::{
    event::Share,
    protocol::Channel,
    rpc::{
        codec::read_body,
        limits::{PeerLimits, Verdict},
    },
    timer::Delay,
};

/// For a message to arrive once its length is there: it holds its shares from then on. One that
/// strangers may send is short.
const fn transfer_timeout(channel: Channel) -> Duration {
    match channel {
        Channel::Consensus => Duration::from_secs(60),
        Channel::Mempool => Duration::from_secs(10),
    }
}

/// Why nothing more is read from a stream.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The peer is to be cut off.
    #[error("the peer floods")]
    Flooding,
    #[error("a message of {len} bytes, where 1 to {len_max} are allowed")]
    Length { len: usize, len_max: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("nobody listens")]
    Abandoned,
}

/// Reads messages until the stream ends.
pub async fn read(
    stream: impl AsyncRead + Unpin,
    channel: Channel,
    peer: NodeId,
    limits: Arc<PeerLimits>,
    hub: Arc<Hub>,
) -> End {
    match read_all(stream, channel, peer, &limits, &hub).await {
        Ok(never) => match never {},
        // Rates slow a stream down; what no correct peer does counts against it.
        Err(End::Length { len, .. }) if limits.strike(Instant::now()) => {
            tracing::debug!(len, "a length beyond the limit once too often");
            End::Flooding
        }
        Err(end) => end,
    }
}

async fn read_all(
    stream: impl AsyncRead + Unpin,
    channel: Channel,
    peer: NodeId,
    limits: &PeerLimits,
    hub: &Hub,
) -> Result<std::convert::Infallible, End> {
    let (protocol, len_max) = (channel.protocol(), channel.len_max());
    let mut stream = BufReader::with_capacity(BATCH_BYTES, stream);
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len).await?;
        let len = usize::try_from(u32::from_le_bytes(len)).map_err(io::Error::other)?;
        if len == 0 || len > len_max {
            return Err(End::Length { len, len_max });
        }
        match limits.admit(protocol, Instant::now()) {
            Verdict::Go => {}
            Verdict::Wait(delay) => Delay::new(delay).await,
            Verdict::Refuse | Verdict::CutOff => return Err(End::Flooding),
        }
        let share = Share {
            _peer: limits.told(channel).wait(len).await,
            _all: hub.waiting(channel, &peer).wait(len).await,
        };
        let body = match select(
            std::pin::pin!(read_body(&mut stream, len)),
            Delay::new(transfer_timeout(channel)),
        )
        .await
        {
            Either::Left((body, _)) => body?,
            Either::Right(_) => return Err(End::Io(io::ErrorKind::TimedOut.into())),
        };
        limits.charge(protocol, len, Instant::now());
        if !hub.hand_over(channel, peer, body, share) {
            return Err(End::Abandoned);
        }
    }
}
