//! A UDP socket that moves many datagrams in one system call, where the system supports it:
//! segmentation offload when sending (UDP GSO), several messages and receive offload when receiving
//! (`recvmmsg`, UDP GRO).
//!
//! With one call per datagram, system time took a third of a bulk transfer.

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    time::Instant,
};
use tokio::{io::Interest, net::UdpSocket};

/// Longest datagram that is read; WebRTC stays below the usual MTU of 1500.
pub const DATAGRAM_MAX: usize = 2048;
/// The system's default of some 200 KiB holds only a few milliseconds of a fast upload.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// Room for one received message: one datagram, or several that the system has joined.
const MESSAGE_MAX: usize = 64 * 1024;
/// Limit of one send call: the largest payload of a UDP datagram over IPv6, which the system then
/// segments.
const SEND_MAX: usize = 65_527 - 40;

/// The UDP socket, see the module's documentation.
#[derive(Debug)]
pub struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// Bound to all interfaces: an answer must state its local address.
    is_unspecified: bool,
}

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The address of the sender.
    pub source: SocketAddr,
    /// The local address that it was sent to, where the socket has several and the system reports
    /// it.
    pub local: Option<IpAddr>,
    /// The time when the call returned.
    pub at: Instant,
    /// The payload.
    pub data: &'a [u8],
}

impl Socket {
    /// Binds a socket with room for bursts.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        use socket2::{Domain, Type};
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        let io = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&io).into())?;
        Ok(Self { io, state, is_unspecified: addr.ip().is_unspecified() })
    }

    /// The address of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Sends datagrams to one destination and empties the batch. Datagrams that the system refuses
    /// are lost, as they may be in the network.
    pub async fn send(&self, batch: &mut Batch, destination: SocketAddr, from: Option<IpAddr>) {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: &batch.bytes,
            segment_size: (batch.bytes.len() > batch.segment).then_some(batch.segment),
            src_ip: from.filter(|_| self.is_unspecified),
        };
        let send = || self.state.try_send((&self.io).into(), &transmit);
        if let Err(error) = self.io.async_io(Interest::WRITABLE, send).await {
            tracing::debug!(%error, "sendmsg");
        }
        batch.clear();
    }

    /// Number of datagrams that fit into one call.
    fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Waits for datagrams and passes each one of a call to the handler.
    pub async fn receive(
        &self,
        buffers: &mut Buffers,
        mut each: impl FnMut(Received<'_>),
    ) -> io::Result<()> {
        let Buffers { bytes, metas } = buffers;
        let read = || {
            let mut messages = bytes.chunks_exact_mut(MESSAGE_MAX);
            // One slice for each buffer, in the array that the call requires.
            let mut slices = std::array::from_fn::<_, { Buffers::MESSAGES_MAX }, _>(|_| {
                IoSliceMut::new(messages.next().unwrap_or_default())
            });
            let slices = slices.get_mut(..metas.len()).unwrap_or_default();
            self.state.recv((&self.io).into(), slices, metas)
        };
        let count = self.io.async_io(Interest::READABLE, read).await?;
        let at = Instant::now();
        for (message, meta) in bytes.chunks_exact(MESSAGE_MAX).zip(metas.iter()).take(count) {
            let local = meta.dst_ip.filter(|_| self.is_unspecified);
            let joined = message.get(..meta.len).unwrap_or_default();
            for data in joined.chunks(meta.stride.max(1)).filter(|data| data.len() <= DATAGRAM_MAX)
            {
                each(Received { source: meta.addr, local, at, data });
            }
        }
        Ok(())
    }
}

/// Datagrams of one length, of which only the last may be shorter, for one destination.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    segment: usize,
    count: usize,
    has_short: bool,
}

impl Batch {
    /// Adds a datagram; returns false if it must wait for the next batch.
    pub fn push(&mut self, socket: &Socket, datagram: &[u8]) -> bool {
        self.push_within(socket.segments_max(), datagram)
    }

    fn push_within(&mut self, segments_max: usize, datagram: &[u8]) -> bool {
        if self.bytes.is_empty() {
            self.segment = datagram.len();
        }
        let has_room =
            self.count < segments_max.max(1) && self.bytes.len() + datagram.len() <= SEND_MAX;
        let fits = has_room && !self.has_short && datagram.len() <= self.segment;
        if fits {
            self.has_short = datagram.len() < self.segment;
            self.bytes.extend_from_slice(datagram);
            self.count += 1;
        }
        fits
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.has_short = false;
    }
}

/// Room for the messages that one call may receive.
pub struct Buffers {
    bytes: Vec<u8>,
    metas: Vec<RecvMeta>,
}

impl Buffers {
    const MESSAGES_MAX: usize = 16;

    /// Creates buffers for a socket of many connections.
    pub fn of_listener() -> Self {
        Self::new(Self::MESSAGES_MAX)
    }

    /// Creates buffers for a socket of one connection.
    pub fn of_dialer() -> Self {
        Self::new(2)
    }

    fn new(messages: usize) -> Self {
        Self { bytes: vec![0; messages * MESSAGE_MAX], metas: vec![RecvMeta::default(); messages] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    async fn pair() -> (Socket, Socket, SocketAddr) {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (a, b) = (Socket::bind(loopback).unwrap(), Socket::bind(loopback).unwrap());
        let to = b.local_addr().unwrap();
        (a, b, to)
    }

    #[test]
    fn only_the_last_datagram_of_a_batch_may_be_shorter() {
        let mut batch = Batch::default();
        assert!(batch.push_within(4, &[1; 100]) && batch.push_within(4, &[2; 100]));
        assert!(!batch.push_within(4, &[3; 101]), "longer");
        assert!(batch.push_within(4, &[3; 99]));
        assert!(!batch.push_within(4, &[4; 99]), "after a short one");
        batch.clear();
        assert!(
            batch.push_within(1, &[5; 3]) && !batch.push_within(1, &[6; 3]),
            "one is all that fits"
        );
        batch.clear();
        assert!(
            (0..54).all(|_| batch.push_within(64, &[7; 1200]))
                && !batch.push_within(64, &[7; 1200]),
            "64 KiB"
        );
    }

    #[tokio::test]
    async fn a_batch_arrives_as_separate_datagrams() {
        let (a, b, to) = pair().await;
        let sent: Vec<Vec<u8>> =
            (0..40u8).map(|i| vec![i; if i == 39 { 7 } else { 1150 }]).collect();
        let mut batch = Batch::default();
        for datagram in &sent {
            if !batch.push(&a, datagram) {
                a.send(&mut batch, to, None).await;
                assert!(batch.is_empty() && batch.push(&a, datagram));
            }
        }
        a.send(&mut batch, to, None).await;
        let (mut buffers, mut received) = (Buffers::of_dialer(), Vec::new());
        while received.len() < sent.len() {
            b.receive(&mut buffers, |d| received.push(d.data.to_vec())).await.unwrap();
        }
        assert_eq!(received, sent);
    }

    #[tokio::test]
    async fn too_long_datagrams_are_dropped() {
        let (a, b, to) = pair().await;
        let mut batch = Batch::default();
        for datagram in [vec![1; DATAGRAM_MAX + 1], vec![2; DATAGRAM_MAX]] {
            assert!(batch.push_within(1, &datagram));
            a.send(&mut batch, to, None).await;
        }
        let (mut buffers, mut received) = (Buffers::of_listener(), Vec::new());
        while received.is_empty() {
            b.receive(&mut buffers, |d| received.push(d.data.to_vec())).await.unwrap();
        }
        assert_eq!(received, [vec![2; DATAGRAM_MAX]]);
    }

    #[tokio::test]
    async fn a_wildcard_socket_reports_the_local_address_and_answers_from_it() {
        let all = Socket::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = all.local_addr().unwrap().port();
        // Not the address that the system would choose for an answer to 127.0.0.1.
        let other = Ipv4Addr::new(127, 0, 0, 2);
        let (a, _, _) = pair().await;
        let mut batch = Batch::default();
        assert!(batch.push(&a, b"hello"));
        a.send(&mut batch, (other, port).into(), None).await;
        let (mut buffers, mut seen) = (Buffers::of_listener(), None);
        while seen.is_none() {
            all.receive(&mut buffers, |d| seen = Some((d.source, d.local))).await.unwrap();
        }
        let (source, local) = seen.unwrap();
        assert_eq!(local, Some(IpAddr::from(other)));
        assert!(batch.push(&all, b"answer"));
        all.send(&mut batch, source, local).await;
        let mut answered = None;
        while answered.is_none() {
            a.receive(&mut buffers, |d| answered = Some(d.source)).await.unwrap();
        }
        assert_eq!(answered, Some((other, port).into()));
    }
}
