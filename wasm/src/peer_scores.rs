//! The choice of sources for data. Sources are tried in turn, those with the fewest failures first.
//! A source that sent invalid data gets no more requests while the node runs, and is reported to
//! the page.

use std::collections::BTreeMap;
use tequio_core::types::NodeId;

/// The record of one source.
#[derive(Default)]
struct PeerScore {
    failures: u32,
    last_request: u64,
    flagged: bool,
}

/// The sources of one node.
#[derive(Default)]
pub struct PeerScores {
    scores: BTreeMap<NodeId, PeerScore>,
    clock: u64,
}

/// Peers whose records are kept; more are dropped, those with invalid data last.
const SCORES_MAX: usize = 256;

impl PeerScores {
    /// Returns the best of the connected peers that is not in `tried`.
    pub fn choose(&mut self, connected: &[NodeId], tried: &[NodeId]) -> Option<NodeId> {
        let rank =
            |node: &&NodeId| self.scores.get(node).map_or((0, 0), |r| (r.failures, r.last_request));
        let usable = |node: &&NodeId| !tried.contains(node) && !self.is_flagged(node);
        let chosen = *connected.iter().filter(usable).min_by_key(rank)?;
        self.clock += 1;
        let clock = self.clock;
        self.score_mut(chosen).last_request = clock;
        Some(chosen)
    }

    pub fn succeeded(&mut self, node: NodeId) {
        self.score_mut(node).failures = 0;
    }

    pub fn failed(&mut self, node: NodeId) {
        let record = self.score_mut(node);
        record.failures = record.failures.saturating_add(1);
    }

    /// Records invalid data. Returns whether it is the first of this source.
    pub fn flag(&mut self, node: NodeId) -> bool {
        !std::mem::replace(&mut self.score_mut(node).flagged, true)
    }

    pub fn is_flagged(&self, node: &NodeId) -> bool {
        self.scores.get(node).is_some_and(|r| r.flagged)
    }

    fn score_mut(&mut self, node: NodeId) -> &mut PeerScore {
        if self.scores.len() >= SCORES_MAX && !self.scores.contains_key(&node) {
            let oldest = self
                .scores
                .iter()
                .filter(|(_, r)| !r.flagged)
                .min_by_key(|(_, r)| r.last_request)
                .map(|(n, _)| *n);
            if let Some(oldest) = oldest {
                self.scores.remove(&oldest);
            }
        }
        self.scores.entry(node).or_default()
    }
}
