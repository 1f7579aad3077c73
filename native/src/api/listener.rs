//! The API's socket: how many connections it has at once, and how long one may be silent.
//!
//! Without these bounds whoever reaches the port, without the token, could take all open files that
//! the node has, and other nodes could not connect any more.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections at once; one more is closed, and its client may try again.
pub const CONNECTIONS_MAX: usize = 256;
/// A connection ends after as long without a byte in either direction. Streams of events write more
/// often.
pub const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Pause after a failed accept (usually: too many open files).
const ERROR_PAUSE: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    room: Arc<Semaphore>,
}

impl Listener {
    /// Serves on this socket.
    pub fn new(inner: TcpListener) -> Self {
        Self { inner, room: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((socket, addr)) => {
                    if let Ok(place) = self.room.clone().try_acquire_owned() {
                        return (Connection::new(socket, place), addr);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "accept");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that ends when it has been silent for too long.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    silent: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(socket: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self { socket, silent: Box::pin(sleep(SILENCE_MAX)), _place: place }
    }

    /// Notes that bytes have moved, or fails where none have for too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.silent.as_mut().reset(Instant::now() + SILENCE_MAX);
            return moved;
        }
        self.silent.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.watched(cx, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watched(cx, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Does nothing for a socket, so it says nothing about the client.
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.watched(cx, moved)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::serve::Listener as _;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn connections_are_bounded_and_a_closed_one_makes_room() {
        let mut listener = Listener::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let addr = listener.local_addr().unwrap();
        let (mut clients, mut held) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS_MAX {
            clients.push(TcpStream::connect(addr).await.unwrap());
            held.push(listener.accept().await.0);
        }
        let mut refused = TcpStream::connect(addr).await.unwrap();
        let accepting = tokio::spawn(async move { listener.accept().await });
        assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
        held.pop();
        let _client = TcpStream::connect(addr).await.unwrap();
        accepting.await.unwrap();
    }
}
