//! Routes datagrams to connections: by the USERNAME of their STUN, or by their source address.
//!
//! A source address is bound to a connection only by that connection's driver, after it has
//! accepted a STUN message from the address. An address in use by a live connection is not taken
//! from it: a forged source cannot redirect datagrams of others.
//!
//! But behind one address a new connection may begin before the end of an old one is detected:
//! after a cut of the network, or when a dialer was restarted. So an address has room for two
//! connections. The newer one receives the handshakes, which the older has completed. Both receive
//! encrypted datagrams, which only one of them can decrypt. Datagrams that a driver cannot decrypt
//! or did not request keep neither connection alive.
//!
//! The table is bounded by the number of connections and by [`ADDRESSES_MAX`] for each.

use super::{
    dtls,
    retired_ufrags::{EndState, RetiredUfrags},
    socket::Received,
};
use crate::budget::Budget;
use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Source addresses of one connection; beyond that the least recently seen one is evicted.
const ADDRESSES_MAX: usize = 8;
/// A connection that was silent at an address for this long may lose its place there to another
/// one; a live connection checks more often.
const IDLE_AFTER: Duration = Duration::from_secs(6);
/// Datagrams queued per connection; further ones are dropped, as the network would.
const QUEUE: usize = 1024;
/// The same limit before the remote is authenticated.
const QUEUE_UNAUTHENTICATED: usize = 64;

/// One received datagram, on its way to a driver.
pub struct Datagram {
    pub source: SocketAddr,
    /// The local address that it was sent to, where the socket has several.
    pub local: Option<IpAddr>,
    pub at: Instant,
    pub data: Vec<u8>,
}

impl From<Received<'_>> for Datagram {
    fn from(Received { source, local, at, data }: Received<'_>) -> Self {
        Self { source, local, at, data: data.to_vec() }
    }
}

/// The handle that delivers datagrams to one connection's driver.
pub struct Link {
    id: u64,
    datagrams: mpsc::Sender<Datagram>,
    budget: Arc<Budget>,
}

impl Link {
    /// Queues a datagram, or drops it if the queue is full.
    pub fn deliver(&self, datagram: Datagram) {
        let queued = self.datagrams.max_capacity() - self.datagrams.capacity();
        if self.budget.is_authenticated() || queued < QUEUE_UNAUTHENTICATED {
            let _ = self.datagrams.try_send(datagram);
        }
    }
}

/// The routes of one listener, shared with its drivers.
#[derive(Default)]
pub struct Routes {
    next_id: u64,
    by_user: HashMap<String, Arc<Link>>,
    by_address: HashMap<SocketAddr, Binding>,
    users: HashMap<u64, String>,
    retired_ufrags: RetiredUfrags,
}

/// The connections of one source address.
struct Binding {
    older: BoundConnection,
    newer: Option<BoundConnection>,
}

struct BoundConnection {
    link: Arc<Link>,
    last_seen: Instant,
}

impl BoundConnection {
    fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_seen) >= IDLE_AFTER
    }
}

impl Binding {
    fn connection_mut(&mut self, id: u64) -> Option<&mut BoundConnection> {
        std::iter::once(&mut self.older)
            .chain(&mut self.newer)
            .find(|connection| connection.link.id == id)
    }

    /// Binds a connection, or returns false if there is no room.
    fn bind(&mut self, connection: BoundConnection) -> bool {
        let now = connection.last_seen;
        if let Some(known) = self.connection_mut(connection.link.id) {
            known.last_seen = now;
            return true;
        }
        if self.older.is_idle(now) {
            match self.newer.take() {
                Some(newer) => self.older = newer,
                None => {
                    self.older = connection;
                    return true;
                }
            }
        }
        let has_room = self.newer.as_ref().is_none_or(|newer| newer.is_idle(now));
        if has_room {
            self.newer = Some(connection);
        }
        has_room
    }

    /// Removes a connection; returns false if it was the only one.
    fn unbind(&mut self, id: u64) -> bool {
        if self.newer.as_ref().is_some_and(|newer| newer.link.id == id) {
            self.newer = None;
        }
        if self.older.link.id == id {
            match self.newer.take() {
                Some(newer) => self.older = newer,
                None => return false,
            }
        }
        true
    }
}

impl Routes {
    /// Creates an empty table, to be shared.
    pub fn shared() -> Arc<Mutex<Self>> {
        Arc::default()
    }

    /// The number of connections in the table.
    pub fn connections(&self) -> usize {
        self.users.len()
    }

    /// The connection of a STUN request with this USERNAME.
    pub fn by_user(&self, user: &str) -> Option<Arc<Link>> {
        self.by_user.get(user).cloned()
    }

    /// Whether a connection with this USERNAME has ended, so that no other may be created.
    pub fn is_retired(&mut self, user: &str, now: Instant) -> bool {
        self.retired_ufrags.is_retired(user, now)
    }

    /// The connections for which a datagram other than STUN from this source may be useful.
    pub fn by_address(&self, source: SocketAddr, datagram: &[u8]) -> [Option<Arc<Link>>; 2] {
        let Some(Binding { older, newer }) = self.by_address.get(&source) else {
            return [None, None];
        };
        let older = (newer.is_none() || !dtls::is_plaintext(datagram)).then(|| older.link.clone());
        [older, newer.as_ref().map(|newer| newer.link.clone())]
    }

    /// Adds a connection; its driver gets the id and the receiver.
    pub fn insert(
        &mut self,
        user: &str,
        budget: Arc<Budget>,
    ) -> (Arc<Link>, mpsc::Receiver<Datagram>) {
        let (datagrams, receiver) = mpsc::channel(QUEUE);
        let link = Arc::new(Link { id: self.next_id, datagrams, budget });
        self.next_id += 1;
        self.users.insert(link.id, user.to_owned());
        self.by_user.insert(user.to_owned(), link.clone());
        (link, receiver)
    }

    /// Binds a source to a connection that was seen there, unless two other connections are using
    /// it.
    pub fn bind(&mut self, id: u64, source: SocketAddr, now: Instant) -> bool {
        let Some(link) = self.users.get(&id).and_then(|user| self.by_user.get(user)).cloned()
        else {
            return false;
        };
        let connection = BoundConnection { link, last_seen: now };
        match self.by_address.entry(source) {
            Entry::Occupied(mut bound) => {
                if !bound.get_mut().bind(connection) {
                    return false;
                }
            }
            Entry::Vacant(free) => drop(free.insert(Binding { older: connection, newer: None })),
        }
        self.evict_oldest_address(id, source);
        true
    }

    /// Unbinds the address that a connection has not used for the longest time, if it has too many.
    fn evict_oldest_address(&mut self, id: u64, except: SocketAddr) {
        let of_ours = |(source, binding): (&SocketAddr, &mut Binding)| {
            Some((binding.connection_mut(id)?.last_seen, *source))
        };
        let ours: Vec<_> = self.by_address.iter_mut().filter_map(of_ours).collect();
        if ours.len() > ADDRESSES_MAX
            && let Some((_, oldest)) =
                ours.into_iter().filter(|(_, source)| *source != except).min()
            && let Some(binding) = self.by_address.get_mut(&oldest)
            && !binding.unbind(id)
        {
            self.by_address.remove(&oldest);
        }
    }

    /// Removes an ended connection, and retires its ufrag.
    pub fn remove(&mut self, id: u64, end: EndState, now: Instant) {
        if let Some(user) = self.users.remove(&id) {
            self.by_user.remove(&user);
            self.retired_ufrags.insert(&user, end, now);
        }
        self.by_address.retain(|_, binding| binding.unbind(id));
    }
}

/// Locks the routes; no code can panic while they are locked.
pub fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A driver's entry in the routes, removed when dropped. The reference is weak, so that the routes
/// of a removed listener, and with them the drivers' queues, are freed.
pub struct RouteGuard {
    routes: std::sync::Weak<Mutex<Routes>>,
    id: u64,
    /// The state in which the connection would end now.
    end: EndState,
}

impl RouteGuard {
    pub fn new(routes: &Arc<Mutex<Routes>>, link: &Link) -> Self {
        Self { routes: Arc::downgrade(routes), id: link.id, end: EndState::HalfOpen }
    }

    /// Binds an authenticated source of the remote.
    pub fn confirm_source(&self, source: SocketAddr, now: Instant) {
        if let Some(routes) = self.routes.upgrade()
            && !lock(&routes).bind(self.id, source, now)
        {
            tracing::debug!(%source, "address is in use by other connections");
        }
    }

    /// Records more than STUN: whatever ends this connection, its ufrag is not accepted again.
    pub fn mark_final(&mut self) {
        self.end = EndState::Final;
    }
}

impl Drop for RouteGuard {
    fn drop(&mut self) {
        if let Some(routes) = self.routes.upgrade() {
            lock(&routes).remove(self.id, self.end, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Pool;

    fn table(connections: usize) -> (Routes, Vec<Arc<Link>>, Vec<mpsc::Receiver<Datagram>>) {
        let mut routes = Routes::default();
        let new = |n: usize| routes.insert(&n.to_string(), Budget::new(Pool::new(0)));
        let (links, receivers) = (0..connections).map(new).unzip();
        (routes, links, receivers)
    }

    fn source(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    const CLIENT_HELLO: &[u8] = &[22, 254, 253, 0, 0, 0, 0];
    const DATA: &[u8] = &[23, 254, 253, 0, 1, 0, 0];

    /// The ids of the connections that receive a datagram from the first source.
    fn takers(routes: &Routes, datagram: &[u8]) -> Vec<u64> {
        routes.by_address(source(1), datagram).iter().flatten().map(|link| link.id).collect()
    }

    #[test]
    fn an_address_in_use_is_shared_but_not_given_away() {
        let (mut routes, links, _rx) = table(3);
        let [a, b, c] = [0, 1, 2].map(|n: usize| links[n].id);
        let now = Instant::now();
        assert!(takers(&routes, DATA).is_empty(), "a known USERNAME alone binds nothing");
        assert!(routes.bind(a, source(1), now));
        assert_eq!((takers(&routes, CLIENT_HELLO), takers(&routes, DATA)), (vec![a], vec![a]));
        assert!(routes.bind(b, source(1), now));
        assert_eq!((takers(&routes, CLIENT_HELLO), takers(&routes, DATA)), (vec![b], vec![a, b]));
        assert!(!routes.bind(c, source(1), now), "room for two");
        routes.remove(a, EndState::Final, now);
        assert_eq!((takers(&routes, CLIENT_HELLO), takers(&routes, DATA)), (vec![b], vec![b]));
        assert!(routes.bind(c, source(1), now));
        routes.remove(c, EndState::Final, now);
        assert_eq!(takers(&routes, CLIENT_HELLO), [b]);
        routes.remove(b, EndState::Final, now);
        assert!(routes.by_address.is_empty());
    }

    #[test]
    fn an_idle_connection_gives_way_to_a_new_one() {
        let (mut routes, links, _rx) = table(3);
        let [a, b, c] = [0, 1, 2].map(|n: usize| links[n].id);
        let now = Instant::now();
        assert!(routes.bind(a, source(1), now) && routes.bind(a, source(1), now + IDLE_AFTER / 2));
        assert!(routes.bind(b, source(1), now + IDLE_AFTER), "the other was active in between");
        assert_eq!(takers(&routes, DATA), [a, b]);
        // Unauthenticated datagrams do not renew a binding.
        assert!(routes.bind(c, source(1), now + IDLE_AFTER + IDLE_AFTER / 2));
        assert_eq!(takers(&routes, DATA), [b, c]);
        assert!(routes.bind(a, source(1), now + 3 * IDLE_AFTER), "both were idle");
        assert_eq!((takers(&routes, CLIENT_HELLO), takers(&routes, DATA)), (vec![a], vec![c, a]));
    }

    #[test]
    fn the_table_is_bounded_and_drops_idle_entries() {
        let (mut routes, links, _rx) = table(2);
        let now = Instant::now();
        for port in 1..100 {
            assert!(routes.bind(
                links[0].id,
                source(port),
                now + Duration::from_millis(port.into())
            ));
        }
        assert_eq!(routes.by_address.len(), ADDRESSES_MAX);
        assert!(routes.by_address(source(99), DATA)[0].is_some());
        routes.remove(links[0].id, EndState::Final, now);
        assert!(routes.by_address.is_empty() && routes.by_user("0").is_none());
        assert!(routes.is_retired("0", now) && !routes.is_retired("1", now));
        assert!(!routes.bind(links[0].id, source(1), now), "ended");
        assert_eq!(routes.connections(), 1);
    }

    #[test]
    fn unauthenticated_connections_get_a_short_queue() {
        let (_, links, mut rx) = table(1);
        for _ in 0..2 * QUEUE_UNAUTHENTICATED {
            links[0].deliver(Datagram {
                source: source(1),
                local: None,
                at: Instant::now(),
                data: vec![],
            });
        }
        assert_eq!(std::iter::from_fn(|| rx[0].try_recv().ok()).count(), QUEUE_UNAUTHENTICATED);
    }
}
