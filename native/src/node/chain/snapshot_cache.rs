//! States that this node keeps in memory for others to fetch whole: those of every
//! [`SNAPSHOT_INTERVAL`]th height, so that all nodes offer the same ones. States share their common
//! parts, so each costs only what has changed since the one before.

use crate::node::chain_view::Tip;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tequio_core::{
    types::Height,
    wire::{light::FinalHeader, sync::SNAPSHOTS_MAX},
};

/// Distance between the heights whose states are kept, blocks.
pub const SNAPSHOT_INTERVAL: Height = 64;
/// Newest states, which are kept even if no peer requests them.
const NEWEST_KEPT: usize = 2;
/// How long a state is kept after a peer has requested a part of it.
const KEEP_AFTER_REQUEST: Duration = Duration::from_secs(600);

/// The states that this node offers.
#[derive(Debug, Default)]
pub struct SnapshotCache(Mutex<RetainedSnapshots<Arc<Tip>>>);

impl SnapshotCache {
    /// Adds a tip. `is_first` marks the one with which the node starts, when it has no other state
    /// to offer.
    pub fn add_tip(&self, tip: &Arc<Tip>, is_first: bool) {
        // Every node has the genesis.
        if tip.height() > 0 && (is_first || tip.height().is_multiple_of(SNAPSHOT_INTERVAL)) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).put(
                tip.height(),
                tip.clone(),
                Instant::now(),
            );
        }
    }

    /// The final headers of the kept states, ascending.
    pub fn headers(&self) -> Vec<FinalHeader> {
        let retained = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        retained.0.values().map(|(tip, _)| tip.header.clone()).collect()
    }

    /// The state of a height, marked as in use.
    pub fn get(&self, height: Height) -> Option<Arc<Tip>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(height, Instant::now())
    }
}

/// States by height, each with the time of its last request.
#[derive(Debug)]
struct RetainedSnapshots<T>(BTreeMap<Height, (T, Option<Instant>)>);

impl<T> Default for RetainedSnapshots<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Clone> RetainedSnapshots<T> {
    /// Adds a state. Keeps only the newest ones and those in use, and evicts the oldest of those if
    /// they are too many.
    fn put(&mut self, height: Height, item: T, now: Instant) {
        self.0.insert(height, (item, None));
        let newest: Vec<Height> = self.0.keys().rev().take(NEWEST_KEPT).copied().collect();
        let is_in_use = |last_request: &Option<Instant>| {
            last_request.is_some_and(|at| now.duration_since(at) < KEEP_AFTER_REQUEST)
        };
        self.0
            .retain(|height, (_, last_request)| newest.contains(height) || is_in_use(last_request));
        while self.0.len() > SNAPSHOTS_MAX {
            self.0.pop_first();
        }
    }

    fn get(&mut self, height: Height, now: Instant) -> Option<T> {
        let (item, last_request) = self.0.get_mut(&height)?;
        *last_request = Some(now);
        Some(item.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_recently_requested_states_up_to_a_limit() {
        let (mut retained, now) = (RetainedSnapshots::default(), Instant::now());
        for height in [10, 20, 30] {
            retained.put(height, (), now);
        }
        assert_eq!(retained.0.keys().copied().collect::<Vec<_>>(), [20, 30]);
        assert!(retained.get(10, now).is_none());
        for height in 4..40 {
            assert!(retained.get((height - 1) * 10, now).is_some());
            retained.put(height * 10, (), now);
            assert!(retained.0.len() <= SNAPSHOTS_MAX);
        }
        assert_eq!(retained.0.len(), SNAPSHOTS_MAX);
        retained.put(400, (), now + KEEP_AFTER_REQUEST);
        assert_eq!(retained.0.len(), NEWEST_KEPT);
    }
}
