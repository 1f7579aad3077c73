//! Which connection a datagram belongs to: by the USERNAME of its STUN, or by its source address.
//!
//! A source address is bound to a connection only by that connection's driver, after str0m has
//! accepted a STUN message from it, and an address that a live connection uses is not given to
//! another one: a forged source redirects nobody's datagrams. The table is bounded by the number
//! of connections and by [`ADDRESSES_MAX`] for each.

use super::socket::Received;
use crate::budget::Budget;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Source addresses that a connection may use; the one longest unheard gives way.
const ADDRESSES_MAX: usize = 8;
/// An address may move to another connection once the old one has been silent there for this
/// long: a browser that reuses a port gets through, while a live one checks more often.
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
}

struct Binding {
    link: Arc<Link>,
    heard: Instant,
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

    /// The connection bound to a source address.
    pub fn by_address(&mut self, source: SocketAddr, now: Instant) -> Option<Arc<Link>> {
        let binding = self.by_address.get_mut(&source)?;
        binding.heard = now;
        Some(binding.link.clone())
    }

    /// Adds a connection; its driver gets the id and the receiver.
    pub fn insert(&mut self, user: &str, budget: Arc<Budget>) -> (Arc<Link>, mpsc::Receiver<Datagram>) {
        let (datagrams, receiver) = mpsc::channel(QUEUE);
        let link = Arc::new(Link { id: self.next_id, datagrams, budget });
        self.next_id += 1;
        self.users.insert(link.id, user.to_owned());
        self.by_user.insert(user.to_owned(), link.clone());
        (link, receiver)
    }

    /// Binds a source to a connection, unless another one is using it.
    pub fn bind(&mut self, id: u64, source: SocketAddr, now: Instant) -> bool {
        let Some(link) = self.users.get(&id).and_then(|user| self.by_user.get(user)).cloned() else { return false };
        if let Some(old) = self.by_address.get(&source)
            && old.link.id != id
            && now.saturating_duration_since(old.heard) < QUIET
        {
            return false;
        }
        self.by_address.insert(source, Binding { link, heard: now });
        let ours = || self.by_address.iter().filter(|(_, b)| b.link.id == id);
        if ours().count() > ADDRESSES_MAX
            && let Some(oldest) = ours().filter(|(a, _)| **a != source).min_by_key(|(_, b)| b.heard).map(|(a, _)| *a)
        {
            self.by_address.remove(&oldest);
        }
        true
    }

    /// Forgets a connection that has ended.
    pub fn remove(&mut self, id: u64) {
        if let Some(user) = self.users.remove(&id) {
            self.by_user.remove(&user);
        }
        self.by_address.retain(|_, b| b.link.id != id);
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
}

impl Place {
    pub fn new(routes: &Arc<Mutex<Routes>>, link: &Link) -> Self {
        Self { routes: Arc::downgrade(routes), id: link.id }
    }

    /// str0m accepted a STUN message from there.
    pub fn accepted(&self, source: SocketAddr, now: Instant) {
        if let Some(routes) = self.routes.upgrade()
            && !lock(&routes).bind(self.id, source, now)
        {
            tracing::debug!(%source, "address is in use by another connection");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(routes) = self.routes.upgrade() {
            lock(&routes).remove(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Pool;

    fn table() -> (Routes, Vec<Arc<Link>>, Vec<mpsc::Receiver<Datagram>>) {
        let mut routes = Routes::default();
        let new = |user: &str| routes.insert(user, Budget::new(Pool::new(0)));
        let (links, receivers) = ["a", "b"].map(new).into_iter().unzip();
        (routes, links, receivers)
    }

    fn source(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn an_address_in_use_is_not_given_away() {
        let (mut routes, links, _rx) = table();
        let now = Instant::now();
        assert!(routes.by_address(source(1), now).is_none(), "a known USERNAME alone binds nothing");
        assert!(routes.bind(links[0].id, source(1), now));
        assert!(!routes.bind(links[1].id, source(1), now));
        assert_eq!(routes.by_address(source(1), now + QUIET / 2).unwrap().id, links[0].id);
        assert!(!routes.bind(links[1].id, source(1), now + QUIET), "heard in between");
        assert!(routes.bind(links[1].id, source(1), now + 2 * QUIET));
        assert_eq!(routes.by_address(source(1), now).unwrap().id, links[1].id);
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let (mut routes, links, _rx) = table();
        let now = Instant::now();
        for port in 1..100 {
            assert!(routes.bind(links[0].id, source(port), now + Duration::from_millis(port.into())));
        }
        assert_eq!(routes.by_address.len(), ADDRESSES_MAX);
        assert!(routes.by_address(source(99), now).is_some());
        routes.remove(links[0].id);
        assert!(routes.by_address.is_empty() && routes.by_user("a").is_none());
        assert!(!routes.bind(links[0].id, source(1), now), "ended");
        assert_eq!(routes.connections(), 1);
    }

    #[test]
    fn strangers_get_a_short_queue() {
        let (_, links, mut rx) = table();
        for _ in 0..2 * QUEUE_UNAUTHENTICATED {
            links[0].deliver(Datagram { source: source(1), local: None, at: Instant::now(), data: vec![] });
        }
        assert_eq!(std::iter::from_fn(|| rx[0].try_recv().ok()).count(), QUEUE_UNAUTHENTICATED);
    }
}
