//! The sending side: length (unsigned, 32 bits, little-endian) and body of one message after the
//! other.

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

use super::{BATCH_BYTES, Outlet};
use crate::timer::Delay;

pub const HEAD_LEN: usize = 4;
/// Before a stream that has ended, or that the peer does not take, is opened again; doubled each
/// time, up to 2^6.
const REOPEN: Duration = Duration::from_millis(50);
const REOPEN_DOUBLINGS_MAX: u32 = 6;

/// Where the stream of a connection stands.
enum Course {
    Idle,
    Opening,
    /// One future, looked at only when it is woken.
    Open(FuturesUnordered<BoxFuture<'static, bool>>),
    Waiting(Delay),
}

/// Keeps the stream of one connection: opened when there is something to carry, and again after it
/// has ended.
pub struct Writer {
    connection: ConnectionId,
    outlet: Arc<Outlet>,
    course: Course,
    failures: u32,
}

impl Writer {
    pub fn new(connection: ConnectionId, outlet: Arc<Outlet>) -> Self {
        Self { connection, outlet, course: Course::Idle, failures: 0 }
    }

    /// Ready when a stream is to be opened.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.course {
                Course::Opening => return Poll::Pending,
                Course::Idle => {
                    if !self.outlet.poll_wanted(self.connection, cx) {
                        return Poll::Pending;
                    }
                    self.course = Course::Opening;
                    return Poll::Ready(());
                }
                Course::Open(carrying) => {
                    if futures::ready!(carrying.poll_next_unpin(cx)) == Some(true) {
                        self.failures = 0;
                    }
                    self.failed();
                }
                Course::Waiting(delay) => {
                    futures::ready!(delay.poll_unpin(cx));
                    self.course = Course::Idle;
                }
            }
        }
    }

    pub fn opened(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.course = Course::Open(
            [carry(stream, self.outlet.clone(), self.connection).boxed()].into_iter().collect(),
        );
    }

    pub fn failed(&mut self) {
        self.course = Course::Waiting(Delay::new(REOPEN * (1 << self.failures)));
        self.failures = (self.failures + 1).min(REOPEN_DOUBLINGS_MAX);
    }
}

/// Carries messages until the stream ends, or another connection is to do it. Whether the peer has
/// taken the stream.
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    outlet: Arc<Outlet>,
    connection: ConnectionId,
) -> bool {
    let mut was_of_use = false;
    let mut frames = Vec::with_capacity(BATCH_BYTES);
    loop {
        let batch = poll_fn(|cx| {
            // The peer says nothing: a byte or an end is the end. An unknown protocol shows here,
            // too.
            if Pin::new(&mut stream).poll_read(cx, &mut [0]).is_ready() {
                return Poll::Ready(None);
            }
            outlet.poll_batch(connection, cx)
        });
        let Some(batch) = batch.await else {
            let _ = stream.close().await;
            return was_of_use;
        };
        if let Err(error) = write(&mut stream, &batch, &mut frames).await {
            tracing::debug!(%error, "the stream of messages broke");
            return was_of_use;
        }
        was_of_use = true;
    }
}

async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    batch: &[Arc<[u8]>],
    frames: &mut Vec<u8>,
) -> io::Result<()> {
    let is_large = |body: &[u8]| HEAD_LEN + body.len() > BATCH_BYTES;
    frames.clear();
    for body in batch {
        frames.extend(u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes());
        // A large one comes alone, and is not copied; of the others, what goes out together is one
        // frame of the muxer.
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
