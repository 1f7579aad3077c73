//! The path to a peer: the transport, and whether it is direct or relayed.

use std::fmt;

use libp2p::{
    PeerId,
    multiaddr::{Multiaddr, Protocol},
};
use tequio_core::types::NodeId;

use crate::identity::node_id;

/// The transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportKind {
    /// TCP with Noise and yamux.
    Tcp,
    /// QUIC version 1.
    Quic,
    /// WebSocket, with or without TLS, with Noise and yamux inside.
    WebSocket,
    /// WebRTC-direct, and `/webrtc` between browsers.
    WebRtc,
}

impl TransportKind {
    /// Number of kinds.
    pub const COUNT: usize = 4;
    /// All kinds, in the order of [`TransportKind::index`].
    pub const ALL: [TransportKind; Self::COUNT] =
        [TransportKind::Tcp, TransportKind::Quic, TransportKind::WebSocket, TransportKind::WebRtc];

    /// Position in [`TransportKind::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A stable lower-case name, for metrics and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            TransportKind::Tcp => "tcp",
            TransportKind::Quic => "quic",
            TransportKind::WebSocket => "websocket",
            TransportKind::WebRtc => "webrtc",
        }
    }

    /// The transport of an address. The part after `/p2p-circuit` does not count, unless it is
    /// `/webrtc`, where the circuit only carries the signalling.
    pub fn of(addr: &Multiaddr) -> Option<Self> {
        if is_signalled(addr) {
            return Some(TransportKind::WebRtc);
        }
        let mut kind = None;
        for part in addr {
            match part {
                Protocol::Tcp(_) => kind = Some(TransportKind::Tcp),
                Protocol::QuicV1 => kind = Some(TransportKind::Quic),
                Protocol::Ws(_) | Protocol::Wss(_) => kind = Some(TransportKind::WebSocket),
                Protocol::WebRTCDirect => kind = Some(TransportKind::WebRtc),
                Protocol::P2pCircuit => break,
                _ => {}
            }
        }
        kind
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The path to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// A direct connection.
    Direct(TransportKind),
    /// A circuit through a relay, which sees only ciphertext.
    Relayed {
        /// The relay.
        via: NodeId,
        /// The transport of the connection to the relay.
        transport: TransportKind,
    },
}

impl Path {
    /// Whether the path has no relay.
    pub fn is_direct(&self) -> bool {
        matches!(self, Path::Direct(_))
    }

    /// The transport of the first hop.
    pub fn transport(&self) -> TransportKind {
        match self {
            Path::Direct(transport) | Path::Relayed { transport, .. } => *transport,
        }
    }

    /// The path given by the remote (dialled) or local (accepted) address of a connection. `None`
    /// if the address lacks the transport or the relay, as addresses of accepted circuits may.
    pub(crate) fn of(addr: &Multiaddr) -> Option<Self> {
        let transport = TransportKind::of(addr);
        if !is_circuit(addr) {
            return transport.map(Path::Direct);
        }
        Some(Path::Relayed { via: node_id(&relay_of(addr)?)?, transport: transport? })
    }
}

/// Whether the connection goes through a relay.
pub(crate) fn is_circuit(addr: &Multiaddr) -> bool {
    names_relay(addr) && !is_signalled(addr)
}

/// Whether the address contains a relay, even if only for signalling.
pub(crate) fn names_relay(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Whether this is a direct connection between browsers, signalled through a relay:
/// `…/p2p-circuit/webrtc`.
pub(crate) fn is_signalled(addr: &Multiaddr) -> bool {
    let mut after = addr.iter().skip_while(|part| *part != Protocol::P2pCircuit).skip(1);
    after.next() == Some(Protocol::WebRTC)
}

/// The address of the connection that is signalled over this circuit.
pub(crate) fn over_webrtc(circuit: &Multiaddr) -> Multiaddr {
    let mut out = before_circuit(circuit).with(Protocol::P2pCircuit).with(Protocol::WebRTC);
    circuit
        .iter()
        .skip_while(|part| *part != Protocol::P2pCircuit)
        .skip(1)
        .for_each(|part| out.push(part));
    out
}

/// The circuit over which a connection is signalled; `None` for other addresses.
#[cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code))]
pub(crate) fn circuit_of(addr: &Multiaddr) -> Option<Multiaddr> {
    is_signalled(addr).then(|| addr.iter().filter(|part| *part != Protocol::WebRTC).collect())
}

/// The relay that a circuit address names.
pub(crate) fn relay_of(addr: &Multiaddr) -> Option<PeerId> {
    before_circuit(addr)
        .iter()
        .find_map(|part| if let Protocol::P2p(peer) = part { Some(peer) } else { None })
}

/// The part of an address in front of `/p2p-circuit`.
pub(crate) fn before_circuit(addr: &Multiaddr) -> Multiaddr {
    addr.iter().take_while(|part| *part != Protocol::P2pCircuit).collect()
}

/// The peer id at the end of an address.
pub(crate) fn target_of(addr: &Multiaddr) -> Option<PeerId> {
    match addr.iter().last()? {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    }
}

/// `addr` without the peer id at its end.
pub(crate) fn without_target(mut addr: Multiaddr) -> Multiaddr {
    if target_of(&addr).is_some() {
        addr.pop();
    }
    addr
}

/// `addr` in a form that may be shown and logged: without the path of a WebSocket's URL, which may
/// contain tokens.
pub(crate) fn without_secrets(addr: Multiaddr) -> Multiaddr {
    let shown = |part| match part {
        Protocol::Ws(_) => Protocol::Ws("/".into()),
        Protocol::Wss(_) => Protocol::Wss("/".into()),
        part => part,
    };
    addr.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_transport_is_that_of_the_first_hop() {
        let circuit = addr(&format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{A}/p2p-circuit/p2p/{B}"));
        for (text, kind) in [
            ("/ip4/127.0.0.1/tcp/1".to_string(), Some(TransportKind::Tcp)),
            ("/dns4/a.example/tcp/443/tls/ws".into(), Some(TransportKind::WebSocket)),
            ("/ip4/127.0.0.1/udp/1/quic-v1".into(), Some(TransportKind::Quic)),
            ("/ip4/127.0.0.1/udp/1/webrtc-direct".into(), Some(TransportKind::WebRtc)),
            (format!("/p2p/{A}/p2p-circuit"), None),
            (circuit.to_string(), Some(TransportKind::WebSocket)),
        ] {
            assert_eq!(TransportKind::of(&addr(&text)), kind, "{text}");
        }
        let via = node_id(&A.parse().unwrap()).unwrap();
        assert_eq!(
            Path::of(&circuit),
            Some(Path::Relayed { via, transport: TransportKind::WebSocket })
        );
        assert_eq!(target_of(&circuit), B.parse().ok());
    }

    #[test]
    fn a_connection_signalled_through_a_relay_is_direct() {
        let circuit = addr(&format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{A}/p2p-circuit/p2p/{B}"));
        let signalled =
            addr(&format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{A}/p2p-circuit/webrtc/p2p/{B}"));
        assert_eq!(over_webrtc(&circuit), signalled);
        assert_eq!((circuit_of(&signalled), circuit_of(&circuit)), (Some(circuit.clone()), None));
        assert!(is_circuit(&circuit) && !is_circuit(&signalled) && names_relay(&signalled));
        assert_eq!(Path::of(&signalled), Some(Path::Direct(TransportKind::WebRtc)));
        assert_eq!((relay_of(&signalled), target_of(&signalled)), (A.parse().ok(), B.parse().ok()));
        let reservation = addr(&format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{A}/p2p-circuit"));
        assert_eq!(over_webrtc(&reservation), reservation.with(Protocol::WebRTC));
        // WebRTC-direct to the relay is not a signalled connection.
        assert!(!is_signalled(&addr(&format!(
            "/ip4/127.0.0.1/udp/1/webrtc-direct/p2p/{A}/p2p-circuit/p2p/{B}"
        ))));
    }

    #[test]
    fn tokens_are_not_printed() {
        let secret = addr("/dns4/a.example/tcp/443/tls/x-parity-ws/%2Froom%3Ftoken=s3cret");
        assert_eq!(without_secrets(secret), addr("/dns4/a.example/tcp/443/tls/ws"));
        let plain = addr("/dns4/a.example/tcp/443/tls/ws");
        assert_eq!(without_secrets(plain.clone()), plain);
    }
}
