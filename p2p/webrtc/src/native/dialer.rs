//! Dials a WebRTC-direct listener from a native node: handshake v2, one UDP socket per dial.
//!
//! Native nodes connect better by QUIC or TCP. This dialer is for listeners that offer nothing
//! else, and lets tests exercise the listener without a browser. The dialer's ICE password is part
//! of the server's half of the STUN USERNAME, so no session description is sent.

use super::{
    demultiplexer::{read_for, spawn},
    driver::Driver,
    muxer::Connection,
    shared::{HANDSHAKE_TIMEOUT, Shared},
    socket::Socket,
};
use crate::{
    Closed, Error, Violation,
    addr::{DirectAddr, Fingerprint},
    auth,
    budget::Budget,
};
use libp2p_identity::PeerId;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::sync::mpsc;

/// Datagrams queued for the driver.
const QUEUE: usize = 1024;

/// Dials until the remote is authenticated, or fails after the handshake timeout.
pub async fn dial(
    shared: Arc<Shared>,
    addr: DirectAddr,
    server: Fingerprint,
) -> Result<(PeerId, Connection), Error> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(&shared, &addr, server))
        .await
        .unwrap_or(Err(Error::Timeout))
}

async fn handshake(
    shared: &Shared,
    addr: &DirectAddr,
    server: Fingerprint,
) -> Result<(PeerId, Connection), Error> {
    let ip = source_towards(addr.socket)?;
    let socket = Arc::new(Socket::bind(SocketAddr::new(ip, 0))?);
    let local = socket.local_addr()?;
    let (datagrams_tx, datagrams) = mpsc::channel(QUEUE);
    let budget = Budget::new(shared.pool.clone());
    let made = Driver::dial(
        shared,
        socket.clone(),
        local,
        addr.socket,
        server,
        datagrams,
        budget.clone(),
    )?;
    tokio::spawn(read_for(socket, addr.socket, datagrams_tx));
    let (connection, ready) = spawn(made);
    // str0m has compared the fingerprint with the one in the address; Noise compares it once more.
    let (fingerprint, stream) = ready.await.map_err(|_| Closed::InHandshake)?;
    if fingerprint != server {
        return Err(Violation::Fingerprint.into());
    }
    let max_unread = shared.config.max_unread_per_connection;
    let let_in = move || budget.authenticated(max_unread);
    let peer =
        auth::as_client(&shared.keys, stream, shared.certificate.fingerprint(), server, let_in)
            .await?;
    if addr.peer.is_some_and(|expected| expected != peer) {
        return Err(Error::WrongPeer(peer));
    }
    Ok((peer, connection))
}

/// Returns the local address that the system would send from. Connecting a UDP socket sends
/// nothing.
fn source_towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = std::net::UdpSocket::bind((any, 0))?;
    probe.connect(remote)?;
    Ok(probe.local_addr()?.ip())
}
