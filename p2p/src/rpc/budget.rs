//! Bounds on what waits in memory, in items and in bytes: a share is taken before anything is allocated, and comes
//! back when its [`Permit`] is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A pool of items and bytes.
#[derive(Debug)]
pub struct Budget {
    items: AtomicUsize,
    bytes: AtomicUsize,
    items_max: usize,
    bytes_max: usize,
}

impl Budget {
    pub fn new(items_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { items: AtomicUsize::new(0), bytes: AtomicUsize::new(0), items_max, bytes_max })
    }

    /// Takes one item of `bytes`, or nothing if either bound would be passed.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let add = |counter: &AtomicUsize, n: usize, max: usize| {
            counter
                .try_update(Ordering::AcqRel, Ordering::Acquire, |held| held.checked_add(n).filter(|sum| *sum <= max))
        };
        add(&self.items, 1, self.items_max).ok()?;
        if add(&self.bytes, bytes, self.bytes_max).is_err() {
            self.items.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit { budget: self.clone(), bytes })
    }
}

/// A share of a [`Budget`].
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.items.fetch_sub(1, Ordering::AcqRel);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_shares_come_back() {
        let budget = Budget::new(2, 10);
        let first = budget.take(4).unwrap();
        assert!(budget.take(7).is_none(), "bytes");
        let second = budget.take(6).unwrap();
        assert!(budget.take(0).is_none(), "items");
        drop(first);
        assert!(budget.take(5).is_none(), "bytes are still held by the second");
        drop(second);
        assert!(budget.take(10).is_some());
        assert!(budget.take(usize::MAX).is_none(), "no overflow");
    }
}
