//! The table of connected peers: their connections, the connection in use, and the peer's
//! properties.
//!
//! Requests use the direct connection, among several the oldest. While there is a circuit, a direct
//! connection is used only once it has answered a ping, and no longer once it misses one. The
//! circuit that it replaces becomes a standby.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, swarm::ConnectionId};
use tequio_core::types::NodeId;

use super::announced_addresses::ADDRESSES_MAX;
use crate::{
    event::{DisconnectReason, PathReason},
    path::{Path, without_secrets, without_target},
    protocols::notifications::NotificationRouter,
};

/// Consecutive unanswered pings after which a connection counts as dead.
const PINGS_MISSED_MAX: u32 = 2;
/// Bounds on what the node stores from a peer's identify message.
const AGENT_CHARS_MAX: usize = 64;

/// Properties of a connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer's node id.
    pub id: NodeId,
    /// The path that requests to the peer take.
    pub path: Path,
    /// The dialled or the remote address, without secrets.
    pub addr: Multiaddr,
    /// The peer's agent string; unverified.
    pub agent: Option<String>,
    /// Why the peer could not be identified: it has then no agent string.
    pub identify_error: Option<String>,
    /// Round-trip time of the last ping.
    pub rtt: Option<Duration>,
    /// The addresses that the peer advertises; unverified.
    pub addrs: Vec<Multiaddr>,
}

/// The peer table that the handles read.
pub(crate) type PeerSnapshot = Arc<Mutex<BTreeMap<NodeId, PeerInfo>>>;

/// The effect of a changed connection on the application.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Connected(Path, Multiaddr),
    PathChanged(Path, Multiaddr, PathReason),
    Disconnected(DisconnectReason),
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    path: Path,
    remote: Multiaddr,
    is_dialled: bool,
    /// Whether the last ping was answered, so that the connection is known to carry traffic. The
    /// first connection to a peer replaces no other and counts as proven from the start.
    is_proven: bool,
    is_standby: bool,
    pings_missed: u32,
    closing: Option<DisconnectReason>,
}

#[derive(Debug)]
struct Peer {
    connections: Vec<Connection>,
    info: PeerInfo,
}

impl Peer {
    fn best(&self) -> Option<&Connection> {
        let open = || self.connections.iter().filter(|c| c.closing.is_none());
        match open().find(|c| !c.path.is_direct()) {
            Some(circuit) => open().find(|c| c.path.is_direct() && c.is_proven).or(Some(circuit)),
            None => open().next(),
        }
    }
}

/// What to do after a ping.
#[derive(Debug, PartialEq, Eq)]
pub enum PingOutcome {
    /// The connection is alive; the path may have changed.
    Alive(Change),
    /// The connection is dead.
    Dead,
}

#[derive(Debug, Default)]
pub struct Peers {
    table: HashMap<PeerId, Peer>,
    snapshot: PeerSnapshot,
    notifications: Option<Arc<NotificationRouter>>,
    /// Peers whose connections have changed, see [`Peers::standby_changes`].
    changed: BTreeSet<PeerId>,
}

impl Peers {
    pub fn new(snapshot: PeerSnapshot, notifications: Arc<NotificationRouter>) -> Self {
        Self {
            table: HashMap::new(),
            snapshot,
            notifications: Some(notifications),
            changed: BTreeSet::new(),
        }
    }

    pub fn opened(
        &mut self,
        peer: PeerId,
        node: NodeId,
        id: ConnectionId,
        path: Path,
        endpoint: &ConnectedPoint,
    ) -> Change {
        let (remote, is_dialled) = (endpoint.get_remote_address().clone(), endpoint.is_dialer());
        let is_new = !self.table.contains_key(&peer);
        let entry = self.table.entry(peer).or_insert_with(|| Peer {
            connections: Vec::new(),
            info: PeerInfo {
                id: node,
                path,
                addr: without_secrets(remote.clone()),
                agent: None,
                identify_error: None,
                rtt: None,
                addrs: Vec::new(),
            },
        });
        let addr = without_secrets(remote.clone());
        let (is_proven, is_standby) = (entry.best().is_none(), false);
        let connection = Connection {
            id,
            path,
            remote,
            is_dialled,
            is_proven,
            is_standby,
            pings_missed: 0,
            closing: None,
        };
        entry.connections.push(connection);
        self.route(&peer);
        if is_new {
            self.publish(&peer);
            return Change::Connected(path, addr);
        }
        // Happens only when all other connections are being closed.
        self.refresh(&peer, PathReason::Lost(DisconnectReason::Local))
    }

    /// Handles a closed connection. `reason` comes from the transport; a recorded local reason
    /// takes precedence.
    pub fn closed(&mut self, peer: &PeerId, id: ConnectionId, reason: DisconnectReason) -> Change {
        let Some(entry) = self.table.get_mut(peer) else { return Change::None };
        let Some(position) = entry.connections.iter().position(|c| c.id == id) else {
            return Change::None;
        };
        let closed = entry.connections.remove(position);
        let is_last = entry.connections.is_empty();
        let reason = closed.closing.unwrap_or(reason);
        self.route(peer);
        if !is_last {
            return self.refresh(peer, PathReason::Lost(reason));
        }
        self.forget(peer);
        Change::Disconnected(reason)
    }

    /// Records why the node closes a connection. The connection is not used from now on.
    pub fn mark_closing(
        &mut self,
        peer: &PeerId,
        id: ConnectionId,
        reason: DisconnectReason,
    ) -> Change {
        let Some(entry) = self.table.get_mut(peer) else { return Change::None };
        if let Some(connection) = entry.connections.iter_mut().find(|c| c.id == id) {
            connection.closing.get_or_insert_with(|| reason.clone());
        }
        self.route(peer);
        self.refresh(peer, PathReason::Lost(reason))
    }

    /// Calls [`Peers::mark_closing`] for all connections of a peer and returns them.
    pub fn mark_all_closing(
        &mut self,
        peer: &PeerId,
        reason: &DisconnectReason,
    ) -> Vec<ConnectionId> {
        let Some(entry) = self.table.get_mut(peer) else { return Vec::new() };
        for connection in &mut entry.connections {
            connection.closing.get_or_insert_with(|| reason.clone());
        }
        let all = entry.connections.iter().map(|c| c.id).collect();
        self.route(peer);
        all
    }

    /// Routes notifications over the best connection, too.
    fn route(&mut self, peer: &PeerId) {
        self.changed.insert(*peer);
        if let (Some(notifications), Some(entry)) = (&self.notifications, self.table.get(peer)) {
            notifications.route(&entry.info.id, entry.best().map(|c| c.id));
        }
    }

    /// The connection that carries requests to a peer.
    pub fn best(&self, peer: &PeerId) -> Option<(ConnectionId, Path)> {
        self.table.get(peer)?.best().map(|c| (c.id, c.path))
    }

    /// The path of a direct connection to a peer, proven or not.
    pub fn direct(&self, peer: &PeerId) -> Option<Path> {
        let mut open = self.table.get(peer)?.connections.iter().filter(|c| c.closing.is_none());
        open.find(|c| c.path.is_direct()).map(|c| c.path)
    }

    /// Whether the node has an open connection to this peer that it dialled over a path as good as
    /// `path`. A connection that the peer dialled does not count: if both sides closed their own
    /// one in favour of the other's, none would be left.
    pub fn has_dialled(&self, peer: &PeerId, path: Path) -> bool {
        let mut all = self.table.get(peer).into_iter().flat_map(|p| &p.connections);
        all.any(|c| {
            c.closing.is_none() && c.is_dialled && (c.path.is_direct() || !path.is_direct())
        })
    }

    /// Returns the circuits that have become, or no longer are, a standby since the last call.
    pub fn standby_changes(&mut self) -> Vec<(PeerId, ConnectionId, bool)> {
        let mut out = Vec::new();
        for peer in std::mem::take(&mut self.changed) {
            let Some(entry) = self.table.get_mut(&peer) else { continue };
            let is_replaced = entry.best().is_some_and(|best| best.path.is_direct());
            for circuit in entry.connections.iter_mut().filter(|c| !c.path.is_direct()) {
                if circuit.is_standby != is_replaced {
                    circuit.is_standby = is_replaced;
                    out.push((peer, circuit.id, is_replaced));
                }
            }
        }
        out
    }

    /// Finds a peer, and the path to it, by the dialled or remote address of a connection.
    pub fn find_by_addr(&self, remote: &Multiaddr) -> Option<(NodeId, Path)> {
        let bare = without_target(remote.clone());
        self.table.values().find_map(|peer| {
            let found =
                peer.connections.iter().find(|c| without_target(c.remote.clone()) == bare)?;
            Some((peer.info.id, found.path))
        })
    }

    /// The address of the connection in use.
    pub fn best_addr(&self, peer: &PeerId) -> Option<Multiaddr> {
        Some(self.table.get(peer)?.best()?.remote.clone())
    }

    /// The address of a direct connection.
    pub fn direct_addr(&self, peer: &PeerId) -> Option<Multiaddr> {
        let connection = self.table.get(peer)?.connections.iter().find(|c| c.path.is_direct())?;
        Some(without_target(connection.remote.clone()))
    }

    /// The address of the circuit to a peer, if this node dialled it and no better connection
    /// exists.
    pub fn circuit_to(&self, peer: &PeerId) -> Option<Multiaddr> {
        let best = self.table.get(peer)?.best()?;
        (best.is_dialled && !best.path.is_direct()).then(|| best.remote.clone())
    }

    pub fn identified(&mut self, peer: &PeerId, agent: &str, addrs: Vec<Multiaddr>) {
        let Some(entry) = self.table.get_mut(peer) else { return };
        // Shown to users and written to logs: keep printable characters only.
        let agent = agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS_MAX).collect();
        entry.info.agent = Some(agent);
        entry.info.identify_error = None;
        entry.info.addrs = addrs.into_iter().take(ADDRESSES_MAX).collect();
        self.publish(peer);
    }

    /// Records that a peer's identify message is missing. Returns whether this is news: the peer
    /// was not identified before, and the cause differs from the last one.
    pub fn identify_failed(&mut self, peer: &PeerId, cause: &str) -> bool {
        let Some(entry) = self.table.get_mut(peer) else { return false };
        let is_new = entry.info.agent.is_none()
            && entry.info.identify_error.as_deref().is_none_or(|known| known != cause);
        if is_new {
            entry.info.identify_error = Some(cause.to_owned());
            self.publish(peer);
        }
        is_new
    }

    pub fn pinged(
        &mut self,
        peer: &PeerId,
        id: ConnectionId,
        rtt: Option<Duration>,
    ) -> PingOutcome {
        let nothing = PingOutcome::Alive(Change::None);
        let Some(entry) = self.table.get_mut(peer) else { return nothing };
        let Some(connection) = entry.connections.iter_mut().find(|c| c.id == id) else {
            return nothing;
        };
        connection.is_proven = rtt.is_some();
        connection.pings_missed = if rtt.is_some() { 0 } else { connection.pings_missed + 1 };
        if connection.pings_missed >= PINGS_MISSED_MAX {
            return PingOutcome::Dead;
        }
        self.route(peer);
        let change = self
            .refresh(peer, if rtt.is_some() { PathReason::Proven } else { PathReason::Unanswered });
        if let Some(entry) = self.table.get_mut(peer)
            && rtt.is_some()
            && entry.best().is_some_and(|best| best.id == id)
        {
            entry.info.rtt = rtt;
            self.publish(peer);
        }
        PingOutcome::Alive(change)
    }

    /// Removes a peer without waiting for its connections to close.
    pub fn forget(&mut self, peer: &PeerId) {
        if let Some(gone) = self.table.remove(peer) {
            self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).remove(&gone.info.id);
        }
    }

    pub fn all(&self) -> Vec<PeerId> {
        self.table.keys().copied().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn refresh(&mut self, peer: &PeerId, reason: PathReason) -> Change {
        let Some(entry) = self.table.get_mut(peer) else { return Change::None };
        let Some(best) = entry.best() else { return Change::None };
        let (path, addr) = (best.path, without_secrets(best.remote.clone()));
        if path == entry.info.path {
            return Change::None;
        }
        entry.info.path = path;
        entry.info.addr = addr.clone();
        entry.info.rtt = None;
        self.publish(peer);
        Change::PathChanged(path, addr, reason)
    }

    fn publish(&self, peer: &PeerId) {
        if let Some(entry) = self.table.get(peer) {
            let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
            snapshot.insert(entry.info.id, entry.info.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::{Endpoint, transport::PortUse};

    use super::*;
    use crate::path::TransportKind;

    const DIRECT: Path = Path::Direct(TransportKind::Tcp);

    fn relayed() -> Path {
        Path::Relayed { via: NodeId([9; 32]), transport: TransportKind::WebSocket }
    }

    fn open(peers: &mut Peers, peer: PeerId, id: usize, path: Path) -> Change {
        let endpoint = ConnectedPoint::Dialer {
            address: addr(id),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        peers.opened(peer, NodeId([1; 32]), ConnectionId::new_unchecked(id), path, &endpoint)
    }

    fn addr(id: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{id}").parse().unwrap()
    }

    fn changed(path: Path, id: usize, reason: PathReason) -> Change {
        Change::PathChanged(path, addr(id), reason)
    }

    #[test]
    fn a_direct_connection_takes_over_after_a_ping_and_its_loss_is_reported() {
        let mut peers = Peers::default();
        let peer = PeerId::random();
        let id = ConnectionId::new_unchecked;
        let rtt = Some(Duration::from_millis(3));
        let lost = || PathReason::Lost(DisconnectReason::Remote);
        assert_eq!(open(&mut peers, peer, 1, relayed()), Change::Connected(relayed(), addr(1)));
        assert_eq!(open(&mut peers, peer, 2, DIRECT), Change::None, "not yet");
        assert_eq!(
            (peers.best(&peer), peers.direct(&peer)),
            (Some((id(1), relayed())), Some(DIRECT))
        );
        assert_eq!(peers.pinged(&peer, id(1), rtt), PingOutcome::Alive(Change::None));
        assert_eq!(peers.standby_changes(), []);
        assert_eq!(
            peers.pinged(&peer, id(2), rtt),
            PingOutcome::Alive(changed(DIRECT, 2, PathReason::Proven))
        );
        assert_eq!(peers.standby_changes(), [(peer, id(1), true)]);
        assert_eq!(open(&mut peers, peer, 3, DIRECT), Change::None);
        assert_eq!(peers.best(&peer), Some((id(2), DIRECT)));
        assert_eq!(
            peers.closed(&peer, id(2), DisconnectReason::Remote),
            changed(relayed(), 1, lost())
        );
        assert_eq!(peers.standby_changes(), [(peer, id(1), false)]);
        assert_eq!(
            peers.pinged(&peer, id(3), rtt),
            PingOutcome::Alive(changed(DIRECT, 3, PathReason::Proven))
        );
        let fallen = changed(relayed(), 1, PathReason::Unanswered);
        assert_eq!(
            peers.pinged(&peer, id(3), None),
            PingOutcome::Alive(fallen),
            "a missed ping is enough to fall back"
        );
        assert_eq!(peers.closed(&peer, id(3), DisconnectReason::Remote), Change::None);
        let gone = Change::Disconnected(DisconnectReason::Remote);
        assert_eq!(peers.closed(&peer, id(1), DisconnectReason::Remote), gone);
        assert!(peers.is_empty());
    }

    #[test]
    fn without_a_circuit_the_oldest_connection_is_used_regardless_of_its_pings() {
        let mut peers = Peers::default();
        let peer = PeerId::random();
        let id = ConnectionId::new_unchecked;
        open(&mut peers, peer, 1, DIRECT);
        open(&mut peers, peer, 2, DIRECT);
        assert_eq!(
            peers.pinged(&peer, id(2), Some(Duration::ZERO)),
            PingOutcome::Alive(Change::None)
        );
        assert_eq!(peers.pinged(&peer, id(1), None), PingOutcome::Alive(Change::None));
        assert_eq!(peers.best(&peer), Some((id(1), DIRECT)));
    }

    #[test]
    fn two_missed_pings_in_a_row_end_a_connection() {
        let mut peers = Peers::default();
        let peer = PeerId::random();
        let id = ConnectionId::new_unchecked(1);
        open(&mut peers, peer, 1, DIRECT);
        assert_eq!(peers.pinged(&peer, id, None), PingOutcome::Alive(Change::None));
        assert_eq!(peers.pinged(&peer, id, Some(Duration::ZERO)), PingOutcome::Alive(Change::None));
        assert_eq!(peers.pinged(&peer, id, None), PingOutcome::Alive(Change::None));
        assert_eq!(peers.pinged(&peer, id, None), PingOutcome::Dead);
    }

    #[test]
    fn our_reason_for_closing_counts() {
        let mut peers = Peers::default();
        let peer = PeerId::random();
        open(&mut peers, peer, 1, DIRECT);
        assert_eq!(peers.mark_all_closing(&peer, &DisconnectReason::RateLimited).len(), 1);
        assert_eq!(peers.best(&peer), None, "a closing connection takes no requests");
        let change = peers.closed(&peer, ConnectionId::new_unchecked(1), DisconnectReason::Remote);
        assert_eq!(change, Change::Disconnected(DisconnectReason::RateLimited));
    }
}
