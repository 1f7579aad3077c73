//! Groups IP addresses by customer, for counting.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the part of an address that identifies one customer of a provider: an IPv4 address, or
/// the /64 of an IPv6 address (RFC 4291, section 2.5.1; a customer usually gets a whole /64). An
/// IPv4-mapped address counts as IPv4.
pub fn address_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_prefix_counts_once_and_each_ipv4_address_separately() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
