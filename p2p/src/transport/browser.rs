//! The transports of a browser tab: WebRTC to other tabs and to nodes, WebSocket and circuits. A
//! tab dials, and listens only through relays.

use libp2p::{
    Multiaddr, PeerId, Transport, core::muxing::StreamMuxerBox, core::upgrade::Version,
    identity::Keypair, relay, websocket_websys,
};

use super::{
    CONNECT_TIMEOUT, Connections, circuits, deferred_close::DeferredClose, deferred_noise,
    idle_timeout::IdleTimeout, traffic::TrafficMeter, typed_end::TypedEnd, yamux,
};
use crate::{config::Config, error::SpawnError, path::TransportKind};

/// Whether this host can dial over a transport.
pub fn can_dial(_: &Config, kind: TransportKind) -> bool {
    matches!(kind, TransportKind::WebRtc | TransportKind::WebSocket)
}

/// Always succeeds: a browser opens no sockets of its own.
pub fn probe(_: &Multiaddr) -> std::io::Result<()> {
    Ok(())
}

/// Builds the transports; `tabs` is the one that connects to other tabs. Must be called on a thread
/// with a window: workers have no `RTCPeerConnection`.
pub fn build<T>(
    _: &Config,
    keys: &Keypair,
    relay: relay::client::Transport,
    meter: &TrafficMeter,
    tabs: T,
) -> Result<Connections, SpawnError>
where
    T: Transport<Output = (PeerId, tequio_webrtc::Connection)> + Send + Unpin + 'static,
    T::Error: Send + Sync,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
{
    let counter = meter.clone();
    let tabs = tabs.map(move |(peer, muxer), _| {
        (peer, counter.count(TransportKind::WebRtc, StreamMuxerBox::new(TypedEnd(muxer))))
    });

    let counter = meter.clone();
    let config =
        tequio_webrtc::Config { keys: keys.clone(), version: tequio_webrtc::DialVersion::V2 };
    let webrtc = tequio_webrtc::Transport::new(config).map(move |(peer, muxer), _| {
        (peer, counter.count(TransportKind::WebRtc, StreamMuxerBox::new(TypedEnd(muxer))))
    });

    let counter = meter.clone();
    let websocket = websocket_websys::Transport::default()
        .map(|socket, _| IdleTimeout::new(DeferredClose::new(socket)))
        .upgrade(Version::V1Lazy)
        .authenticate(deferred_noise(keys)?)
        .multiplex(yamux())
        .timeout(CONNECT_TIMEOUT)
        .boxed()
        .map(move |(peer, muxer), _| (peer, counter.count(TransportKind::WebSocket, muxer)));

    Ok(tabs
        .or_transport(circuits(relay, keys)?)
        .map(|either, _| either.into_inner())
        .or_transport(webrtc)
        .map(|either, _| either.into_inner())
        .or_transport(websocket)
        .map(|either, _| either.into_inner())
        .boxed())
}
