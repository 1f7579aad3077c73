//! Bounds the bytes that the streams of one connection, and of all connections, hold for a remote.
//!
//! A stream's own window bounds one stream; this bounds their sum. Received bytes that the
//! application has not read are charged to the connection's [`Budget`] and to the [`Pool`] that all
//! connections of a transport share. A stream whose charge does not fit is reset. Before the remote
//! is authenticated, a connection may hold at most [`UNAUTHENTICATED_MAX`].
//!
//! Output is not refused but slowed: if a connection holds much output, each of its streams has
//! room for one frame at a time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Unread bytes of a connection whose remote has not proved its identity. Noise needs under 1 KiB.
pub const UNAUTHENTICATED_MAX: usize = 64 * 1024;
/// Charge of an inbox entry in addition to its bytes, so that tiny messages are not free.
pub const ENTRY_COST: usize = 128;
/// Unsent bytes of one stream before its writer must wait.
const OUTBOX_MAX: usize = 256 * 1024;
/// The same limit once the connection holds more than [`OUTPUT_MAX`].
const OUTBOX_MIN: usize = 1;
/// Unsent bytes of a connection above which its streams get less room each.
const OUTPUT_MAX: usize = 8 * 1024 * 1024;

/// The memory budget of a whole transport.
pub struct Pool {
    held: AtomicUsize,
    max: usize,
}

impl Pool {
    /// Creates a pool of at most `max` unread bytes over all connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max })
    }

    /// Unread bytes over all connections.
    #[cfg_attr(not(test), allow(dead_code))]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// The memory budget of one connection.
pub struct Budget {
    pool: Arc<Pool>,
    unread: AtomicUsize,
    unread_max: AtomicUsize,
    authenticated: AtomicBool,
    unsent: AtomicUsize,
}

impl Budget {
    /// Creates the budget of a connection that is not authenticated yet.
    pub fn new(pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self {
            pool,
            unread: AtomicUsize::new(0),
            unread_max: AtomicUsize::new(UNAUTHENTICATED_MAX),
            authenticated: AtomicBool::new(false),
            unsent: AtomicUsize::new(0),
        })
    }

    /// Raises the limit to `max` bytes: the remote is authenticated.
    pub fn authenticated(&self, max: usize) {
        self.unread_max.store(max, Ordering::Relaxed);
        self.authenticated.store(true, Ordering::Relaxed);
    }

    /// Whether the remote has proved its identity.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// Charges received bytes; `false`, and nothing charged, if they do not fit.
    pub fn charge(&self, bytes: usize) -> bool {
        if !take(&self.unread, bytes, self.unread_max.load(Ordering::Relaxed)) {
            return false;
        }
        let fits = take(&self.pool.held, bytes, self.pool.max);
        if !fits {
            self.unread.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Releases what [`Budget::charge`] took.
    pub fn release(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that a stream queued for sending.
    pub fn queued(&self, bytes: usize) {
        self.unsent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Subtracts bytes that were sent or discarded.
    pub fn unqueued(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Unsent bytes above which a stream's writer must wait.
    pub fn outbox_max(&self) -> usize {
        if self.unsent.load(Ordering::Relaxed) > OUTPUT_MAX { OUTBOX_MIN } else { OUTBOX_MAX }
    }
}

/// Adds unless the sum would exceed `max`. Only the count itself is shared, so `Relaxed` suffices.
fn take(counter: &AtomicUsize, bytes: usize, max: usize) -> bool {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(bytes).filter(|sum| *sum <= max)
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_fits_both_accounts_or_changes_neither() {
        let pool = Pool::new(100);
        let (a, b) = (Budget::new(pool.clone()), Budget::new(pool.clone()));
        assert!(a.charge(60));
        assert!(!b.charge(41));
        assert_eq!((b.unread.load(Ordering::Relaxed), pool.held()), (0, 60));
        assert!(b.charge(40));
        a.release(60);
        assert_eq!(pool.held(), 40);
    }

    #[test]
    fn unauthenticated_connections_get_little() {
        let budget = Budget::new(Pool::new(usize::MAX));
        assert!(!budget.charge(UNAUTHENTICATED_MAX + 1));
        budget.authenticated(usize::MAX);
        assert!(budget.charge(UNAUTHENTICATED_MAX + 1));
    }

    #[test]
    fn queued_output_above_the_limit_shrinks_the_outboxes() {
        let budget = Budget::new(Pool::new(0));
        budget.queued(OUTPUT_MAX + 1);
        assert_eq!(budget.outbox_max(), OUTBOX_MIN);
        budget.unqueued(1);
        assert_eq!(budget.outbox_max(), OUTBOX_MAX);
    }
}
