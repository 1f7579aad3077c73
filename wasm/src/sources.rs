//! Who is asked for data. Sources are tried in turn, those that failed least first; one that gave
//! wrong data is never asked again while the node runs, and is named to the page.

use std::collections::BTreeMap;
use tequio_core::types::NodeId;

/// What is known of one source.
#[derive(Default)]
struct Record {
    failures: u32,
    asked: u64,
    lied: bool,
}

/// The sources of one node.
#[derive(Default)]
pub struct Sources {
    records: BTreeMap<NodeId, Record>,
    clock: u64,
}

/// Peers whose records are kept; more are forgotten, liars last.
const RECORDS_MAX: usize = 256;

impl Sources {
    /// The best of the connected peers that is not in `tried`.
    pub fn choose(&mut self, connected: &[NodeId], tried: &[NodeId]) -> Option<NodeId> {
        let rank =
            |node: &&NodeId| self.records.get(node).map_or((0, 0), |r| (r.failures, r.asked));
        let usable = |node: &&NodeId| !tried.contains(node) && !self.has_lied(node);
        let chosen = *connected.iter().filter(usable).min_by_key(rank)?;
        self.clock += 1;
        let clock = self.clock;
        self.record(chosen).asked = clock;
        Some(chosen)
    }

    pub fn succeeded(&mut self, node: NodeId) {
        self.record(node).failures = 0;
    }

    pub fn failed(&mut self, node: NodeId) {
        let record = self.record(node);
        record.failures = record.failures.saturating_add(1);
    }

    /// Returns whether this is news.
    pub fn lied(&mut self, node: NodeId) -> bool {
        !std::mem::replace(&mut self.record(node).lied, true)
    }

    pub fn has_lied(&self, node: &NodeId) -> bool {
        self.records.get(node).is_some_and(|r| r.lied)
    }

    fn record(&mut self, node: NodeId) -> &mut Record {
        if self.records.len() >= RECORDS_MAX && !self.records.contains_key(&node) {
            let oldest = self
                .records
                .iter()
                .filter(|(_, r)| !r.lied)
                .min_by_key(|(_, r)| r.asked)
                .map(|(n, _)| *n);
            if let Some(oldest) = oldest {
                self.records.remove(&oldest);
            }
        }
        self.records.entry(node).or_default()
    }
}
