//! Batches the signature checks of clients' transactions: a signature in a batch costs half of a
//! single check. A single transaction does not wait.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, TryRecvError, channel},
    },
    time::{Duration, Instant},
};
/// Gathering time under load: after a batch of several, the next one starts no sooner than this.
pub const BATCH_INTERVAL: Duration = Duration::from_millis(5);

/// Combines concurrent calls into a batch that one of the callers checks. The number of waiting
/// calls is at most the number of request threads.
#[derive(Debug)]
pub struct Batcher<T, V> {
    waiting: Mutex<Vec<(T, Sender<V>)>>,
    /// Start of the last batch, if it had several items.
    last_batch: Mutex<Option<Instant>>,
}

impl<T, V> Default for Batcher<T, V> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), last_batch: Mutex::default() }
    }
}

impl<T, V> Batcher<T, V> {
    /// Adds an item to a batch, and blocks for about one or two batches. `check` returns verdicts
    /// in the order of its items. `None` only if the thread that checked the item has panicked.
    pub(super) fn join_batch(&self, item: T, check: impl FnOnce(Vec<T>) -> Vec<V>) -> Option<V> {
        let (sender, verdict) = channel();
        lock(&self.waiting).push((item, sender));
        let mut last_batch = lock(&self.last_batch);
        // The previous lock holder may have checked this item too.
        match verdict.try_recv() {
            Ok(verdict) => return Some(verdict),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        std::thread::sleep(
            last_batch.map_or(Duration::ZERO, |last| BATCH_INTERVAL.saturating_sub(last.elapsed())),
        );
        let began = Instant::now();
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        *last_batch = Some(began).filter(|_| waiting.len() > 1);
        let (items, callers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        for (caller, verdict) in callers.into_iter().zip(check(items)) {
            // The caller may have panicked.
            let _ = caller.send(verdict);
        }
        // The lock is released after this, so waiting callers find their verdicts.
        verdict.try_recv().ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one call, so a panic leaves no partial change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const WITHIN: Duration = Duration::from_secs(60);

    /// A caller's result; an error if it panicked.
    type Found = Result<Option<u32>, ()>;

    /// One caller checks a batch alone until `count` others wait. Returns the others' results in
    /// order, and the items of each batch.
    fn others(
        batcher: &Batcher<u32, u32>,
        count: usize,
        check: impl Fn(&[u32]) + Sync,
    ) -> (Vec<Found>, Vec<Vec<u32>>) {
        let (given, (begun, has_begun)) = (Mutex::new(Vec::new()), channel());
        let squares = |items: Vec<u32>| {
            lock(&given).push(items.clone());
            check(&items);
            items.into_iter().map(|number| number * number).collect()
        };
        let found = std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                batcher.join_batch(0, |items| {
                    begun.send(()).unwrap();
                    let began = Instant::now();
                    while lock(&batcher.waiting).len() < count {
                        assert!(began.elapsed() < WITHIN, "no other caller arrives");
                        std::thread::yield_now();
                    }
                    squares(items)
                })
            });
            has_begun.recv().unwrap();
            let join = |number: u32| {
                catch_unwind(AssertUnwindSafe(|| batcher.join_batch(number, squares))).map_err(drop)
            };
            let others: Vec<_> =
                (1..=count as u32).map(|number| scope.spawn(move || join(number))).collect();
            assert_eq!(first.join().unwrap(), Some(0));
            others.into_iter().map(|other| other.join().unwrap()).collect()
        });
        let mut given = lock(&given).clone();
        given.iter_mut().for_each(|items| items.sort_unstable());
        (found, given)
    }

    #[test]
    fn calls_during_a_batch_form_the_next_one_and_each_gets_its_verdict() {
        let (found, given) = others(&Batcher::default(), 8, |_| ());
        assert_eq!(given, [vec![0], (1..=8).collect()]);
        assert_eq!(found, (1..=8).map(|number| Ok(Some(number * number))).collect::<Vec<_>>());
    }

    #[test]
    fn the_next_batch_waits_only_after_a_batch_of_several() {
        let batcher = Batcher::default();
        assert_eq!(batcher.join_batch(3, |items| items), Some(3));
        assert_eq!(*lock(&batcher.last_batch), None);
        others(&batcher, 2, |_| ());
        let last = lock(&batcher.last_batch).unwrap();
        let mut began = last;
        let check = |items| {
            began = Instant::now();
            items
        };
        assert_eq!(batcher.join_batch(3, check), Some(3));
        assert!(began - last >= BATCH_INTERVAL);
        assert_eq!(*lock(&batcher.last_batch), None);
    }

    #[test]
    fn after_a_panic_the_other_callers_return_without_a_verdict() {
        let batcher = Batcher::default();
        let (found, given) = others(&batcher, 3, |items| assert_eq!(items.len(), 1, "grief"));
        assert_eq!(given[1], [1, 2, 3]);
        assert_eq!(found.iter().filter(|found| found.is_err()).count(), 1);
        assert_eq!(found.iter().filter(|found| **found == Ok(None)).count(), 2);
        assert_eq!(batcher.join_batch(3, |items| items), Some(3));
    }
}
