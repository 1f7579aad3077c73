//! An authenticated connection for libp2p: a `StreamMuxer` that sends commands to a driver.

use super::channels::Command;
use crate::{Closed, Error, Stream};
use futures::FutureExt;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};
use tokio::sync::{mpsc, oneshot};

/// An authenticated connection. Closes when dropped.
pub struct Connection {
    commands: mpsc::UnboundedSender<Command>,
    inbound: mpsc::Receiver<Stream>,
    opening: Option<oneshot::Receiver<Stream>>,
    reason: Arc<OnceLock<Closed>>,
}

impl Connection {
    pub(super) fn new(
        commands: mpsc::UnboundedSender<Command>,
        inbound: mpsc::Receiver<Stream>,
        reason: Arc<OnceLock<Closed>>,
    ) -> Self {
        Self { commands, inbound, opening: None, reason }
    }

    /// The reason why the driver ended.
    fn lost(&self) -> Error {
        self.reason.get().copied().unwrap_or(Closed::Lost).into()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("closed", &self.reason.get()).finish_non_exhaustive()
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        let stream = ready!(self.inbound.poll_recv(cx));
        Poll::Ready(stream.ok_or_else(|| self.lost()))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, Error>> {
        let mut opening = match self.opening.take() {
            Some(opening) => opening,
            None => {
                let (reply, opening) = oneshot::channel();
                self.commands.send(Command::Open(reply)).map_err(|_| self.lost())?;
                opening
            }
        };
        match opening.poll_unpin(cx) {
            Poll::Pending => {
                self.opening = Some(opening);
                Poll::Pending
            }
            Poll::Ready(stream) => Poll::Ready(stream.map_err(|_| self.lost())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let _ = self.commands.send(Command::Close);
        // The loop ends when the driver does.
        while let Some(stream) = ready!(self.inbound.poll_recv(cx)) {
            drop(stream);
        }
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Error>> {
        Poll::Pending
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Close);
    }
}
