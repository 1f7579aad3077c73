//! An ordered queue of outputs with barriers. Outputs after a barrier wait until the driver
//! confirms it.

use alloc::collections::VecDeque;

/// Outputs in the order of execution.
#[derive(Clone, Debug)]
pub(in crate::scheduler) struct Outbox<T> {
    queue: VecDeque<T>,
    is_blocked: bool,
}

impl<T> Outbox<T> {
    pub(in crate::scheduler) const fn new() -> Self {
        Self { queue: VecDeque::new(), is_blocked: false }
    }

    pub(in crate::scheduler) fn push(&mut self, output: T) {
        self.queue.push_back(output);
    }

    /// The next output; after a barrier none, until [`Outbox::confirm_barrier`].
    pub(in crate::scheduler) fn poll(&mut self, is_barrier: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.is_blocked {
            return None;
        }
        let output = self.queue.pop_front()?;
        self.is_blocked = is_barrier(&output);
        Some(output)
    }

    /// Confirms the barrier.
    pub(in crate::scheduler) fn confirm_barrier(&mut self) {
        self.is_blocked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_a_barrier_before_it_is_confirmed() {
        let mut outbox = Outbox::new();
        [1, 2, 3].into_iter().for_each(|n| outbox.push(n));
        let barrier = |n: &i32| *n == 2;
        assert_eq!(
            [outbox.poll(barrier), outbox.poll(barrier), outbox.poll(barrier)],
            [Some(1), Some(2), None]
        );
        outbox.confirm_barrier();
        assert_eq!([outbox.poll(barrier), outbox.poll(barrier)], [Some(3), None]);
    }
}
