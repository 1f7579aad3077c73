//! Bounds on what waits in memory, in items and in bytes: a share is taken before anything is
//! allocated, and comes back when its [`Permit`] is dropped.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

/// A pool of items and bytes.
#[derive(Debug)]
pub struct Budget {
    items: AtomicUsize,
    bytes: AtomicUsize,
    items_max: usize,
    bytes_max: usize,
    /// Of those who wait for room.
    wakers: Mutex<Vec<Waker>>,
}

impl Budget {
    pub fn new(items_max: usize, bytes_max: usize) -> Arc<Self> {
        let (items, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { items, bytes, items_max, bytes_max, wakers: Mutex::default() })
    }

    /// Takes one item of `bytes`, or nothing if either bound would be passed.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let add = |counter: &AtomicUsize, n: usize, max: usize| {
            counter.try_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                held.checked_add(n).filter(|sum| *sum <= max)
            })
        };
        add(&self.items, 1, self.items_max).ok()?;
        if add(&self.bytes, bytes, self.bytes_max).is_err() {
            self.items.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit { budget: self.clone(), bytes })
    }

    /// The same, once there is room. `bytes` must be below the bound.
    pub async fn wait(self: &Arc<Self>, bytes: usize) -> Permit {
        poll_fn(|cx| {
            if let Some(permit) = self.take(bytes) {
                return Poll::Ready(permit);
            }
            // Held while looking again, so that a share that comes back now finds the waker.
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            match self.take(bytes) {
                Some(permit) => Poll::Ready(permit),
                None => {
                    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                        wakers.push(cx.waker().clone());
                    }
                    Poll::Pending
                }
            }
        })
        .await
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
        let wakers =
            std::mem::take(&mut *self.budget.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
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

    #[test]
    fn who_waits_is_woken_when_there_is_room() {
        use futures::{FutureExt, executor::block_on, future::join};
        let budget = Budget::new(2, 10);
        let held = budget.take(9).unwrap();
        assert!(budget.wait(2).now_or_never().is_none());
        let waited = block_on(join(budget.wait(2), async { drop(held) })).0;
        assert!(budget.take(9).is_none(), "the share was taken");
        drop(waited);
        assert!(budget.take(10).is_some());
    }
}
