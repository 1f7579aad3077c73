//! The addresses to which the relay sends for a client: the public internet, and other allocations
//! of the relay.
//!
//! Without this check, a TURN server opens its own network to clients: the relay's own ports, the
//! operator's LAN, a cloud's metadata service on a link-local address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The operator's permissions, and the relay's own addresses.
#[derive(Clone, Debug, Default)]
pub struct TargetPolicy {
    /// Addresses at which this machine is reached: the listening and the announced ones.
    pub own: Vec<IpAddr>,
    /// All addresses of this machine's interfaces. Other programs may listen on those that the
    /// relay neither uses nor announces, and packets from the machine itself pass no firewall.
    pub interfaces: Vec<IpAddr>,
    /// UDP ports of the machine's addresses that are never a target.
    pub own_ports: Vec<u16>,
    /// Whether private, loopback and link-local addresses are allowed too: for tests and for a
    /// LAN.
    pub allow_private: bool,
}

impl TargetPolicy {
    /// Whether a permission may name this address. For the machine's own addresses, the ports
    /// decide.
    pub fn permits_ip(&self, ip: IpAddr) -> bool {
        self.is_own(ip) || is_public(ip) || self.allow_private && is_private(ip)
    }

    /// Whether a packet may go to this address. The caller must recognise other allocations of this
    /// relay first.
    pub fn permits(&self, to: SocketAddr) -> bool {
        if to.port() == 0 {
            return false;
        }
        if self.is_own(to.ip()) || to.ip().is_loopback() {
            return self.allow_private && !self.own_ports.contains(&to.port());
        }
        self.permits_ip(to.ip())
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        self.own.contains(&ip) || self.interfaces.contains(&ip)
    }
}

/// Whether the address is reachable over the internet, by IANA's registries of special-purpose
/// addresses.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        // A list of allowed ranges, so that it excludes addresses with an embedded IPv4 address
        // (mapped, 6to4, Teredo, NAT64) and future ranges.
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            let global_unicast = a & 0xe000 == 0x2000;
            let protocols_and_teredo = a == 0x2001 && b < 0x0200;
            let documentation = a == 0x2001 && b == 0x0db8 || a == 0x3fff && b < 0x1000;
            let six_to_four = a == 0x2002;
            global_unicast && !protocols_and_teredo && !documentation && !six_to_four
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., ..)
    );
    !special
}

/// Whether the address is in a range for LANs.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => {
            ip == Ipv6Addr::LOCALHOST || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 5000)
    }

    const PUBLIC: [&str; 5] =
        ["1.1.1.1", "100.63.0.1", "172.32.0.1", "223.255.255.254", "2606:4700::1111"];
    const PRIVATE: [&str; 11] = [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "127.0.0.1",
        "127.8.8.8",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "fc00::1",
        "fe80::1",
    ];
    const NEVER: [&str; 17] = [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:1.1.1.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
        "2001:db8::1",
        "ff02::1",
    ];

    #[test]
    fn only_public_addresses_are_permitted_by_default() {
        let targets = TargetPolicy::default();
        let lan = TargetPolicy { allow_private: true, ..TargetPolicy::default() };
        for ip in PUBLIC {
            assert!(targets.permits(at(ip)) && targets.permits_ip(at(ip).ip()), "{ip}");
        }
        for ip in PRIVATE {
            assert!(!targets.permits(at(ip)) && !targets.permits_ip(at(ip).ip()), "{ip}");
            assert!(lan.permits(at(ip)) && lan.permits_ip(at(ip).ip()), "{ip}");
        }
        for ip in NEVER {
            assert!(!targets.permits(at(ip)) && !targets.permits_ip(at(ip).ip()), "{ip}");
            assert!(!lan.permits(at(ip)) && !lan.permits_ip(at(ip).ip()), "{ip}");
        }
        assert!(!targets.permits(SocketAddr::new([1, 1, 1, 1].into(), 0)));
    }

    #[test]
    fn the_relays_own_ports_are_refused() {
        let own = TargetPolicy {
            own: vec![[198, 51, 100, 1].into()],
            own_ports: vec![4820],
            ..TargetPolicy::default()
        };
        let lan = TargetPolicy { allow_private: true, ..own.clone() };
        assert!(own.permits_ip(own.own[0]), "another allocation may be there");
        assert!(!own.permits(at("198.51.100.1")));
        assert!(lan.permits(at("198.51.100.1")));
        for ip in [own.own[0], [127, 0, 0, 1].into()] {
            assert!(
                !own.permits(SocketAddr::new(ip, 4820)) && !lan.permits(SocketAddr::new(ip, 4820))
            );
        }
    }

    #[test]
    fn other_addresses_of_this_machine_are_refused() {
        let mut targets = TargetPolicy {
            own: vec![[1, 1, 1, 1].into()],
            own_ports: vec![3478],
            ..TargetPolicy::default()
        };
        assert!(targets.permits(at("1.1.1.2")), "an address of another machine");
        targets.interfaces = vec![[1, 1, 1, 2].into(), [10, 0, 0, 2].into()];
        assert!(!targets.permits(at("1.1.1.2")) && !targets.permits(at("10.0.0.2")));
        let lan = TargetPolicy { allow_private: true, ..targets };
        assert!(
            lan.permits(at("1.1.1.2")) && !lan.permits(SocketAddr::new([1, 1, 1, 2].into(), 3478))
        );
    }
}
