//! The API's listening socket, which limits the number of connections and their idle time.
//!
//! Without these limits a client without a token could use up the node's file descriptors, and
//! other nodes could not connect.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Most connections at a time. The node closes further ones; their clients may try again.
pub const CONNECTIONS_MAX: usize = 256;
/// Most connections of one address, so that no address can take all of them.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 128;
/// A connection ends after this time without a byte in either direction. Event streams send
/// keep-alive messages more often.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause after a failed accept (usually: too many open files).
const ERROR_PAUSE: Duration = Duration::from_millis(500);

/// A TCP listener with at most [`CONNECTIONS_MAX`] connections.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    permits: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The slot of a connection. Dropping it frees the slot.
#[derive(Debug)]
struct Permit {
    _of_all: OwnedSemaphorePermit,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

impl Listener {
    /// Accepts connections from this socket.
    pub fn new(inner: TcpListener) -> Self {
        Self {
            inner,
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            by_address: Arc::default(),
        }
    }

    /// A slot for a connection from this address, unless either limit is reached.
    fn permit(&self, address: IpAddr) -> Option<Permit> {
        let of_all = self.permits.clone().try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        if *count >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Permit { _of_all: of_all, by_address: self.by_address.clone(), address })
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.inner.accept().await {
                Ok((socket, addr)) => {
                    if let Some(permit) = self.permit(addr.ip()) {
                        return (Connection::new(socket, permit), addr);
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

/// A connection that fails once it has been idle for [`IDLE_TIMEOUT`].
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    idle_timer: Pin<Box<Sleep>>,
    _permit: Permit,
}

impl Connection {
    fn new(socket: TcpStream, permit: Permit) -> Self {
        Self { socket, idle_timer: Box::pin(sleep(IDLE_TIMEOUT)), _permit: permit }
    }

    /// Resets the idle timer if the operation is ready, or fails once the timer has expired.
    fn check_idle<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.idle_timer.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
            return result;
        }
        self.idle_timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.check_idle(cx, result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.check_idle(cx, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Always ready for a TCP socket, so it does not count as activity.
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
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.check_idle(cx, result)
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
    async fn connections_are_limited_and_closed_ones_make_room() {
        let mut listener = Listener::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let addr = listener.local_addr().unwrap();
        let (mut clients, mut held) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS_PER_ADDRESS_MAX {
            clients.push(TcpStream::connect(addr).await.unwrap());
            held.push(listener.accept().await.0);
        }
        let another = |last: u8| IpAddr::from([192, 0, 2, last]);
        let shares: Vec<_> = (0..CONNECTIONS_PER_ADDRESS_MAX)
            .map(|_| listener.permit(another(1)).unwrap())
            .collect();
        assert!(listener.permit(another(2)).is_none(), "all are in use");
        drop(shares);
        assert!(listener.permit(another(2)).is_some());

        let mut refused = TcpStream::connect(addr).await.unwrap();
        let accepting = tokio::spawn(async move { listener.accept().await });
        assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0, "closed at once");
        held.pop();
        let _client = TcpStream::connect(addr).await.unwrap();
        accepting.await.unwrap();
    }
}
