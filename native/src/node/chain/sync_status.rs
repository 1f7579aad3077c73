//! Status of catching up, for people. The reported head is unproved.

use crate::store::SnapshotProgress;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tequio_core::types::{Height, NodeId};

/// Status of catching up, for people.
#[derive(Debug, Default)]
pub struct SyncStatus {
    /// Peers that sent invalid data since the start of the node. Locked while a state is fetched.
    pub(super) banned_peers: tokio::sync::Mutex<BTreeSet<NodeId>>,
    fetch_progress: Mutex<Option<FetchProgress>>,
    /// The highest head that a peer has reported with its blocks.
    reported_head: AtomicU64,
}

/// Progress of a state that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FetchProgress {
    /// Height of the state.
    pub height: Height,
    /// Entries received so far.
    pub entries: u64,
    /// Estimated share of the whole, 0 to 1.
    pub share: f64,
    /// Number of peers that supply it.
    pub peers: usize,
}

impl SyncStatus {
    /// The highest head that a peer has reported with its blocks. It is unproved.
    pub fn reported_head(&self) -> Height {
        self.reported_head.load(Ordering::Relaxed)
    }

    pub(super) fn set_reported_head(&self, head: Height) {
        self.reported_head.store(head, Ordering::Relaxed);
    }

    /// Progress of the current fetch, if any.
    pub fn fetch_progress(&self) -> Option<FetchProgress> {
        *self.fetch_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_fetch_progress(&self, progress: &SnapshotProgress, peers: usize) {
        // Keys are digests, evenly spread, so the key of the next chunk shows the progress.
        let share = progress.next.map_or(1.0, |next| {
            let first = next.0.first_chunk::<4>().map_or(0, |first| u32::from_be_bytes(*first));
            f64::from(first) / f64::from(u32::MAX)
        });
        let shown = FetchProgress {
            height: progress.header.header.height,
            entries: progress.entries,
            share,
            peers,
        };
        *self.fetch_progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
    }

    pub(super) fn clear_fetch_progress(&self) {
        *self.fetch_progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
