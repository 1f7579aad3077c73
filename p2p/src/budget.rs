//! Bounds on queued data, in items and in bytes. A share is taken before anything is allocated, and
//! is returned when its [`Permit`] is dropped.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

/// A budget of items and bytes.
#[derive(Debug)]
pub struct Budget {
    items: AtomicUsize,
    bytes: AtomicUsize,
    items_max: usize,
    bytes_max: usize,
    /// Wakers of tasks that wait for room.
    wakers: Mutex<Vec<Waker>>,
}

impl Budget {
    pub fn new(items_max: usize, bytes_max: usize) -> Arc<Self> {
        let (items, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { items, bytes, items_max, bytes_max, wakers: Mutex::default() })
    }

    /// Takes one item of `bytes`; `None` if that would exceed a bound.
    pub fn try_acquire(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
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

    /// Like [`Budget::try_acquire`], but waits for room. `bytes` must be below the bound.
    pub async fn acquire(self: &Arc<Self>, bytes: usize) -> Permit {
        poll_fn(|cx| {
            if let Some(permit) = self.try_acquire(bytes) {
                return Poll::Ready(permit);
            }
            // The lock is held during the second attempt, so that a share released now finds the
            // waker.
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            match self.try_acquire(bytes) {
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
    fn both_bounds_hold_and_released_shares_are_available_again() {
        let budget = Budget::new(2, 10);
        let first = budget.try_acquire(4).unwrap();
        assert!(budget.try_acquire(7).is_none(), "bytes");
        let second = budget.try_acquire(6).unwrap();
        assert!(budget.try_acquire(0).is_none(), "items");
        drop(first);
        assert!(budget.try_acquire(5).is_none(), "bytes are still held by the second");
        drop(second);
        assert!(budget.try_acquire(10).is_some());
        assert!(budget.try_acquire(usize::MAX).is_none(), "no overflow");
    }

    #[test]
    fn a_waiting_task_is_woken_when_there_is_room() {
        use futures::{FutureExt, executor::block_on, future::join};
        let budget = Budget::new(2, 10);
        let held = budget.try_acquire(9).unwrap();
        assert!(budget.acquire(2).now_or_never().is_none());
        let waited = block_on(join(budget.acquire(2), async { drop(held) })).0;
        assert!(budget.try_acquire(9).is_none(), "the share was taken");
        drop(waited);
        assert!(budget.try_acquire(10).is_some());
    }
}
