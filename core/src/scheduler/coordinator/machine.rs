//! Passes each input to its handler, then dispatches free work units.

use super::{
    error::Error,
    input::{Input, Peer},
    output::Output,
    state::{Coordinator, Status},
};
use crate::{
    machine::Machine,
    types::TimeMs,
    wire::work::{Answer, Refusal, Request, Response},
};

impl Machine for Coordinator {
    type Input = Input;
    type Output = Output;
    type Error = Error;

    fn handle(&mut self, now: TimeMs, input: Input) -> Result<(), Error> {
        self.expire(now);
        let done = match input {
            Input::Request { id, from, request } => self.on_request(now, id, &from, request),
            Input::Disconnected(node) => {
                self.on_disconnect(now, &node);
                Ok(())
            }
            Input::Computed { compute_id, output } => self.on_computed(now, compute_id, output),
            Input::Persisted => {
                self.outbox.confirm_barrier();
                Ok(())
            }
            Input::Cancel => {
                self.cancel();
                Ok(())
            }
            Input::Tick => Ok(()),
        };
        let dispatched = self.dispatch(now);
        self.update_activity(now);
        self.schedule(now);
        done.and(dispatched)
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll(|output| matches!(output, Output::Persist(_)))
    }

    fn deadline(&self) -> Option<TimeMs> {
        self.wake
    }
}

impl Coordinator {
    fn on_request(
        &mut self,
        now: TimeMs,
        id: u64,
        peer: &Peer,
        request: Request,
    ) -> Result<(), Error> {
        if request.job() != self.job {
            self.outbox
                .push(Output::Reply { id, response: Response::refused(Refusal::UnknownJob) });
            return Ok(());
        }
        self.worker_table.record_seen(now, peer);
        if self.status != Status::Running {
            self.reply(id, &peer.node, Answer::Refused(Refusal::NotRunning));
            return Ok(());
        }
        let answer = match request {
            Request::RequestLease { slots, cached, .. } => {
                self.on_request_lease(now, id, peer, slots, cached);
                return Ok(());
            }
            Request::Commit { lease, commitment } => {
                self.on_commit(now, peer, lease.number, commitment)
            }
            Request::Reveal { lease, salt, output } => {
                self.on_reveal(now, peer, lease.number, &salt, output)?
            }
            Request::RevealDigest { lease, salt, digest } => {
                self.on_reveal_digest(now, peer, lease.number, &salt, digest)?
            }
            Request::State { lease, step, state } => {
                self.on_state(now, peer, lease.number, step, state)?
            }
        };
        self.reply(id, &peer.node, answer);
        Ok(())
    }

    fn cancel(&mut self) {
        if self.status == Status::Running {
            self.status = Status::Cancelled;
            self.refuse_waiting();
        }
    }
}
