//! One client's allocation: whom it may hear and by which channels, each for a time (RFC 8656,
//! sections 9 and 12).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use turn_types::stun::message::TransactionId;

/// How long a permission lasts, as the RFC has it.
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// How long a channel lasts, as the RFC has it.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// Addresses that may send to one allocation.
pub const PERMISSIONS_MAX: usize = 64;
/// Channels of one allocation.
pub const CHANNELS_MAX: usize = 64;

/// Names an allocation for as long as the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64);

/// See the module's documentation.
#[derive(Debug)]
pub struct Allocation {
    /// Whose it is; with the one listening socket this is the 5-tuple.
    pub client: SocketAddr,
    /// All later requests must show the same.
    pub username: String,
    /// The request that made it: repeated, it gets the same answer.
    pub transaction: TransactionId,
    /// The address that peers see.
    pub relayed: SocketAddr,
    /// When it ends.
    pub expires: Instant,
    /// Payload carried, both ways.
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

    /// Lets packets pass from and to these addresses from now on: all or none of them.
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

    /// Ties a channel to a peer, or refreshes it; neither may be tied to another.
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

    /// Whom a channel leads to.
    pub fn peer_of(&self, channel: u16, now: Instant) -> Option<SocketAddr> {
        self.channels.get(&channel).filter(|(_, until)| *until > now).map(|(peer, _)| *peer)
    }

    /// The channel that leads to a peer.
    pub fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let mut channels = self.channels.iter();
        channels.find(|(_, (at, until))| *at == peer && *until > now).map(|(channel, _)| *channel)
    }
}

/// What became of a request for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Done,
    /// The channel leads elsewhere, or the peer has another one.
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
