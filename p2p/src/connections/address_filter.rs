//! Filters the addresses that a peer advertises. They are unverified, and a dial sends packets to
//! the advertised address. An address may be dialled only if its scope is no narrower than that of
//! the address by which the peer is already connected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// The scope of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Wildcards and multicast: no host has such an address.
    Unroutable,
    Loopback,
    Site,
    Global,
}

/// Whether to dial the address `advertised` by a peer that is connected at `via`.
pub fn may_dial(advertised: &Multiaddr, via: &Multiaddr) -> bool {
    let (scope, known) = (scope(advertised), scope(via));
    // A page loaded over TLS must not open plain WebSockets; the browser logs an error for each
    // attempt.
    let is_mixed =
        cfg!(target_arch = "wasm32") && is_plain_websocket(advertised) && !is_plain_websocket(via);
    scope != Scope::Unroutable
        && (scope == Scope::Global || scope >= known)
        && !is_mixed
        && !can_dns_redirect(advertised)
}

/// Whether DNS records of a third party can redirect the dial, and with it send a server a request
/// of the peer's choice. The records of a `dnsaddr` list arbitrary addresses. A plain WebSocket
/// begins with an HTTP request whose path comes from the advertised address. With TLS the server
/// must first prove its name.
fn can_dns_redirect(addr: &Multiaddr) -> bool {
    let is_name =
        |part: &Protocol| matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_));
    let is_local = |part: &Protocol| match part {
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => name == "localhost",
        _ => false,
    };
    let first = addr.iter().next();
    let is_named = first.as_ref().is_some_and(|part| is_name(part) && !is_local(part));
    addr.iter().any(|part| matches!(part, Protocol::Dnsaddr(_)))
        || is_named && is_plain_websocket(addr)
}

/// The scope of the first host in an address.
pub fn scope(addr: &Multiaddr) -> Scope {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => ip_scope(ip.into()),
        Some(Protocol::Ip6(ip)) => ip_scope(ip.to_canonical()),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name))
            if name == "localhost" =>
        {
            Scope::Loopback
        }
        _ => Scope::Global,
    }
}

fn ip_scope(ip: IpAddr) -> Scope {
    match ip {
        ip if ip.is_unspecified() || ip.is_multicast() => Scope::Unroutable,
        ip if ip.is_loopback() => Scope::Loopback,
        IpAddr::V4(Ipv4Addr::BROADCAST) => Scope::Unroutable,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_carrier_grade_nat(ip) => {
            Scope::Site
        }
        IpAddr::V6(ip)
            if ip.is_unique_local() || ip.is_unicast_link_local() || is_site_local(ip) =>
        {
            Scope::Site
        }
        _ => Scope::Global,
    }
}

/// RFC 6598: addresses between customers and the carrier's NAT.
fn is_carrier_grade_nat(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && b & 0xc0 == 64
}

/// RFC 3879: deprecated site-local addresses.
fn is_site_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfec0
}

fn is_plain_websocket(addr: &Multiaddr) -> bool {
    let mut is_tls = false;
    for part in addr {
        match part {
            Protocol::Tls => is_tls = true,
            Protocol::Ws(_) => return !is_tls,
            Protocol::P2pCircuit => return false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_never_leads_into_a_more_private_network() {
        let addr = |text: &str| text.parse::<Multiaddr>().unwrap();
        let [far, near, here] =
            ["/ip4/203.0.113.7/tcp/1", "/ip4/192.168.1.7/tcp/1", "/ip4/127.0.0.1/tcp/1"].map(addr);
        for (advertised, from_far, from_near, from_here) in [
            ("/ip4/198.51.100.1/tcp/1", true, true, true),
            ("/dns4/a.example/tcp/1/tls/ws", true, true, true),
            ("/ip4/10.1.2.3/udp/1/quic-v1", false, true, true),
            ("/ip4/100.64.0.1/tcp/1", false, true, true),
            ("/ip4/169.254.169.254/tcp/80", false, true, true),
            ("/ip6/fd00::1/tcp/1", false, true, true),
            ("/ip6/::ffff:10.0.0.1/tcp/1", false, true, true),
            ("/ip6/::1/tcp/1", false, false, true),
            ("/dns/localhost/tcp/1", false, false, true),
            ("/dns4/a.example/tcp/80/ws", false, false, false),
            ("/dns/localhost/tcp/1/ws", false, false, true),
            ("/dnsaddr/a.example", false, false, false),
            ("/ip4/0.0.0.0/tcp/1", false, false, false),
            ("/ip4/224.0.0.1/udp/1/quic-v1", false, false, false),
        ] {
            let tried = [&far, &near, &here].map(|via| may_dial(&addr(advertised), via));
            assert_eq!(tried, [from_far, from_near, from_here], "{advertised}");
        }
        assert!(is_plain_websocket(&addr("/ip4/1.2.3.4/tcp/1/ws")) && !is_plain_websocket(&far));
        assert!(!is_plain_websocket(&addr("/ip4/1.2.3.4/tcp/1/tls/ws")));
    }
}
