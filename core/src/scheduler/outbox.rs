//! One ordered queue of outputs with barriers: what stands behind a barrier waits until the driver
//! confirms it.

use alloc::collections::VecDeque;

/// Outputs in the order in which they are to be performed.
#[derive(Clone, Debug)]
pub(super) struct Outbox<T> {
    queue: VecDeque<T>,
    held: bool,
}

impl<T> Outbox<T> {
    pub(super) const fn new() -> Self {
        Self { queue: VecDeque::new(), held: false }
    }

    pub(super) fn push(&mut self, output: T) {
        self.queue.push_back(output);
    }

    /// The next output; after a barrier nothing, until [`Outbox::release`].
    pub(super) fn poll(&mut self, is_barrier: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.held {
            return None;
        }
        let output = self.queue.pop_front()?;
        self.held = is_barrier(&output);
        Some(output)
    }

    /// The barrier has been confirmed.
    pub(super) fn release(&mut self) {
        self.held = false;
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
        outbox.release();
        assert_eq!([outbox.poll(barrier), outbox.poll(barrier)], [Some(3), None]);
    }
}
