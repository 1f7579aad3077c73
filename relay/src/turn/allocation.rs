//! One client's allocation: its permissions and its channels, each with an expiry (RFC 8656,
//! sections 9 and 12).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use turn_types::stun::message::TransactionId;

/// Lifetime of a permission by the RFC.
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// Lifetime of a channel by the RFC.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// Most addresses that may send to one allocation.
pub const PERMISSIONS_MAX: usize = 64;
/// Most channels of one allocation.
pub const CHANNELS_MAX: usize = 64;

/// Id of an allocation, unique while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64);

/// A client's allocation; see the module's documentation.
#[derive(Debug)]
pub struct Allocation {
    /// The client's address; with the one listening socket it forms the 5-tuple.
    pub client: SocketAddr,
    /// User name of the request that made the allocation. All later requests must have the same.
    pub username: String,
    /// The request that made the allocation. A repetition of the request gets the same answer.
    pub transaction: TransactionId,
    /// The address that peers see.
    pub relayed: SocketAddr,
    /// The expiry.
    pub expires: Instant,
    /// Payload bytes carried, in both directions.
    pub bytes: u64,
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, (SocketAddr, Instant)>,
}

impl Allocation {
    pub fn new(
        client: SocketAddr,
        username: String,
        transaction: TransactionId,
        relayed: SocketAddr,
        expires: Instant,
    ) -> Self {
        let (permissions, channels) = Default::default();
        Self { client, username, transaction, relayed, expires, bytes: 0, permissions, channels }
    }

    /// Permits packets from and to these addresses: all or none of them.
    pub fn permit(&mut self, ips: &[IpAddr], now: Instant) -> bool {
        self.permissions.retain(|_, until| *until > now);
        let new = ips.iter().filter(|ip| !self.permissions.contains_key(*ip)).count();
        if self.permissions.len() + new > PERMISSIONS_MAX {
            return false;
        }
        self.permissions.extend(ips.iter().map(|ip| (*ip, now + PERMISSION_LIFETIME)));
        true
    }

    pub fn is_permitted(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.get(&ip).is_some_and(|until| *until > now)
    }

    /// Binds a channel to a peer, or refreshes the binding. Neither may be bound otherwise.
    pub fn bind(&mut self, channel: u16, peer: SocketAddr, now: Instant) -> Bound {
        self.channels.retain(|_, (_, until)| *until > now);
        if self.channels.iter().any(|(other, (at, _))| (*other == channel) != (*at == peer)) {
            return Bound::Conflict;
        }
        let full = self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(&channel);
        if full || !self.permit(&[peer.ip()], now) {
            return Bound::Full;
        }
        self.channels.insert(channel, (peer, now + CHANNEL_LIFETIME));
        Bound::Done
    }

    /// The peer of a channel.
    pub fn peer_of(&self, channel: u16, now: Instant) -> Option<SocketAddr> {
        self.channels.get(&channel).filter(|(_, until)| *until > now).map(|(peer, _)| *peer)
    }

    /// The channel of a peer.
    pub fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let mut channels = self.channels.iter();
        channels.find(|(_, (at, until))| *at == peer && *until > now).map(|(channel, _)| *channel)
    }
}

/// Outcome of a request for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Done,
    /// The channel is bound to another peer, or the peer to another channel.
    Conflict,
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_and_channels_end_and_have_bounds() {
        let (now, peer) =
            (Instant::now(), |n: u16| SocketAddr::from(([1, 1, (n >> 8) as u8, n as u8], 9)));
        let mut allocation = Allocation::new(peer(0), String::new(), 1.into(), peer(0), now);
        assert_eq!(allocation.bind(0x4000, peer(1), now), Bound::Done);
        assert_eq!(allocation.bind(0x4000, peer(1), now), Bound::Done, "a refresh");
        assert_eq!(allocation.bind(0x4000, peer(2), now), Bound::Conflict);
        assert_eq!(allocation.bind(0x4001, peer(1), now), Bound::Conflict);
        assert!(
            allocation.is_permitted(peer(1).ip(), now)
                && !allocation.is_permitted(peer(2).ip(), now)
        );
        assert_eq!(
            (allocation.peer_of(0x4000, now), allocation.channel_of(peer(1), now)),
            (Some(peer(1)), Some(0x4000))
        );
        for n in 2..=PERMISSIONS_MAX as u16 {
            assert_eq!(allocation.bind(0x4000 + n, peer(n), now), Bound::Done);
        }
        assert_eq!(allocation.bind(0x6000, peer(1000), now), Bound::Full);
        assert!(!allocation.permit(&[peer(1000).ip()], now));
        assert!(allocation.permit(&[peer(1).ip()], now), "known already");
        let later = now + CHANNEL_LIFETIME;
        assert!(
            !allocation.is_permitted(peer(1).ip(), later)
                && allocation.peer_of(0x4000, later).is_none()
        );
        assert_eq!(allocation.bind(0x4000, peer(2), later), Bound::Done);
    }
}
