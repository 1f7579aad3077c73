//! The ordered queue of outputs. A barrier holds back all later outputs until the host has written
//! it to disk. So a vote cannot be sent before the record that prevents a second, conflicting vote.

use super::{
    error::{Error, Offence},
    output::{Event, Output, Recipient},
    wal::WalRecord,
};
use crate::{types::NodeId, wire::consensus::Message};
use alloc::{boxed::Box, collections::VecDeque};

/// Most queued outputs before the replica accepts no more messages.
pub const OUTBOX_ITEMS_MAX: usize = 4096;
/// Most queued bytes before the replica accepts no more messages.
pub const OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<(Output, usize)>,
    bytes: usize,
    awaiting_persist: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        let len = output.len();
        self.bytes = self.bytes.saturating_add(len);
        self.queue.push_back((output, len));
    }

    pub(super) fn send(&mut self, to: Recipient, message: Message) {
        self.push(Output::Send { to, message });
    }

    pub(super) fn persist(&mut self, record: WalRecord) {
        self.push(Output::Persist(Box::new(record)));
    }

    pub(super) fn misbehaviour(&mut self, peer: NodeId, offence: Offence) {
        self.push(Output::Misbehaviour { peer, offence: Box::new(offence) });
    }

    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        if self.awaiting_persist {
            return None;
        }
        let (output, len) = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(len);
        self.awaiting_persist = output.is_barrier();
        Some(output)
    }

    pub(super) fn persisted(&mut self) -> Result<(), Error> {
        if !self.awaiting_persist {
            return Err(Error::NothingToPersist);
        }
        self.awaiting_persist = false;
        Ok(())
    }

    /// Whether everything is on disk.
    pub(super) fn is_on_disk(&self) -> bool {
        !self.awaiting_persist && !self.queue.iter().any(|(output, _)| output.is_barrier())
    }

    /// Whether no output is queued or being written. Otherwise a retransmission is of no use.
    pub(super) fn is_idle(&self) -> bool {
        !self.awaiting_persist && self.queue.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= OUTBOX_ITEMS_MAX || self.bytes >= OUTBOX_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_a_barrier_before_it_is_on_disk() {
        let mut outbox = Outbox::default();
        let event = Event::ViewChange { height: 1, view: 1, leader: NodeId([0; 32]) };
        outbox.event(event.clone());
        assert!(outbox.is_on_disk());
        outbox.persist(WalRecord::sample());
        outbox.event(event);
        assert!(matches!(outbox.poll(), Some(Output::Event(_))));
        assert_eq!(outbox.persisted(), Err(Error::NothingToPersist));
        assert!(matches!(outbox.poll(), Some(Output::Persist(_))));
        assert!(outbox.poll().is_none() && !outbox.is_idle() && !outbox.is_on_disk());
        assert_eq!(outbox.persisted(), Ok(()));
        assert!(outbox.is_on_disk() && !outbox.is_idle());
        assert!(matches!(outbox.poll(), Some(Output::Event(_))));
        assert!(outbox.poll().is_none() && outbox.is_idle());
    }
}
