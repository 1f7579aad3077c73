//! The receiving side. A length is judged before anything is allocated; then the message gets its share of the peer's and
//! of the common budget, and until both have room nothing more is read, so the peer's own queue fills and not our memory.

use std::{io, sync::Arc, time::Duration};

use futures::{
    AsyncRead, AsyncReadExt,
    future::{Either, select},
    io::BufReader,
};
use futures_timer::Delay;
use tequio_core::types::NodeId;
use web_time::Instant;

use super::{BATCH_BYTES, Hub, LEN_MAX};
use crate::{
    event::{Share, Told},
    protocol::Protocol,
    rpc::{
        codec::read_body,
        limits::{PeerLimits, Verdict},
    },
};

/// For a message to arrive once its length is there: it holds its shares from then on.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60);

/// Why nothing more is read from a stream.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The peer is to be cut off.
    #[error("the peer floods")]
    Flooding,
    #[error("a message of {0} bytes, where 1 to {LEN_MAX} are allowed")]
    Length(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("nobody listens")]
    Abandoned,
}

/// Reads messages until the stream ends.
pub async fn read(stream: impl AsyncRead + Unpin, peer: NodeId, limits: Arc<PeerLimits>, hub: Arc<Hub>) -> End {
    match read_all(stream, peer, &limits, &hub).await {
        Ok(never) => match never {},
        // Rates slow a stream down; what no correct peer does counts against it.
        Err(End::Length(len)) if limits.strike(Instant::now()) => {
            tracing::debug!(len, "a length beyond the limit once too often");
            End::Flooding
        }
        Err(end) => end,
    }
}

async fn read_all(
    stream: impl AsyncRead + Unpin,
    peer: NodeId,
    limits: &PeerLimits,
    hub: &Hub,
) -> Result<std::convert::Infallible, End> {
    let mut stream = BufReader::with_capacity(BATCH_BYTES, stream);
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len).await?;
        let len = usize::try_from(u32::from_le_bytes(len)).map_err(io::Error::other)?;
        if len == 0 || len > LEN_MAX {
            return Err(End::Length(len));
        }
        match limits.admit(Protocol::Consensus, Instant::now()) {
            Verdict::Go => {}
            Verdict::Wait(delay) => Delay::new(delay).await,
            Verdict::Refuse | Verdict::CutOff => return Err(End::Flooding),
        }
        let share = Share { _peer: limits.told.wait(len).await, _all: hub.waiting.wait(len).await };
        let body = match select(std::pin::pin!(read_body(&mut stream, len)), Delay::new(TRANSFER_TIMEOUT)).await {
            Either::Left((body, _)) => body?,
            Either::Right(_) => return Err(End::Io(io::ErrorKind::TimedOut.into())),
        };
        limits.charge(Protocol::Consensus, len, Instant::now());
        hub.told.unbounded_send(Told { peer, body, share }).map_err(|_| End::Abandoned)?;
    }
}
