//! The native transports: TCP, QUIC, WebSocket (with TLS where a certificate is given),
//! WebRTC-direct and circuits.

use std::net::{IpAddr, TcpListener};

use libp2p::{
    Multiaddr, Transport, core::muxing::StreamMuxerBox, core::transport::OptionalTransport,
    core::upgrade::Version, dns, identity::Keypair, multiaddr::Protocol, quic, relay, tcp,
};

use super::{
    CONNECT_TIMEOUT, Connections, circuits, deferred_noise,
    idle_timeout::{IDLE_TIMEOUT, IdleTimeout},
    noise,
    reload::ReloadableWebSocket,
    traffic::TrafficMeter,
    typed_end::{TypedEnd, TypedWrites},
    yamux,
};
use crate::{
    config::Config,
    error::SpawnError,
    path::{TransportKind, is_circuit},
};

/// Whether this host can dial over a transport.
pub fn can_dial(config: &Config, kind: TransportKind) -> bool {
    kind != TransportKind::WebRtc || config.webrtc.is_some()
}

/// Checks that a listener can bind this address exclusively. libp2p's TCP sockets share their port
/// with any other socket that does the same, so a node started twice would silently get half of the
/// connections.
pub fn probe(addr: &Multiaddr) -> std::io::Result<()> {
    if is_circuit(addr) {
        return Ok(());
    }
    let mut parts = addr.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// Builds the transports. Must be called inside a tokio runtime.
pub fn build(
    config: &Config,
    keys: &Keypair,
    relay: relay::client::Transport,
    meter: &TrafficMeter,
) -> Result<Connections, SpawnError> {
    let tcp = || {
        let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        transport.map(|stream, _| IdleTimeout::new(stream))
    };

    let counter = meter.clone();
    let plain = tcp()
        .upgrade(Version::V1Lazy)
        .authenticate(noise(keys)?)
        .multiplex(yamux())
        .timeout(CONNECT_TIMEOUT)
        .boxed()
        .map(move |(peer, muxer), _| (peer, counter.count(TransportKind::Tcp, muxer)));

    let counter = meter.clone();
    let mut quic = quic::Config::new(keys);
    quic.max_idle_timeout = u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    // QUIC's default of 5 s is shorter than the other transports' timeout.
    quic.handshake_timeout = IDLE_TIMEOUT;
    quic.keep_alive_interval = IDLE_TIMEOUT / 3;
    let quic = quic::tokio::Transport::new(quic).map(move |(peer, muxer), _| {
        (peer, counter.count(TransportKind::Quic, StreamMuxerBox::new(TypedEnd(muxer))))
    });

    let counter = meter.clone();
    let websocket = ReloadableWebSocket::new(with_names(tcp())?, config.tls.clone())?
        .map(|socket, _| TypedWrites(socket))
        .upgrade(Version::V1Lazy)
        .authenticate(deferred_noise(keys)?)
        .multiplex(yamux())
        .timeout(CONNECT_TIMEOUT)
        .boxed()
        .map(move |(peer, muxer), _| (peer, counter.count(TransportKind::WebSocket, muxer)));

    let counter = meter.clone();
    let webrtc = match &config.webrtc {
        Some(certificate) => {
            let config = tequio_webrtc::Config::default();
            let transport =
                tequio_webrtc::Transport::new(keys.clone(), certificate.clone(), config);
            OptionalTransport::some(transport)
        }
        None => OptionalTransport::none(),
    }
    .map(move |(peer, muxer), _| {
        (peer, counter.count(TransportKind::WebRtc, StreamMuxerBox::new(TypedEnd(muxer))))
    });

    let named = with_names(quic.or_transport(plain).map(|either, _| either.into_inner()))?;
    Ok(circuits(relay, keys)?
        .or_transport(webrtc)
        .map(|either, _| either.into_inner())
        .or_transport(websocket)
        .map(|either, _| either.into_inner())
        .or_transport(named)
        .map(|either, _| either.into_inner())
        .boxed())
}

/// Adds the system's name resolution. A system without resolvers can still dial IP addresses.
fn with_names<T>(transport: T) -> Result<dns::tokio::Transport<T>, SpawnError> {
    if let Err(error) = dns::tokio::Transport::system(()) {
        tracing::warn!(%error, "cannot start the DNS resolver");
        let (none, options) =
            (dns::ResolverConfig::from_name_servers(Vec::new()), dns::ResolverOpts::default());
        return Ok(dns::tokio::Transport::custom(transport, none, options));
    }
    dns::tokio::Transport::system(transport)
        .map_err(|error| SpawnError::Transport(format!("DNS: {error}")))
}
