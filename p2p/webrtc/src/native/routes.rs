//! Which connection a datagram belongs to: by the USERNAME of its STUN, or by its source address.
//!
//! A source address is bound to a connection only by that connection's driver, after it has
//! accepted a STUN message from it, and an address that a live connection uses is not taken from
//! it: a forged source redirects nobody's datagrams.
//!
//! But behind one address a new connection may begin before the end of an old one is noticed: after
//! a cut of the network, or when a dialer was restarted. So an address has room for two: the newer
//! one gets the handshakes, which the older has behind it, and both get what is encrypted, which
//! only one of them can decrypt. What a driver can not decrypt, or has not asked for, keeps neither
//! alive.
//!
//! The table is bounded by the number of connections and by [`ADDRESSES_MAX`] for each.

use super::{
    dtls,
    ended::{End, Ended},
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

/// Source addresses that a connection may use; the one longest unheard gives way.
const ADDRESSES_MAX: usize = 8;
/// A connection's place at an address may go to another one once it has been silent there for
/// this long; a live one checks more often.
const QUIET: Duration = Duration::from_secs(6);
/// Datagrams queued per connection; more are dropped, as the network would.
const QUEUE: usize = 1024;
/// The same before the remote is authenticated.
const QUEUE_UNAUTHENTICATED: usize = 64;

/// One received datagram, on its way to a driver.
pub struct Datagram {
    pub source: SocketAddr,
    /// The address of ours that it was sent to, where the socket has several.
    pub local: Option<IpAddr>,
    pub at: Instant,
    pub data: Vec<u8>,
}

impl From<Received<'_>> for Datagram {
    fn from(Received { source, local, at, data }: Received<'_>) -> Self {
        Self { source, local, at, data: data.to_vec() }
    }
}

/// The way to one connection's driver.
pub struct Link {
    id: u64,
    datagrams: mpsc::Sender<Datagram>,
    budget: Arc<Budget>,
}

impl Link {
    /// Queues a datagram, or drops it if the driver is behind.
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
    ended: Ended,
}

/// The connections of one source address.
struct Binding {
    older: Tenant,
    newer: Option<Tenant>,
}

struct Tenant {
    link: Arc<Link>,
    heard: Instant,
}

impl Tenant {
    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) >= QUIET
    }
}

impl Binding {
    fn tenant(&mut self, id: u64) -> Option<&mut Tenant> {
        std::iter::once(&mut self.older).chain(&mut self.newer).find(|tenant| tenant.link.id == id)
    }

    /// Takes a connection in, or says that there is no room.
    fn take_in(&mut self, tenant: Tenant) -> bool {
        let now = tenant.heard;
        if let Some(known) = self.tenant(tenant.link.id) {
            known.heard = now;
            return true;
        }
        if self.older.is_quiet(now) {
            match self.newer.take() {
                Some(newer) => self.older = newer,
                None => {
                    self.older = tenant;
                    return true;
                }
            }
        }
        let has_room = self.newer.as_ref().is_none_or(|newer| newer.is_quiet(now));
        if has_room {
            self.newer = Some(tenant);
        }
        has_room
    }

    /// Lets a connection go; false if it was the only one.
    fn let_go(&mut self, id: u64) -> bool {
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
    /// An empty table, to be shared.
    pub fn shared() -> Arc<Mutex<Self>> {
        Arc::default()
    }

    /// Connections in the table.
    pub fn connections(&self) -> usize {
        self.users.len()
    }

    /// The connection of a STUN request with this USERNAME.
    pub fn by_user(&self, user: &str) -> Option<Arc<Link>> {
        self.by_user.get(user).cloned()
    }

    /// Whether a connection of this USERNAME has ended, so that there must be no other.
    pub fn has_ended(&mut self, user: &str, now: Instant) -> bool {
        self.ended.refuses(user, now)
    }

    /// The connections to which a datagram from this source, which is no STUN, may be of use.
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

    /// Binds a source to a connection that was heard from there, unless two others are using it.
    pub fn bind(&mut self, id: u64, source: SocketAddr, now: Instant) -> bool {
        let Some(link) = self.users.get(&id).and_then(|user| self.by_user.get(user)).cloned()
        else {
            return false;
        };
        let tenant = Tenant { link, heard: now };
        match self.by_address.entry(source) {
            Entry::Occupied(mut bound) => {
                if !bound.get_mut().take_in(tenant) {
                    return false;
                }
            }
            Entry::Vacant(free) => drop(free.insert(Binding { older: tenant, newer: None })),
        }
        self.keep_latest(id, source);
        true
    }

    /// Lets go of the address that a connection has not used for the longest time, if it has too
    /// many.
    fn keep_latest(&mut self, id: u64, except: SocketAddr) {
        let of_ours = |(source, binding): (&SocketAddr, &mut Binding)| {
            Some((binding.tenant(id)?.heard, *source))
        };
        let ours: Vec<_> = self.by_address.iter_mut().filter_map(of_ours).collect();
        if ours.len() > ADDRESSES_MAX
            && let Some((_, oldest)) =
                ours.into_iter().filter(|(_, source)| *source != except).min()
            && let Some(binding) = self.by_address.get_mut(&oldest)
            && !binding.let_go(id)
        {
            self.by_address.remove(&oldest);
        }
    }

    /// Forgets a connection that has ended, but for its name.
    pub fn remove(&mut self, id: u64, end: End, now: Instant) {
        if let Some(user) = self.users.remove(&id) {
            self.by_user.remove(&user);
            self.ended.insert(&user, end, now);
        }
        self.by_address.retain(|_, binding| binding.let_go(id));
    }
}

/// Locks the routes; nothing can panic while they are locked.
pub fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A driver's place in the routes; leaves it when dropped. Weak, so that a removed listener's
/// routes, and with them the drivers' queues, go away.
pub struct Place {
    routes: std::sync::Weak<Mutex<Routes>>,
    id: u64,
    /// How the connection would end now.
    end: End,
}

impl Place {
    pub fn new(routes: &Arc<Mutex<Routes>>, link: &Link) -> Self {
        Self { routes: Arc::downgrade(routes), id: link.id, end: End::HalfOpen }
    }

    /// The remote was heard from there, beyond doubt.
    pub fn heard(&self, source: SocketAddr, now: Instant) {
        if let Some(routes) = self.routes.upgrade()
            && !lock(&routes).bind(self.id, source, now)
        {
            tracing::debug!(%source, "address is in use by other connections");
        }
    }

    /// There was more than STUN: whatever ends this connection, there will be no other of its name.
    pub fn is_final(&mut self) {
        self.end = End::Final;
    }
}

impl Drop for Place {
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

    /// Who gets a datagram from the first source.
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
        routes.remove(a, End::Final, now);
        assert_eq!((takers(&routes, CLIENT_HELLO), takers(&routes, DATA)), (vec![b], vec![b]));
        assert!(routes.bind(c, source(1), now));
        routes.remove(c, End::Final, now);
        assert_eq!(takers(&routes, CLIENT_HELLO), [b]);
        routes.remove(b, End::Final, now);
        assert!(routes.by_address.is_empty());
    }

    #[test]
    fn who_is_quiet_gives_way() {
        let (mut routes, links, _rx) = table(3);
        let [a, b, c] = [0, 1, 2].map(|n: usize| links[n].id);
        let now = Instant::now();
        assert!(routes.bind(a, source(1), now) && routes.bind(a, source(1), now + QUIET / 2));
        assert!(routes.bind(b, source(1), now + QUIET), "the other was heard in between");
        assert_eq!(takers(&routes, DATA), [a, b]);
        // Datagrams that nobody has authenticated keep nobody's place.
        assert!(routes.bind(c, source(1), now + QUIET + QUIET / 2));
        assert_eq!(takers(&routes, DATA), [b, c]);
        assert!(routes.bind(a, source(1), now + 3 * QUIET), "both were quiet");
        assert_eq!((takers(&routes, CLIENT_HELLO), takers(&routes, DATA)), (vec![a], vec![c, a]));
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
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
        routes.remove(links[0].id, End::Final, now);
        assert!(routes.by_address.is_empty() && routes.by_user("0").is_none());
        assert!(routes.has_ended("0", now) && !routes.has_ended("1", now));
        assert!(!routes.bind(links[0].id, source(1), now), "ended");
        assert_eq!(routes.connections(), 1);
    }

    #[test]
    fn strangers_get_a_short_queue() {
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
