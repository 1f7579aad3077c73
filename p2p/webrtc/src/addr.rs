//! Parses and builds multiaddresses `/ip4|ip6/…/udp/…/webrtc-direct[/certhash/…][/p2p/…]` and
//! fingerprints.
//!
//! All other addresses are refused, also those with a circuit at the end. Only SHA-256 certificate
//! hashes are supported; others are skipped.

use libp2p_core::multiaddr::{Multiaddr, Protocol};
use libp2p_identity::PeerId;
use multihash::Multihash;
use std::net::{IpAddr, SocketAddr};

const SHA2_256: u64 = 0x12;

/// The SHA-256 digest of a DTLS certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The digest as it appears in `/certhash`.
    pub fn multihash(&self) -> Multihash<64> {
        // Only a digest of more than 64 bytes is refused; ours has 32.
        Multihash::wrap(SHA2_256, &self.0).unwrap_or_default()
    }

    pub fn from_multihash(hash: &Multihash<64>) -> Option<Self> {
        (hash.code() == SHA2_256).then_some(())?;
        hash.digest().try_into().ok().map(Self)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct DirectAddr {
    pub socket: SocketAddr,
    pub fingerprint: Option<Fingerprint>,
    pub peer: Option<PeerId>,
}

/// Parses an address; `None` unless it is exactly a WebRTC-direct address (no circuit after it).
pub fn parse(addr: &Multiaddr) -> Option<DirectAddr> {
    let mut parts = addr.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else { return None };
    let Protocol::WebRTCDirect = parts.next()? else { return None };
    let mut out = DirectAddr { socket: SocketAddr::new(ip, port), fingerprint: None, peer: None };
    for part in parts {
        match part {
            Protocol::Certhash(hash) => {
                // Keep the first usable hash; others may use other algorithms.
                out.fingerprint = out.fingerprint.or_else(|| Fingerprint::from_multihash(&hash));
            }
            Protocol::P2p(peer) => out.peer = Some(peer),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub fn format(socket: SocketAddr, fingerprint: Option<&Fingerprint>) -> Multiaddr {
    let addr = Multiaddr::empty()
        .with(socket.ip().into())
        .with(Protocol::Udp(socket.port()))
        .with(Protocol::WebRTCDirect);
    match fingerprint {
        Some(f) => addr.with(Protocol::Certhash(f.multihash())),
        None => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let f = Fingerprint([7; 32]);
        let a = format("127.0.0.1:9".parse().unwrap(), Some(&f));
        let got = parse(&a).unwrap();
        assert_eq!(got.fingerprint, Some(f));
        assert_eq!(got.socket.port(), 9);
        assert!(parse(&a.with(Protocol::P2pCircuit)).is_none());
        assert!(parse(&"/ip4/1.2.3.4/udp/1/quic-v1".parse().unwrap()).is_none());
    }
}
