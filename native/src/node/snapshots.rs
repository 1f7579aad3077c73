//! The states that this node keeps in memory for others to fetch whole: those of every [`EVERY`]th
//! height, so that all nodes offer the same ones. States share what they have in common, so one
//! costs what has changed since.

use super::context::Tip;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tequio_core::{
    types::Height,
    wire::{light::FinalHeader, sync::SNAPSHOTS_MAX},
};

/// Distance of the heights whose states are kept, blocks.
pub const EVERY: Height = 64;
/// States that are kept though nobody asks for them.
const FRESH: usize = 2;
/// A state stays so long after somebody has asked for a part of it.
const IN_USE: Duration = Duration::from_secs(600);

/// What is offered.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<Shelf<Arc<Tip>>>);

impl Snapshots {
    /// A new tip, or the one with which the node starts: for that one there is no other state to
    /// offer yet.
    pub fn note(&self, tip: &Arc<Tip>, is_first: bool) {
        // Genesis can be had without asking.
        if tip.height() > 0 && (is_first || tip.height().is_multiple_of(EVERY)) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).put(
                tip.height(),
                tip.clone(),
                Instant::now(),
            );
        }
    }

    /// The final headers whose states are here, ascending.
    pub fn headers(&self) -> Vec<FinalHeader> {
        let shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.0.values().map(|(tip, _)| tip.header.clone()).collect()
    }

    /// The state of a height, for one who fetches it.
    pub fn get(&self, height: Height) -> Option<Arc<Tip>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(height, Instant::now())
    }
}

/// By height, each with when it was last asked for.
#[derive(Debug)]
struct Shelf<T>(BTreeMap<Height, (T, Option<Instant>)>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Clone> Shelf<T> {
    /// Drops all but the newest ones and those in use, and the oldest of those where they are too
    /// many.
    fn put(&mut self, height: Height, item: T, now: Instant) {
        self.0.insert(height, (item, None));
        let fresh: Vec<Height> = self.0.keys().rev().take(FRESH).copied().collect();
        let in_use =
            |asked: &Option<Instant>| asked.is_some_and(|at| now.duration_since(at) < IN_USE);
        self.0.retain(|height, (_, asked)| fresh.contains(height) || in_use(asked));
        while self.0.len() > SNAPSHOTS_MAX {
            self.0.pop_first();
        }
    }

    fn get(&mut self, height: Height, now: Instant) -> Option<T> {
        let (item, asked) = self.0.get_mut(&height)?;
        *asked = Some(now);
        Some(item.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_those_that_are_asked_for_within_a_bound() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        for height in [10, 20, 30] {
            shelf.put(height, (), now);
        }
        assert_eq!(shelf.0.keys().copied().collect::<Vec<_>>(), [20, 30]);
        assert!(shelf.get(10, now).is_none());
        for height in 4..40 {
            assert!(shelf.get((height - 1) * 10, now).is_some());
            shelf.put(height * 10, (), now);
            assert!(shelf.0.len() <= SNAPSHOTS_MAX);
        }
        assert_eq!(shelf.0.len(), SNAPSHOTS_MAX);
        shelf.put(400, (), now + IN_USE);
        assert_eq!(shelf.0.len(), FRESH);
    }
}
