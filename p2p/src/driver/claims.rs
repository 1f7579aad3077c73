//! Which of the addresses that a peer says it has may be dialled at all. They are its word, and a
//! dial is a packet sent where it says: never into a network nearer than the one by which we reach
//! it already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// Nobody is there: wildcards, multicast.
    None,
    Machine,
    Site,
    Global,
}

/// Whether to try `claim` of a peer that is reached at `via`.
pub fn may_try(claim: &Multiaddr, via: &Multiaddr) -> bool {
    let (scope, known) = (scope(claim), scope(via));
    // A page that came over TLS must not open plain WebSockets, and the browser would complain of
    // each.
    let is_mixed =
        cfg!(target_arch = "wasm32") && is_plain_websocket(claim) && !is_plain_websocket(via);
    scope != Scope::None
        && (scope == Scope::Global || scope >= known)
        && !is_mixed
        && !is_chosen_by_dns(claim)
}

/// Whether somebody's DNS may lead the dial anywhere, and with it something that a server there may
/// take for an order: `dnsaddr` is replaced by whatever addresses its records list, and a plain
/// WebSocket begins with an HTTP request for a path of the claim's choice. With TLS the server has
/// to prove the name first.
fn is_chosen_by_dns(addr: &Multiaddr) -> bool {
    let is_name =
        |part: &Protocol| matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_));
    let is_local = |part: &Protocol| matches!(part, Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) if name == "localhost");
    let first = addr.iter().next();
    let is_named = first.as_ref().is_some_and(|part| is_name(part) && !is_local(part));
    addr.iter().any(|part| matches!(part, Protocol::Dnsaddr(_)))
        || is_named && is_plain_websocket(addr)
}

fn scope(addr: &Multiaddr) -> Scope {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => of_ip(ip.into()),
        Some(Protocol::Ip6(ip)) => of_ip(ip.to_canonical()),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name))
            if name == "localhost" =>
        {
            Scope::Machine
        }
        _ => Scope::Global,
    }
}

fn of_ip(ip: IpAddr) -> Scope {
    match ip {
        ip if ip.is_unspecified() || ip.is_multicast() => Scope::None,
        ip if ip.is_loopback() => Scope::Machine,
        IpAddr::V4(Ipv4Addr::BROADCAST) => Scope::None,
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_carriers(ip) => Scope::Site,
        IpAddr::V6(ip)
            if ip.is_unique_local() || ip.is_unicast_link_local() || is_site_local(ip) =>
        {
            Scope::Site
        }
        _ => Scope::Global,
    }
}

/// RFC 6598: between customers and their carrier's NAT.
fn is_carriers(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && b & 0xc0 == 64
}

/// RFC 3879, deprecated.
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
    fn a_claim_does_not_lead_into_a_nearer_network() {
        let addr = |text: &str| text.parse::<Multiaddr>().unwrap();
        let [far, near, here] =
            ["/ip4/203.0.113.7/tcp/1", "/ip4/192.168.1.7/tcp/1", "/ip4/127.0.0.1/tcp/1"].map(addr);
        for (claim, from_far, from_near, from_here) in [
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
            let tried = [&far, &near, &here].map(|via| may_try(&addr(claim), via));
            assert_eq!(tried, [from_far, from_near, from_here], "{claim}");
        }
        assert!(is_plain_websocket(&addr("/ip4/1.2.3.4/tcp/1/ws")) && !is_plain_websocket(&far));
        assert!(!is_plain_websocket(&addr("/ip4/1.2.3.4/tcp/1/tls/ws")));
    }
}
