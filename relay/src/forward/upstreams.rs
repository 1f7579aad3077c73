//! Selects the full node for a request: the connected ones in turn, those that failed recently
//! last.
//!
//! A node that fails backs off for a time that doubles with each consecutive failure. It still gets
//! requests when no other node is left. The caller passes the time, so tests need no network.

use std::time::{Duration, Instant};
use tequio_core::types::NodeId;

/// Backoff after the first failure.
const BACKOFF: Duration = Duration::from_millis(500);
/// Longest backoff.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The full nodes in the configuration.
#[derive(Debug)]
pub struct Upstreams {
    nodes: Vec<Node>,
    /// Index of the next node.
    next_index: usize,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    connected: bool,
    failures: u32,
    backoff_until: Option<Instant>,
}

impl Node {
    fn is_healthy(&self, now: Instant) -> bool {
        self.connected && self.backoff_until.is_none_or(|until| until <= now)
    }
}

impl Upstreams {
    /// Nodes of which none is connected yet. Duplicate ids count once.
    pub fn new(ids: Vec<NodeId>) -> Self {
        let mut nodes: Vec<Node> = Vec::with_capacity(ids.len());
        for id in ids {
            if nodes.iter().all(|n| n.id != id) {
                nodes.push(Node { id, connected: false, failures: 0, backoff_until: None });
            }
        }
        Self { nodes, next_index: 0 }
    }

    /// The next node for a request; `None` if all connected nodes are in `tried`.
    pub fn pick(&mut self, tried: &[NodeId], now: Instant) -> Option<NodeId> {
        let in_turn = || (0..self.nodes.len()).map(|i| (self.next_index + i) % self.nodes.len());
        let usable =
            |i: &usize| self.nodes.get(*i).is_some_and(|n| n.connected && !tried.contains(&n.id));
        let healthy = |i: &usize| self.nodes.get(*i).is_some_and(|n| n.is_healthy(now));
        let chosen = in_turn().filter(usable).find(healthy).or_else(|| in_turn().find(usable))?;
        self.next_index = chosen + 1;
        self.nodes.get(chosen).map(|n| n.id)
    }

    /// Records that a node connected or disconnected. Unknown nodes are ignored.
    pub fn set_connected(&mut self, id: NodeId, connected: bool) {
        if let Some(node) = self.node(id) {
            *node = Node { id, connected, failures: 0, backoff_until: None };
        }
    }

    /// Records an answer of a node.
    pub fn succeeded(&mut self, id: NodeId) {
        if let Some(node) = self.node(id) {
            node.failures = 0;
            node.backoff_until = None;
        }
    }

    /// Records a failure of a node.
    pub fn failed(&mut self, id: NodeId, now: Instant) {
        if let Some(node) = self.node(id) {
            let backoff = BACKOFF.saturating_mul(1 << node.failures.min(16)).min(BACKOFF_MAX);
            node.failures = node.failures.saturating_add(1);
            node.backoff_until = Some(now + backoff);
        }
    }

    /// The connected nodes.
    pub fn connected(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|n| n.connected).map(|n| n.id).collect()
    }

    /// How many nodes are configured, and how many of them are connected and not in backoff.
    pub fn count(&self, now: Instant) -> (usize, usize) {
        (self.nodes.len(), self.nodes.iter().filter(|n| n.is_healthy(now)).count())
    }

    fn node(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|n| n.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn three() -> Upstreams {
        let mut upstreams = Upstreams::new([1, 2, 3, 1].map(id).into());
        (1..=3).for_each(|n| upstreams.set_connected(id(n), true));
        upstreams
    }

    #[test]
    fn connected_nodes_take_turns() {
        let mut upstreams = three();
        let now = Instant::now();
        let picked: Vec<_> = (0..6).filter_map(|_| upstreams.pick(&[], now)).collect();
        assert_eq!(picked, [1, 2, 3, 1, 2, 3].map(id));
        upstreams.set_connected(id(2), false);
        upstreams.set_connected(id(9), true);
        let picked: Vec<_> = (0..4).filter_map(|_| upstreams.pick(&[], now)).collect();
        assert_eq!(picked, [1, 3, 1, 3].map(id));
        assert_eq!(upstreams.count(now), (3, 2));
        assert_eq!(Upstreams::new(vec![]).pick(&[], now), None);
    }

    #[test]
    fn a_failing_node_gets_longer_backoff_and_is_used_last() {
        let mut upstreams = three();
        let now = Instant::now();
        upstreams.failed(id(1), now);
        assert_eq!([(); 4].map(|()| upstreams.pick(&[], now).unwrap()), [2, 3, 2, 3].map(id));
        assert!((0..3).any(|_| upstreams.pick(&[], now + BACKOFF) == Some(id(1))));
        upstreams.failed(id(1), now);
        assert!((0..3).all(|_| upstreams.pick(&[], now + BACKOFF) != Some(id(1))));
        assert_eq!(upstreams.pick(&[id(2), id(3)], now), Some(id(1)));
        assert_eq!(upstreams.pick(&[id(1), id(2), id(3)], now), None);
        (0..100).for_each(|_| upstreams.failed(id(1), now));
        assert!((0..3).any(|_| upstreams.pick(&[], now + BACKOFF_MAX) == Some(id(1))));
        upstreams.succeeded(id(1));
        assert_eq!(upstreams.count(now).1, 3);
    }
}
