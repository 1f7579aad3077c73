//! The sending side: a sequence of messages, each with its length (unsigned, 32 bits,
//! little-endian) and its body.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, future::BoxFuture,
    stream::FuturesUnordered,
};
use libp2p::swarm::ConnectionId;

use super::send_queue::{BATCH_BYTES, HEADER_LEN, SendQueue};
use crate::timer::Delay;

/// Pause before a stream is reopened that has ended or that the peer has refused; it doubles each
/// time, up to 2^6.
const REOPEN_DELAY: Duration = Duration::from_millis(50);
const REOPEN_DOUBLINGS_MAX: u32 = 6;

/// The state of a connection's stream.
enum StreamState {
    Idle,
    Opening,
    /// Holds one future, which is polled only when it is woken.
    Open(FuturesUnordered<BoxFuture<'static, bool>>),
    Backoff(Delay),
}

/// Maintains the stream of one connection: opens it when there are messages to send, and again
/// after it has ended.
pub struct Writer {
    connection: ConnectionId,
    queue: Arc<SendQueue>,
    state: StreamState,
    failures: u32,
}

impl Writer {
    pub fn new(connection: ConnectionId, queue: Arc<SendQueue>) -> Self {
        Self { connection, queue, state: StreamState::Idle, failures: 0 }
    }

    /// Ready when a stream must be opened.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                StreamState::Opening => return Poll::Pending,
                StreamState::Idle => {
                    if !self.queue.poll_has_messages(self.connection, cx) {
                        return Poll::Pending;
                    }
                    self.state = StreamState::Opening;
                    return Poll::Ready(());
                }
                StreamState::Open(carrying) => {
                    if futures::ready!(carrying.poll_next_unpin(cx)) == Some(true) {
                        self.failures = 0;
                    }
                    self.failed();
                }
                StreamState::Backoff(delay) => {
                    futures::ready!(delay.poll_unpin(cx));
                    self.state = StreamState::Idle;
                }
            }
        }
    }

    pub fn opened(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.state = StreamState::Open(
            [write_messages(stream, self.queue.clone(), self.connection).boxed()]
                .into_iter()
                .collect(),
        );
    }

    pub fn failed(&mut self) {
        self.state = StreamState::Backoff(Delay::new(REOPEN_DELAY * (1 << self.failures)));
        self.failures = (self.failures + 1).min(REOPEN_DOUBLINGS_MAX);
    }
}

/// Sends messages until the stream ends or another connection becomes active. Returns whether the
/// peer has accepted the stream.
async fn write_messages<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    queue: Arc<SendQueue>,
    connection: ConnectionId,
) -> bool {
    let mut was_of_use = false;
    let mut frames = Vec::with_capacity(BATCH_BYTES);
    loop {
        let batch = poll_fn(|cx| {
            // The peer sends nothing on this stream: a byte or an end of stream ends it. An unknown
            // protocol shows here, too.
            if Pin::new(&mut stream).poll_read(cx, &mut [0]).is_ready() {
                return Poll::Ready(None);
            }
            queue.poll_batch(connection, cx)
        });
        let Some(batch) = batch.await else {
            let _ = stream.close().await;
            return was_of_use;
        };
        if let Err(error) = write_batch(&mut stream, &batch, &mut frames).await {
            tracing::debug!(%error, "the notification stream failed");
            return was_of_use;
        }
        was_of_use = true;
    }
}

async fn write_batch<S: AsyncWrite + Unpin>(
    stream: &mut S,
    batch: &[Arc<[u8]>],
    frames: &mut Vec<u8>,
) -> io::Result<()> {
    let is_large = |body: &[u8]| HEADER_LEN + body.len() > BATCH_BYTES;
    frames.clear();
    for body in batch {
        frames.extend(u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes());
        // A large message is sent alone and not copied. Smaller ones of a batch form one frame of
        // the muxer.
        if !is_large(body) {
            frames.extend_from_slice(body);
        }
    }
    stream.write_all(frames).await?;
    if let [body] = batch
        && is_large(body)
    {
        stream.write_all(body).await?;
    }
    stream.flush().await
}
