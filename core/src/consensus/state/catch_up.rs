//! Tracks peers that are ahead, and chooses the peer to request missing blocks from.
//!
//! A claim to be ahead costs nothing, so it earns one request: the replica requests blocks from the
//! peer, then drops the claim. One request is pending at a time. A peer one height ahead is
//! usually just faster, so the replica waits before it requests blocks from such a peer.

use crate::types::{Height, NodeId, TimeMs};
use alloc::collections::BTreeMap;

#[derive(Debug, Default)]
pub(in crate::consensus) struct CatchUp {
    /// For each peer ahead: its height, and when it was first seen ahead.
    peers_ahead: BTreeMap<NodeId, (Height, TimeMs)>,
    /// When the pending request expires.
    request_expires_ms: Option<TimeMs>,
    /// The last requested peer; the next one in order follows.
    last_requested: Option<NodeId>,
}

impl CatchUp {
    /// Records that a seat sent a message of this height; `current` is the height of this node.
    /// Seats are few, so the map is small.
    pub(in crate::consensus) fn record_ahead(
        &mut self,
        peer: NodeId,
        height: Height,
        current: Height,
        now_ms: TimeMs,
    ) {
        if height > current {
            let (highest, _) = self.peers_ahead.entry(peer).or_insert((height, now_ms));
            *highest = height.max(*highest);
        }
    }

    /// Handles an answered request, or a block that became final otherwise.
    pub(in crate::consensus) fn on_progress(&mut self, current: Height) {
        self.request_expires_ms = None;
        self.peers_ahead.retain(|_, (height, _)| *height > current);
    }

    /// The peer to request blocks from now, if any.
    pub(in crate::consensus) fn next_request(
        &mut self,
        current: Height,
        now_ms: TimeMs,
        timeout_ms: u64,
    ) -> Option<NodeId> {
        if self.request_expires_ms.is_some_and(|until| now_ms < until) {
            return None;
        }
        let due = || {
            self.requests_due(current, timeout_ms)
                .filter(|(_, at)| *at <= now_ms)
                .map(|(peer, _)| *peer)
        };
        let after_last = due().find(|peer| self.last_requested.is_none_or(|last| *peer > last));
        let peer = after_last.or_else(|| due().next())?;
        self.peers_ahead.remove(&peer);
        self.last_requested = Some(peer);
        self.request_expires_ms = Some(now_ms.saturating_add(timeout_ms));
        Some(peer)
    }

    /// The time of the next possible request.
    pub(in crate::consensus) fn deadline(
        &self,
        current: Height,
        timeout_ms: u64,
    ) -> Option<TimeMs> {
        let earliest = self.requests_due(current, timeout_ms).map(|(_, at)| at).min()?;
        Some(earliest.max(self.request_expires_ms.unwrap_or_default()))
    }

    fn requests_due(
        &self,
        current: Height,
        timeout_ms: u64,
    ) -> impl Iterator<Item = (&NodeId, TimeMs)> {
        self.peers_ahead.iter().map(move |(peer, (height, since_ms))| {
            let wait_ms = if *height > current.saturating_add(1) { 0 } else { timeout_ms };
            (peer, since_ms.saturating_add(wait_ms))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    #[test]
    fn requests_at_once_from_peers_far_ahead_and_later_from_peers_one_ahead() {
        let mut ahead = CatchUp::default();
        ahead.record_ahead(A, 6, 5, 100);
        assert_eq!((ahead.next_request(5, 100, 50), ahead.deadline(5, 50)), (None, Some(150)));
        ahead.record_ahead(B, 7, 5, 110);
        assert_eq!((ahead.deadline(5, 50), ahead.next_request(5, 110, 50)), (Some(110), Some(B)));
        // One request at a time.
        assert_eq!((ahead.next_request(5, 155, 50), ahead.deadline(5, 50)), (None, Some(160)));
        ahead.on_progress(5);
        assert_eq!(ahead.next_request(5, 155, 50), Some(A));
        assert_eq!(ahead.deadline(5, 50), None);
    }

    #[test]
    fn requests_alternate_between_the_peers_ahead() {
        let mut ahead = CatchUp::default();
        let mut requested = alloc::vec::Vec::new();
        for round in 0..4 {
            ahead.record_ahead(A, u64::MAX, 5, round * 100);
            ahead.record_ahead(B, 9, 5, round * 100);
            requested.extend(ahead.next_request(5, round * 100, 50));
        }
        assert_eq!(requested, [A, B, A, B]);
    }
}
