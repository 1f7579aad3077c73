//! Test fixtures: a server, a dialer, and data in which every change shows.

use futures::{AsyncReadExt, AsyncWriteExt, future::poll_fn};
use libp2p_core::{
    Endpoint, Multiaddr, Transport as _,
    multiaddr::Protocol,
    muxing::StreamMuxer,
    transport::{DialOpts, ListenerId, PortUse, TransportEvent},
};
use libp2p_identity::{Keypair, PeerId};
use std::{net::SocketAddr, pin::Pin, sync::LazyLock, time::Duration};
use str0m::ice::{StunMessage, TransId};
use tequio_webrtc::{Certificate, Config, Connection, Error, Stream, Transport};
use tokio::{sync::mpsc, time::timeout};

/// Time limit for expected events: generous, because the machine may be busy.
pub const LONG: Duration = Duration::from_secs(30);

pub type Upgraded = Result<(PeerId, Connection), Error>;

pub struct Server {
    pub addr: Multiaddr,
    pub peer: PeerId,
    pub upgraded: mpsc::UnboundedReceiver<Upgraded>,
}

pub fn transport(config: Config) -> (Transport, PeerId) {
    let keys = Keypair::generate_ed25519();
    let peer = keys.public().to_peer_id();
    (Transport::new(keys, Certificate::generate().unwrap(), config), peer)
}

pub async fn next(
    transport: &mut Transport,
) -> TransportEvent<<Transport as libp2p_core::Transport>::ListenerUpgrade, Error> {
    poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
}

/// Listens and runs all upgrades.
pub async fn server(config: Config) -> Server {
    let (mut transport, peer) = transport(config);
    transport
        .listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap())
        .unwrap();
    let TransportEvent::NewAddress { listen_addr: addr, .. } = next(&mut transport).await else {
        panic!("no address")
    };
    let (tx, upgraded) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            if let TransportEvent::Incoming { upgrade, .. } = next(&mut transport).await {
                let tx = tx.clone();
                tokio::spawn(async move { tx.send(upgrade.await) });
            }
        }
    });
    Server { addr, peer, upgraded }
}

impl Server {
    pub async fn accept(&mut self) -> (PeerId, Connection) {
        timeout(LONG, self.upgraded.recv()).await.expect("in time").unwrap().unwrap()
    }
}

pub async fn dial(addr: Multiaddr) -> Upgraded {
    dial_with(Config::default(), addr).await
}

pub async fn dial_with(config: Config, addr: Multiaddr) -> Upgraded {
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    transport(config).0.dial(addr, opts).unwrap().await
}

/// Both ends of a new connection: the dialer's, then the listener's.
pub async fn connected(server: &mut Server) -> (Connection, Connection) {
    let (dialed, accepted) = futures::join!(dial(server.addr.clone()), server.accept());
    (dialed.unwrap().1, accepted.1)
}

/// A stream that `from` opens, as both ends. Its first byte announces it to the other side.
pub async fn stream(from: &mut Connection, to: &mut Connection) -> (Stream, Stream) {
    let open = async {
        let mut stream = outbound(from).await.unwrap();
        stream.write_all(b"!").await.unwrap();
        stream
    };
    let accept = async {
        let mut stream = inbound(to).await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        stream
    };
    timeout(LONG, futures::future::join(open, accept)).await.expect("in time")
}

pub async fn inbound(connection: &mut Connection) -> Result<Stream, Error> {
    poll_fn(|cx| Pin::new(&mut *connection).poll_inbound(cx)).await
}

pub async fn outbound(connection: &mut Connection) -> Result<Stream, Error> {
    poll_fn(|cx| Pin::new(&mut *connection).poll_outbound(cx)).await
}

/// Echoes every inbound stream until the connection ends; returns the reason.
pub async fn echo(mut connection: Connection) -> Error {
    loop {
        match inbound(&mut connection).await {
            Ok(stream) => drop(tokio::spawn(async move {
                let (read, mut write) = stream.split();
                let _ = futures::io::copy(read, &mut write).await;
                let _ = write.close().await;
            })),
            Err(error) => return error,
        }
    }
}

/// Its period differs from every buffer length, so that lost, doubled or swapped data shows.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(1_000_003, 7));

/// Writes the bytes that [`receive`] expects, starting at a position.
pub async fn send(stream: &mut Stream, from: u64, len: u64) {
    let mut at = from;
    while at < from + len {
        let rest = &PATTERN[(at % PATTERN.len() as u64) as usize..];
        let n = rest.len().min(64 * 1024).min((from + len - at) as usize);
        stream.write_all(&rest[..n]).await.unwrap();
        at += n as u64;
    }
}

/// Reads and compares `len` bytes.
pub async fn receive(stream: &mut Stream, len: u64) {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = 0;
    while at < len {
        let n = buffer.len().min((len - at) as usize);
        let n = stream.read(&mut buffer[..n]).await.unwrap();
        assert_ne!(n, 0, "ended after {at} of {len} bytes");
        for byte in buffer[..n].chunks(4096) {
            let expected = &PATTERN[(at % PATTERN.len() as u64) as usize..];
            let both = byte.len().min(expected.len());
            assert!(
                byte[..both] == expected[..both] && byte[both..] == PATTERN[..byte.len() - both],
                "near byte {at}"
            );
            at += byte.len() as u64;
        }
    }
}

/// Sends `len` bytes and the end from one side, reads both on the other.
pub async fn transfer(from: &mut Stream, to: &mut Stream, len: u64) {
    let send = async {
        send(from, 0, len).await;
        from.close().await.unwrap();
    };
    let receive = async {
        receive(to, len).await;
        assert_eq!(to.read(&mut [0; 9]).await.unwrap(), 0, "more than was sent");
    };
    futures::join!(send, receive);
}

pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut byte = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| byte()).collect()
}

/// Sends all data and reads it back.
pub async fn round_trip(connection: &mut Connection, data: Vec<u8>) {
    let stream = timeout(LONG, outbound(connection)).await.expect("in time").unwrap();
    let (mut read, mut write) = stream.split();
    let send = async {
        write.write_all(&data).await.unwrap();
        write.close().await.unwrap();
    };
    let mut got = Vec::new();
    let receive = async { read.read_to_end(&mut got).await.unwrap() };
    timeout(4 * LONG, futures::future::join(send, receive)).await.expect("in time");
    assert!(got == data, "{} of {} bytes, or others", got.len(), data.len());
}

pub fn socket_of(addr: &Multiaddr) -> SocketAddr {
    let mut parts = addr.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(ip)), Some(Protocol::Udp(port))) => (ip, port).into(),
        other => panic!("{other:?}"),
    }
}

/// A STUN binding request as an honest dialer sends it: its integrity key is the password in the
/// USERNAME.
pub fn authentic_request(server_ufrag: &str) -> Vec<u8> {
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let username = format!("{server_ufrag}:uFrg");
    let message = StunMessage::binding_request(&username, TransId::new(), true, 1, 1, true);
    let mut out = vec![0; 1000];
    let len = message
        .to_bytes(Some(server_ufrag.as_bytes()), &mut out, |k, p| hmac.sha1_hmac(k, p))
        .unwrap();
    out.truncate(len);
    out
}
