//! Passes each input to its handler, then runs what is due: stored messages and timers.

use crate::{
    consensus::{error::Error, input::Input, output::Output, replica::Replica},
    machine::Machine,
    types::TimeMs,
};

impl Machine for Replica {
    type Input = Input;
    type Output = Output;
    type Error = Error;

    fn handle(&mut self, now_ms: TimeMs, input: Input) -> Result<(), Error> {
        if let Some(height) = self.halted {
            return Err(Error::Diverged { height });
        }
        self.now_ms = self.now_ms.max(now_ms);
        let is_always_accepted = matches!(
            input,
            Input::Persisted | Input::WantBlock { .. } | Input::SignaturesVerified(_) | Input::Tick
        );
        if self.outbox.is_full() && !is_always_accepted {
            return Err(Error::Overloaded);
        }
        let result = self.dispatch(input).and_then(|()| self.on_pending_messages());
        let result = result.map(|()| self.on_pending_proposal()).and_then(|()| self.run_timers());
        if let Err(Error::Diverged { height }) = result {
            self.halted = Some(height);
        }
        result
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<TimeMs> {
        if self.halted.is_some() {
            return None;
        }
        self.next_deadline()
    }
}

impl Replica {
    fn dispatch(&mut self, input: Input) -> Result<(), Error> {
        match input {
            Input::Received { from, message } => self.on_received(from, message),
            Input::Persisted => self.outbox.persisted(),
            Input::Built { height, view, parent, transactions, queued_inputs } => {
                let is_busy = self.is_busy(queued_inputs);
                self.on_built((height, view, parent), transactions, is_busy)
            }
            Input::Synced { from, blocks } => self.on_synced(from, blocks),
            Input::SignaturesVerified(transactions) => self.on_signatures_verified(transactions),
            Input::Snapshot(head) => self.on_snapshot(*head),
            Input::SeatKeys(keys) => {
                self.on_seat_keys(*keys);
                Ok(())
            }
            Input::WantBlock { height } => self.on_want_block(height),
            Input::Tick => Ok(()),
        }
    }
}
