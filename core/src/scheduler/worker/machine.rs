//! Passes each input to its handler, then ends what has expired and fills the free slots.

use super::{
    input::{Input, RequestFailed},
    lease::Stage,
    leases::lost_event,
    limits::REQUEST_INTERVAL_MS,
    output::Output,
    state::{AwaitingInputs, PendingRequest, RequestPurpose, Worker},
};
use crate::{
    machine::Machine,
    types::TimeMs,
    wire::work::{LeaseId, Response},
};
use alloc::vec::Vec;

impl Machine for Worker {
    type Input = Input;
    type Output = Output;
    type Error = core::convert::Infallible;

    fn handle(&mut self, now: TimeMs, input: Input) -> Result<(), Self::Error> {
        match input {
            Input::Jobs(offers) => self.on_offers(offers),
            Input::Slots(slots) => self.config.slots = slots,
            Input::Response { id, outcome } => {
                // A response after the timeout is ignored.
                if let Some(request) = self.pending_requests.remove(&id) {
                    self.on_response(now, request, outcome);
                }
            }
            Input::Computed { compute_id, output } => {
                self.leases.retain(|_, h| h.stage != Stage::Abandoned { compute_id });
                self.on_computed(now, compute_id, output);
            }
            Input::Tick => {}
        }
        self.expire(now);
        self.start_computations();
        self.request_leases(now);
        self.schedule(now);
        Ok(())
    }

    fn poll(&mut self) -> Option<Output> {
        self.outbox.poll(|_| false)
    }

    fn deadline(&self) -> Option<TimeMs> {
        self.wake
    }
}

impl Worker {
    fn on_response(
        &mut self,
        now: TimeMs,
        request: PendingRequest,
        outcome: Result<Response, RequestFailed>,
    ) {
        let before = self.leases.len();
        let answer = match outcome {
            Ok(response) => {
                for event in response.events.into_vec() {
                    self.on_lease_event(event, &request);
                }
                Some(response.answer)
            }
            Err(RequestFailed) => None,
        };
        let settled = self.leases.len() < before;
        match request.purpose {
            RequestPurpose::RequestLease { job, slots } => {
                let not_before =
                    if settled { now } else { request.since.saturating_add(REQUEST_INTERVAL_MS) };
                self.on_lease_response(now, not_before, job, slots, answer);
            }
            RequestPurpose::Lease(lease) => self.on_submission_response(now, lease, answer),
        }
    }

    fn expire(&mut self, now: TimeMs) {
        let timeout_ms = self.config.request_timeout_ms;
        let late: Vec<u64> = self
            .pending_requests
            .iter()
            .filter(|(_, e)| e.since.saturating_add(timeout_ms) <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(request) = self.pending_requests.remove(&id) {
                self.on_response(now, request, Err(RequestFailed));
            }
        }
        let due: Vec<LeaseId> = self
            .leases
            .values()
            .filter(|h| h.retry_at.is_some_and(|t| t <= now))
            .map(|h| h.lease)
            .collect();
        for lease in due {
            self.submit(now, lease);
        }
        self.leases.retain(|_, h| h.stage != Stage::AwaitingVerdict || h.until > now);
        let expired: Vec<AwaitingInputs> =
            self.awaiting_inputs.extract_if(.., |a| a.until <= now).collect();
        for AwaitingInputs { assignment, .. } in expired {
            self.outbox.push(lost_event(&assignment));
        }
        let over: Vec<LeaseId> = self
            .leases
            .values()
            .filter(|h| h.stage == Stage::Queued && (h.until <= now || self.config.slots == 0))
            .map(|h| h.lease)
            .collect();
        for lease in over {
            self.lose_lease(lease);
        }
    }

    fn schedule(&mut self, now: TimeMs) {
        let timeouts = self
            .pending_requests
            .values()
            .map(|e| e.since.saturating_add(self.config.request_timeout_ms));
        let pauses = self.offers.iter().map(|s| s.not_before);
        let ends = self.leases.values().flat_map(|h| [Some(h.until), h.retry_at]).flatten();
        let waits = self.awaiting_inputs.iter().map(|a| a.until);
        self.wake = timeouts.chain(pauses).chain(ends).chain(waits).filter(|t| *t > now).min();
    }
}
