//! The worker: leases work units from coordinators, keeps its slots busy, commits, reveals, and
//! takes part in disputes until its results are settled.
//!
//! The worker has no thread: it emits computations as [`Output::Compute`], at most one per slot at
//! a time. It refuses leases that it did not request and tasks of another job. It backs off from a
//! coordinator that fails or sends invalid answers.

mod input;
mod input_cache;
mod lease;
mod output;

pub use input::{Config, Input, Offer, RequestFailed};
pub use output::{Event, Output, Totals};

use super::{coordinator::ComputeFailed, outbox::Outbox, seeded_rng::SeededRng};
use crate::{
    compute::local_steps::result_commitment,
    ledger::job::JobId,
    machine::Machine,
    types::{NodeId, TimeMs},
    wire::work::{
        Answer, Assignment, CachedInputs, Lease, LeaseEvent, LeaseId, LocalStepsAssignment,
        Refusal, Request, Response, Task, TaskOutput,
    },
};
use alloc::{collections::BTreeMap, vec::Vec};
use input_cache::{CacheError, InputCache};
use lease::{Stage, WorkerLease};

/// Most jobs served in parallel.
pub const OFFERS_MAX: usize = 64;
/// Most results kept until they are settled; the oldest are dropped first.
pub const LEASES_MAX: usize = 64;
/// Most leases that wait for weights or rows in transit, and the longest wait, milliseconds.
const AWAITING_MAX: usize = 16;
const AWAIT_MS_MAX: u64 = 10_000;
/// How long a result is kept for a silent coordinator, milliseconds.
const VERDICT_WAIT_MS_MAX: u64 = 120_000;
/// Least time between two lease requests to one coordinator on one slot, milliseconds. It does not
/// apply after an answer that settled a lease: such answers are few, and the next unit should not
/// wait.
const REQUEST_INTERVAL_MS: u64 = 250;
/// Longest accepted retry delay from a coordinator, milliseconds.
const IDLE_MS_MAX: u64 = 60_000;
/// First and longest pause after failures, milliseconds.
const BACKOFF_MS: (u64, u64) = (500, 8_000);
/// Pause after an answer that the job does not run, and the longest pause after an answer that it
/// is unknown, milliseconds.
const NOT_RUNNING_MS: u64 = 5_000;
/// Pause after a ban, milliseconds.
const BANNED_MS: u64 = 600_000;
/// Most attempts to send a commitment or a reveal before the lease is lost.
const TRIES_MAX: u32 = 5;

/// A worker. See the module documentation.
#[derive(Debug)]
pub struct Worker {
    config: Config,
    rng: SeededRng,
    offers: Vec<OfferState>,
    /// Index of the next offer to request a lease of.
    next_offer: usize,
    pending_requests: BTreeMap<u64, PendingRequest>,
    leases: BTreeMap<LeaseId, WorkerLease>,
    input_cache: InputCache,
    /// Leases that wait for weights or rows in transit.
    awaiting_inputs: Vec<AwaitingInputs>,
    next_id: u64,
    totals: Totals,
    outbox: Outbox<Output>,
    wake: Option<TimeMs>,
}

/// An offer, and when its coordinator may get the next request.
#[derive(Clone, Copy, Debug)]
struct OfferState {
    offer: Offer,
    not_before: TimeMs,
    failures: u32,
}

/// A lease that waits for its inputs.
#[derive(Debug)]
struct AwaitingInputs {
    lease: LeaseId,
    coordinator: NodeId,
    assignment: LocalStepsAssignment,
    /// When the wait ends.
    until: TimeMs,
    /// When the lease expires.
    deadline: TimeMs,
}

/// A request that waits for its response.
#[derive(Clone, Copy, Debug)]
struct PendingRequest {
    since: TimeMs,
    purpose: RequestPurpose,
}

#[derive(Clone, Copy, Debug)]
enum RequestPurpose {
    RequestLease { job: JobId, slots: u8 },
    Lease(LeaseId),
}

impl Worker {
    /// A worker without offers.
    pub fn new(config: Config) -> Self {
        Self {
            rng: SeededRng::new(config.seed),
            config,
            offers: Vec::new(),
            next_offer: 0,
            pending_requests: BTreeMap::new(),
            leases: BTreeMap::new(),
            input_cache: InputCache::default(),
            awaiting_inputs: Vec::new(),
            next_id: 0,
            totals: Totals::default(),
            outbox: Outbox::new(),
            wake: None,
        }
    }

    /// The accepted work since the start.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Work units that are being computed or wait for their computation.
    pub fn busy(&self) -> usize {
        let computing =
            self.leases.values().filter(|h| h.stage.waits_for_compute() || h.stage.computes());
        computing.count() + self.awaiting_inputs.len()
    }

    fn allocate_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn on_offers(&mut self, offers: Vec<Offer>) {
        let before = core::mem::take(&mut self.offers);
        let known = |offer: &Offer| before.iter().find(|s| s.offer == *offer).copied();
        self.offers = offers
            .into_iter()
            .take(OFFERS_MAX)
            .map(|offer| known(&offer).unwrap_or(OfferState { offer, not_before: 0, failures: 0 }))
            .collect();
        for OfferState { offer, .. } in before {
            if self.offer_state(offer.job).is_none() {
                self.forget_job(offer.job);
            }
        }
    }

    fn offer_state(&mut self, job: JobId) -> Option<&mut OfferState> {
        self.offers.iter_mut().find(|s| s.offer.job == job)
    }

    fn send(&mut self, now: TimeMs, to: NodeId, purpose: RequestPurpose, request: Request) {
        let id = self.allocate_id();
        self.pending_requests.insert(id, PendingRequest { since: now, purpose });
        self.outbox.push(Output::Request { id, to, request });
    }

    /// Sends lease requests for free slots, to the coordinators in turn.
    fn request_leases(&mut self, now: TimeMs) {
        let requested = self
            .pending_requests
            .values()
            .filter(|e| matches!(e.purpose, RequestPurpose::RequestLease { slots: 1.., .. }))
            .count();
        let wanted = match self.config.slots {
            0 => 0,
            slots => usize::from(slots) + usize::from(self.config.prefetch),
        };
        for _ in (self.busy() + requested)..wanted {
            let count = self.offers.len();
            let Some(index) = (0..count)
                .map(|i| (self.next_offer + i) % count)
                .find(|i| self.offers.get(*i).is_some_and(|s| s.not_before <= now))
            else {
                break;
            };
            self.next_offer = (index + 1) % count;
            let Some(OfferState { offer, .. }) = self.offers.get(index).copied() else { break };
            let slots = self.config.slots;
            let purpose = RequestPurpose::RequestLease { job: offer.job, slots };
            let cached = self.input_cache.cached(&offer.job);
            self.send(
                now,
                offer.coordinator,
                purpose,
                Request::RequestLease { job: offer.job, slots, cached },
            );
        }
        self.poll_lease_events(now);
    }

    /// Polls for lease events while results are unsettled: events arrive only with responses.
    fn poll_lease_events(&mut self, now: TimeMs) {
        let mut unsettled: Vec<(JobId, NodeId)> = self
            .leases
            .values()
            .filter(|h| h.stage == Stage::AwaitingVerdict)
            .map(|h| (h.lease.job, h.coordinator))
            .collect();
        unsettled.dedup();
        for (job, coordinator) in unsettled {
            let is_polling = self
                .pending_requests
                .values()
                .any(|e| matches!(e.purpose, RequestPurpose::RequestLease { job: asked, .. } if asked == job));
            let is_allowed = self.offer_state(job).is_some_and(|s| s.not_before <= now);
            if !is_polling && is_allowed {
                let purpose = RequestPurpose::RequestLease { job, slots: 0 };
                let cached = CachedInputs::default();
                self.send(
                    now,
                    coordinator,
                    purpose,
                    Request::RequestLease { job, slots: 0, cached },
                );
            }
        }
    }

    /// Starts computations in free slots: states for disputes first, then work units in order of
    /// arrival.
    fn start_computations(&mut self) {
        let mut free = usize::from(self.config.slots.max(1))
            .saturating_sub(self.leases.values().filter(|h| h.stage.computes()).count());
        while free > 0 {
            let next = self
                .leases
                .values()
                .filter(|h| h.stage.waits_for_compute())
                .min_by_key(|h| h.urgency());
            let Some(lease) = next.map(|h| h.lease) else { return };
            let compute_id = self.allocate_id();
            let Some(worker_lease) = self.leases.get_mut(&lease) else { return };
            let task = worker_lease.start(compute_id);
            self.outbox.push(Output::Compute { compute_id, task });
            free -= 1;
        }
    }

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

    fn on_lease_response(
        &mut self,
        now: TimeMs,
        not_before: TimeMs,
        job: JobId,
        slots: u8,
        answer: Option<Answer>,
    ) {
        let jitter = self.rng.next_u64() % REQUEST_INTERVAL_MS;
        // Without the offer, no coordinator would accept the result.
        let Some(offer_state) = self.offer_state(job) else { return };
        let pause = match answer {
            Some(Answer::Lease(lease)) => {
                offer_state.failures = 0;
                let coordinator = offer_state.offer.coordinator;
                if slots > 0 && self.accept_lease(now, job, coordinator, *lease) {
                    return;
                }
                BACKOFF_MS.1
            }
            Some(Answer::Idle { retry_ms }) => {
                offer_state.failures = 0;
                u64::from(retry_ms).min(IDLE_MS_MAX).max(not_before.saturating_sub(now))
            }
            Some(Answer::Refused(Refusal::NotRunning)) => {
                self.forget_job(job);
                NOT_RUNNING_MS
            }
            Some(Answer::Refused(Refusal::UnknownJob)) => {
                // The coordinator learns of a new job from the same ledger, perhaps a moment later.
                let pause =
                    (REQUEST_INTERVAL_MS << offer_state.failures.min(10)).min(NOT_RUNNING_MS);
                offer_state.failures =
                    offer_state.failures.saturating_add(u32::from(offer_state.not_before <= now));
                self.forget_job(job);
                pause
            }
            Some(Answer::Refused(Refusal::Banned)) => BANNED_MS,
            Some(_) | None => {
                // Requests that fail together count as one failure.
                offer_state.failures =
                    offer_state.failures.saturating_add(u32::from(offer_state.not_before <= now));
                (BACKOFF_MS.0 << offer_state.failures.min(10)).min(BACKOFF_MS.1) + jitter
            }
        };
        if let Some(offer_state) = self.offer_state(job) {
            offer_state.not_before = now.saturating_add(pause);
        }
    }

    /// Accepts a lease if it matches the request.
    fn accept_lease(&mut self, now: TimeMs, job: JobId, coordinator: NodeId, lease: Lease) -> bool {
        let Lease { id, assignment, deadline_ms } = lease;
        let is_awaited = self.awaiting_inputs.iter().any(|a| a.lease == id);
        if id.job != job
            || assignment.id().job != job
            || self.leases.contains_key(&id)
            || is_awaited
        {
            return false;
        }
        let until = now.saturating_add(u64::from(deadline_ms));
        match assignment {
            Assignment::Task(Task::State { .. } | Task::LocalSteps(_)) => false,
            Assignment::Task(task) => self.add_lease(id, coordinator, task, until),
            Assignment::LocalSteps(mut assignment) => {
                if self.input_cache.insert(&mut assignment).is_err() {
                    return false;
                }
                let taken = match self.input_cache.task(&assignment) {
                    Ok(task) => self.add_lease(id, coordinator, task, until),
                    Err(CacheError::Missing) if self.awaiting_inputs.len() < AWAITING_MAX => {
                        let deadline = until;
                        let until = deadline.min(now.saturating_add(AWAIT_MS_MAX));
                        self.awaiting_inputs.push(AwaitingInputs {
                            lease: id,
                            coordinator,
                            assignment,
                            until,
                            deadline,
                        });
                        true
                    }
                    Err(_) => false,
                };
                self.add_ready_leases();
                taken
            }
        }
    }

    fn add_lease(&mut self, id: LeaseId, coordinator: NodeId, task: Task, until: TimeMs) -> bool {
        if self.leases.len() >= LEASES_MAX {
            let oldest = self
                .leases
                .values()
                .filter(|h| h.stage == Stage::AwaitingVerdict)
                .min_by_key(|h| h.order);
            let Some(oldest) = oldest.map(|h| h.lease) else { return false };
            self.leases.remove(&oldest);
        }
        let order = self.allocate_id();
        let salt = self.rng.next_bytes();
        self.leases.insert(id, WorkerLease::new(id, coordinator, task, salt, order, until));
        true
    }

    /// Adds leases whose inputs have arrived.
    fn add_ready_leases(&mut self) {
        for awaiting in core::mem::take(&mut self.awaiting_inputs) {
            let is_added = match self.input_cache.task(&awaiting.assignment) {
                Ok(task) => {
                    self.add_lease(awaiting.lease, awaiting.coordinator, task, awaiting.deadline)
                }
                Err(CacheError::Missing) => {
                    self.awaiting_inputs.push(awaiting);
                    continue;
                }
                Err(CacheError::Malformed) => false,
            };
            if !is_added {
                self.outbox.push(lost_event(&awaiting.assignment));
            }
        }
    }

    /// Handles an answer to a commitment, a reveal or a state.
    fn on_submission_response(&mut self, now: TimeMs, lease: LeaseId, answer: Option<Answer>) {
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        match (lease_state.stage, answer) {
            (Stage::Committing, Some(Answer::RevealRequested { full_output })) => {
                (lease_state.stage, lease_state.tries, lease_state.reveals_output) =
                    (Stage::Revealing, 0, full_output);
                self.submit(now, lease);
            }
            (Stage::Revealing, Some(Answer::RevealRequested { full_output: true }))
                if !lease_state.reveals_output =>
            {
                (lease_state.tries, lease_state.reveals_output) = (0, true);
                self.submit(now, lease);
            }
            (Stage::Revealing, Some(Answer::Received)) => {
                lease_state.stage = Stage::AwaitingVerdict;
                lease_state.until = now.saturating_add(VERDICT_WAIT_MS_MAX);
            }
            (Stage::Committing | Stage::Revealing, None) if lease_state.tries < TRIES_MAX => {
                lease_state.retry_at =
                    Some(now.saturating_add(BACKOFF_MS.0 << lease_state.tries.min(6)));
            }
            (Stage::Committing | Stage::Revealing, _) => self.lose_lease(lease),
            _ => {}
        }
    }

    /// Sends the commitment or the reveal.
    fn submit(&mut self, now: TimeMs, lease: LeaseId) {
        let local = self.config.local;
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        let Some(output) = &lease_state.output else { return };
        let Some(digest) = output.digest(&lease_state.id()) else { return };
        let request = match lease_state.stage {
            Stage::Committing => Request::Commit {
                lease,
                commitment: result_commitment(&digest, &local, &lease_state.salt),
            },
            Stage::Revealing if !lease_state.reveals_output => {
                Request::RevealDigest { lease, salt: lease_state.salt, digest }
            }
            Stage::Revealing => {
                Request::Reveal { lease, salt: lease_state.salt, output: output.clone() }
            }
            _ => return,
        };
        lease_state.tries += 1;
        lease_state.retry_at = None;
        let to = lease_state.coordinator;
        self.send(now, to, RequestPurpose::Lease(lease), request);
    }

    fn on_computed(
        &mut self,
        now: TimeMs,
        compute_id: u64,
        output: Result<TaskOutput, ComputeFailed>,
    ) {
        let Some(lease_state) =
            self.leases.values_mut().find(|h| h.stage.compute_id() == Some(compute_id))
        else {
            return;
        };
        let (lease, to) = (lease_state.lease, lease_state.coordinator);
        match (lease_state.stage, output) {
            (
                Stage::Computing { .. },
                Ok(
                    output @ (TaskOutput::LocalSteps(_)
                    | TaskOutput::ExactStep(_)
                    | TaskOutput::InferencePart(_)),
                ),
            ) => {
                lease_state.stage = Stage::Committing;
                lease_state.output = Some(output);
                self.submit(now, lease);
            }
            (Stage::Computing { .. }, _) => self.lose_lease(lease),
            (Stage::ComputingState { step, .. }, output) => {
                lease_state.stage = Stage::AwaitingVerdict;
                let state = match output {
                    Ok(TaskOutput::State(state)) => Some(state),
                    _ => None,
                };
                self.send(
                    now,
                    to,
                    RequestPurpose::Lease(lease),
                    Request::State { lease, step, state },
                );
            }
            _ => {}
        }
    }

    /// Handles an event of an earlier lease. Only the lease's own coordinator may send it.
    fn on_lease_event(&mut self, event: LeaseEvent, request: &PendingRequest) {
        let from_job = match request.purpose {
            RequestPurpose::RequestLease { job, .. } => job,
            RequestPurpose::Lease(lease) => lease.job,
        };
        let (LeaseEvent::Accepted { lease, .. }
        | LeaseEvent::Rejected { lease, .. }
        | LeaseEvent::Superseded { lease }
        | LeaseEvent::StateRequested { lease, .. }) = event;
        if lease.job != from_job {
            return;
        }
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        let (job, round, unit) = (lease.job, lease_state.id().round, lease_state.id().unit);
        match event {
            LeaseEvent::Accepted { macs, .. } => {
                self.totals.units += 1;
                self.totals.macs = self.totals.macs.saturating_add(macs);
                self.leases.remove(&lease);
                self.outbox.push(Output::Event(Event::Accepted { job, round, unit, macs }));
            }
            LeaseEvent::Rejected { reason, .. } => {
                self.leases.remove(&lease);
                self.outbox.push(Output::Event(Event::Rejected { job, round, unit, reason }));
            }
            LeaseEvent::Superseded { .. } => self.lose_lease(lease),
            LeaseEvent::StateRequested { step, .. } => {
                if lease_state.stage == Stage::AwaitingVerdict
                    && matches!(lease_state.task, Task::LocalSteps(_))
                {
                    lease_state.stage = Stage::StateRequested { step };
                }
            }
        }
    }

    /// Reports a lost lease. A running computation cannot be stopped: its slot is free when it
    /// ends.
    fn lose_lease(&mut self, lease: LeaseId) {
        let Some(lease_state) = self.leases.get_mut(&lease) else { return };
        let (job, round, unit) = (lease.job, lease_state.id().round, lease_state.id().unit);
        match lease_state.stage.compute_id() {
            Some(compute_id) => lease_state.stage = Stage::Abandoned { compute_id },
            None => {
                self.leases.remove(&lease);
            }
        }
        self.outbox.push(Output::Event(Event::Lost { job, round, unit }));
    }

    /// Drops the leases of a job that is over.
    fn forget_job(&mut self, job: JobId) {
        self.input_cache.forget(&job);
        self.awaiting_inputs.retain(|awaiting| awaiting.lease.job != job);
        let leases: Vec<LeaseId> = self.leases.keys().filter(|l| l.job == job).copied().collect();
        for lease in leases {
            match self.leases.get(&lease).map(|h| h.stage) {
                Some(Stage::AwaitingVerdict) => drop(self.leases.remove(&lease)),
                Some(Stage::Abandoned { .. }) | None => {}
                Some(_) => self.lose_lease(lease),
            }
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

fn lost_event(assignment: &LocalStepsAssignment) -> Output {
    let (job, round, unit) = (assignment.id.job, assignment.id.round, assignment.id.unit);
    Output::Event(Event::Lost { job, round, unit })
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compute::{
            dataset::Samples,
            local_steps::WorkUnitId,
            params::{Architecture, JobParams, Mode, Rounding},
            state::Weights,
        },
        types::Digest,
        wire::work::{LeaseRows, LeaseWeights},
    };
    use alloc::vec;

    const JOB: JobId = Digest([1; 32]);

    fn lease(
        number: u64,
        deadline_ms: u32,
        weights: impl FnOnce(Weights) -> LeaseWeights,
    ) -> Lease {
        let params = JobParams {
            architecture: Architecture {
                dims: vec![2, 2].try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            rows_per_step: 8,
            mode: Mode::Local { units: 2, steps: 1 },
            learning_rate: 6554,
            momentum: 230,
            rounds: 1,
            seed: 0,
            rounding: Rounding::Stochastic,
        };
        let initial = Weights::initial(&params.clone().validate().unwrap());
        let id = WorkUnitId { job: JOB, round: 0, unit: number as u32 };
        let rows = LeaseRows::Unit(Samples::new(2, vec![0; 16], vec![0; 8]).unwrap());
        let weights_hash = initial.hash();
        let assignment =
            LocalStepsAssignment { params, id, weights_hash, weights: weights(initial), rows };
        Lease {
            id: LeaseId { job: JOB, number },
            assignment: Assignment::LocalSteps(assignment),
            deadline_ms,
        }
    }

    #[test]
    fn a_lane_that_waited_for_its_weights_is_of_use_until_its_deadline() {
        let coordinator = NodeId([2; 32]);
        let mut worker = Worker::new(Config { slots: 1, ..Config::new(NodeId([3; 32]), [4; 32]) });
        assert!(worker.accept_lease(
            0,
            JOB,
            coordinator,
            lease(0, 60_000, |_| LeaseWeights::Cached)
        ));
        assert_eq!((worker.awaiting_inputs.len(), worker.leases.len()), (1, 0));
        assert!(worker.accept_lease(
            1_000,
            JOB,
            coordinator,
            lease(1, 60_000, LeaseWeights::Inline)
        ));
        assert_eq!((worker.awaiting_inputs.len(), worker.leases.len()), (0, 2));
        let until: Vec<TimeMs> = worker.leases.values().map(|lease| lease.until).collect();
        assert_eq!(until, [60_000, 61_000]);
    }
}
