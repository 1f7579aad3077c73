//! The worker: asks coordinators for lanes, keeps its slots busy, commits, opens, and answers for
//! its results until they are settled.
//!
//! It owns no thread: whatever is to be computed goes out as [`Output::Compute`], at most as many
//! at a time as it has slots. It refuses leases that it did not ask for and tasks of another job. A
//! coordinator that fails or answers nonsense is asked less and less often.

mod held;
mod input;
mod material;
mod output;

pub use input::{Config, Failed, Input, Offer};
pub use output::{Event, Output, Totals};

use super::{coordinator::ComputeFailed, draw::Draw, outbox::Outbox};
use crate::{
    compute::lane::lane_commitment,
    ledger::job::JobId,
    machine::Machine,
    types::{NodeId, TimeMs},
    wire::work::{
        Answer, Assignment, Holds, LaneAssignment, Lease, LeaseId, Notice, Product, Refusal,
        Request, Response, Task,
    },
};
use alloc::{collections::BTreeMap, vec::Vec};
use held::{Held, Stage};
use material::{Materials, Unusable};

/// Most jobs worked on side by side.
pub const OFFERS_MAX: usize = 64;
/// Most results kept until they are settled; the oldest are given up first.
pub const HELD_MAX: usize = 64;
/// Most leases that wait for weights or rows on their way, and how long they do, milliseconds.
const AWAITING_MAX: usize = 16;
const AWAIT_MS_MAX: u64 = 10_000;
/// How long a result is kept for a coordinator that says no more, milliseconds.
const SETTLE_MS_MAX: u64 = 120_000;
/// Least time between two questions to one coordinator on one slot, milliseconds, unless the answer
/// settled a lease: leases are few, so that an answer of this kind cannot be repeated at will, and
/// the next lane is not to wait for it.
const ASK_INTERVAL_MS: u64 = 250;
/// Longest that a coordinator can send a worker away for, milliseconds.
const IDLE_MS_MAX: u64 = 60_000;
/// First and longest pause after failures, milliseconds.
const BACKOFF_MS: (u64, u64) = (500, 8_000);
/// Pause after being told that the job does not run, and the longest after being told that it is
/// unknown.
const NOT_RUNNING_MS: u64 = 5_000;
/// Pause after being barred.
const BANNED_MS: u64 = 600_000;
/// How often a commitment or its opening is sent before the lane is given up.
const TRIES_MAX: u32 = 5;

/// A worker. See the module.
#[derive(Debug)]
pub struct Worker {
    config: Config,
    draw: Draw,
    offers: Vec<Standing>,
    /// Whose turn it is among the offers.
    turn: usize,
    exchanges: BTreeMap<u64, Exchange>,
    held: BTreeMap<LeaseId, Held>,
    materials: Materials,
    /// Leases of lanes that wait for weights or rows on their way.
    awaiting: Vec<Awaiting>,
    number_next: u64,
    totals: Totals,
    outbox: Outbox<Output>,
    wake: Option<TimeMs>,
}

/// An offer, and when its coordinator may be asked again.
#[derive(Clone, Copy, Debug)]
struct Standing {
    offer: Offer,
    not_before: TimeMs,
    failures: u32,
}

/// A lease that cannot be computed before something else has come.
#[derive(Debug)]
struct Awaiting {
    lease: LeaseId,
    coordinator: NodeId,
    lane: LaneAssignment,
    /// Until when to wait.
    until: TimeMs,
    /// Until when the lane is of use.
    deadline: TimeMs,
}

/// A request that waits for its response.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    since: TimeMs,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Ask { job: JobId, lanes: u8 },
    Lease(LeaseId),
}

impl Worker {
    /// A worker without offers.
    pub fn new(config: Config) -> Self {
        Self {
            draw: Draw::new(config.seed),
            config,
            offers: Vec::new(),
            turn: 0,
            exchanges: BTreeMap::new(),
            held: BTreeMap::new(),
            materials: Materials::default(),
            awaiting: Vec::new(),
            number_next: 0,
            totals: Totals::default(),
            outbox: Outbox::new(),
            wake: None,
        }
    }

    /// What was accepted since the start.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Lanes that are being computed or wait for it.
    pub fn busy(&self) -> usize {
        let held = self.held.values().filter(|h| h.stage.waits_for_compute() || h.stage.computes());
        held.count() + self.awaiting.len()
    }

    fn number(&mut self) -> u64 {
        self.number_next += 1;
        self.number_next
    }

    fn offers(&mut self, offers: Vec<Offer>) {
        let before = core::mem::take(&mut self.offers);
        let known = |offer: &Offer| before.iter().find(|s| s.offer == *offer).copied();
        self.offers = offers
            .into_iter()
            .take(OFFERS_MAX)
            .map(|offer| known(&offer).unwrap_or(Standing { offer, not_before: 0, failures: 0 }))
            .collect();
        for Standing { offer, .. } in before {
            if self.standing(offer.job).is_none() {
                self.forget(offer.job);
            }
        }
    }

    fn standing(&mut self, job: JobId) -> Option<&mut Standing> {
        self.offers.iter_mut().find(|s| s.offer.job == job)
    }

    fn send(&mut self, now: TimeMs, to: NodeId, purpose: Purpose, request: Request) {
        let id = self.number();
        self.exchanges.insert(id, Exchange { since: now, purpose });
        self.outbox.push(Output::Request { id, to, request });
    }

    /// Fills the free slots with questions, to each coordinator in turn.
    fn ask(&mut self, now: TimeMs) {
        let asking = self
            .exchanges
            .values()
            .filter(|e| matches!(e.purpose, Purpose::Ask { lanes: 1.., .. }))
            .count();
        let wanted = match self.config.slots {
            0 => 0,
            slots => usize::from(slots) + usize::from(self.config.prefetch),
        };
        for _ in (self.busy() + asking)..wanted {
            let count = self.offers.len();
            let Some(index) = (0..count)
                .map(|i| (self.turn + i) % count)
                .find(|i| self.offers.get(*i).is_some_and(|s| s.not_before <= now))
            else {
                break;
            };
            self.turn = (index + 1) % count;
            let Some(Standing { offer, .. }) = self.offers.get(index).copied() else { break };
            let lanes = self.config.slots;
            let purpose = Purpose::Ask { job: offer.job, lanes };
            let holds = self.materials.holds(&offer.job);
            self.send(
                now,
                offer.coordinator,
                purpose,
                Request::Ask { job: offer.job, lanes, holds },
            );
        }
        self.ask_for_news(now);
    }

    /// Results that are not settled need an open ear: notices come with answers only.
    fn ask_for_news(&mut self, now: TimeMs) {
        let mut unsettled: Vec<(JobId, NodeId)> = self
            .held
            .values()
            .filter(|h| h.stage == Stage::Settling)
            .map(|h| (h.lease.job, h.coordinator))
            .collect();
        unsettled.dedup();
        for (job, coordinator) in unsettled {
            let listens = self
                .exchanges
                .values()
                .any(|e| matches!(e.purpose, Purpose::Ask { job: asked, .. } if asked == job));
            let may = self.standing(job).is_some_and(|s| s.not_before <= now);
            if !listens && may {
                let purpose = Purpose::Ask { job, lanes: 0 };
                let holds = Holds::default();
                self.send(now, coordinator, purpose, Request::Ask { job, lanes: 0, holds });
            }
        }
    }

    /// Starts what waits for a slot: first what a dispute waits for, then lanes in the order in
    /// which they came.
    fn compute(&mut self) {
        let mut free = usize::from(self.config.slots.max(1))
            .saturating_sub(self.held.values().filter(|h| h.stage.computes()).count());
        while free > 0 {
            let next = self
                .held
                .values()
                .filter(|h| h.stage.waits_for_compute())
                .min_by_key(|h| h.urgency());
            let Some(lease) = next.map(|h| h.lease) else { return };
            let unit = self.number();
            let Some(held) = self.held.get_mut(&lease) else { return };
            let task = held.start(unit);
            self.outbox.push(Output::Compute { unit, task });
            free -= 1;
        }
    }

    fn response(&mut self, now: TimeMs, exchange: Exchange, outcome: Result<Response, Failed>) {
        let before = self.held.len();
        let answer = match outcome {
            Ok(response) => {
                for notice in response.notices.into_vec() {
                    self.notice(notice, &exchange);
                }
                Some(response.answer)
            }
            Err(Failed) => None,
        };
        let settled = self.held.len() < before;
        match exchange.purpose {
            Purpose::Ask { job, lanes } => {
                let not_before =
                    if settled { now } else { exchange.since.saturating_add(ASK_INTERVAL_MS) };
                self.asked(now, not_before, job, lanes, answer);
            }
            Purpose::Lease(lease) => self.handed_in(now, lease, answer),
        }
    }

    fn asked(
        &mut self,
        now: TimeMs,
        not_before: TimeMs,
        job: JobId,
        lanes: u8,
        answer: Option<Answer>,
    ) {
        let jitter = self.draw.number() % ASK_INTERVAL_MS;
        // If the offer is gone, a lease of it would be computed for nobody.
        let Some(standing) = self.standing(job) else { return };
        let pause = match answer {
            Some(Answer::Lease(lease)) => {
                standing.failures = 0;
                let coordinator = standing.offer.coordinator;
                if lanes > 0 && self.take(now, job, coordinator, *lease) {
                    return;
                }
                BACKOFF_MS.1
            }
            Some(Answer::Idle { retry_ms }) => {
                standing.failures = 0;
                u64::from(retry_ms).min(IDLE_MS_MAX).max(not_before.saturating_sub(now))
            }
            Some(Answer::Refused(Refusal::NotRunning)) => {
                self.forget(job);
                NOT_RUNNING_MS
            }
            Some(Answer::Refused(Refusal::UnknownJob)) => {
                // Its coordinator hears of a new job from the same ledger, perhaps a moment later.
                let pause = (ASK_INTERVAL_MS << standing.failures.min(10)).min(NOT_RUNNING_MS);
                standing.failures =
                    standing.failures.saturating_add(u32::from(standing.not_before <= now));
                self.forget(job);
                pause
            }
            Some(Answer::Refused(Refusal::Banned)) => BANNED_MS,
            Some(_) | None => {
                // Questions that fail together fail once.
                standing.failures =
                    standing.failures.saturating_add(u32::from(standing.not_before <= now));
                (BACKOFF_MS.0 << standing.failures.min(10)).min(BACKOFF_MS.1) + jitter
            }
        };
        if let Some(standing) = self.standing(job) {
            standing.not_before = now.saturating_add(pause);
        }
    }

    /// Accepts a lease, if it is what was asked for.
    fn take(&mut self, now: TimeMs, job: JobId, coordinator: NodeId, lease: Lease) -> bool {
        let Lease { id, assignment, deadline_ms } = lease;
        let is_awaited = self.awaiting.iter().any(|a| a.lease == id);
        if id.job != job || assignment.id().job != job || self.held.contains_key(&id) || is_awaited
        {
            return false;
        }
        let until = now.saturating_add(u64::from(deadline_ms));
        match assignment {
            Assignment::Task(Task::State { .. } | Task::Lane(_)) => false,
            Assignment::Task(task) => self.hold(id, coordinator, task, until),
            Assignment::Lane(mut lane) => {
                if self.materials.keep(&mut lane).is_err() {
                    return false;
                }
                let taken = match self.materials.task(&lane) {
                    Ok(task) => self.hold(id, coordinator, task, until),
                    Err(Unusable::Missing) if self.awaiting.len() < AWAITING_MAX => {
                        let deadline = until;
                        let until = deadline.min(now.saturating_add(AWAIT_MS_MAX));
                        self.awaiting.push(Awaiting {
                            lease: id,
                            coordinator,
                            lane,
                            until,
                            deadline,
                        });
                        true
                    }
                    Err(_) => false,
                };
                self.hold_awaited();
                taken
            }
        }
    }

    fn hold(&mut self, id: LeaseId, coordinator: NodeId, task: Task, until: TimeMs) -> bool {
        if self.held.len() >= HELD_MAX {
            let oldest =
                self.held.values().filter(|h| h.stage == Stage::Settling).min_by_key(|h| h.order);
            let Some(oldest) = oldest.map(|h| h.lease) else { return false };
            self.held.remove(&oldest);
        }
        let order = self.number();
        let salt = self.draw.bytes();
        self.held.insert(id, Held::new(id, coordinator, task, salt, order, until));
        true
    }

    /// Takes up leases whose weights and rows have come.
    fn hold_awaited(&mut self) {
        for awaiting in core::mem::take(&mut self.awaiting) {
            let is_held = match self.materials.task(&awaiting.lane) {
                Ok(task) => {
                    self.hold(awaiting.lease, awaiting.coordinator, task, awaiting.deadline)
                }
                Err(Unusable::Missing) => {
                    self.awaiting.push(awaiting);
                    continue;
                }
                Err(Unusable::Malformed) => false,
            };
            if !is_held {
                self.outbox.push(lost(&awaiting.lane));
            }
        }
    }

    /// An answer to a commitment, an opening or a state.
    fn handed_in(&mut self, now: TimeMs, lease: LeaseId, answer: Option<Answer>) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        match (held.stage, answer) {
            (Stage::Committing, Some(Answer::OpenIt { product })) => {
                (held.stage, held.tries, held.opens_product) = (Stage::Opening, 0, product);
                self.hand_in(now, lease);
            }
            (Stage::Opening, Some(Answer::OpenIt { product: true })) if !held.opens_product => {
                (held.tries, held.opens_product) = (0, true);
                self.hand_in(now, lease);
            }
            (Stage::Opening, Some(Answer::Received)) => {
                held.stage = Stage::Settling;
                held.until = now.saturating_add(SETTLE_MS_MAX);
            }
            (Stage::Committing | Stage::Opening, None) if held.tries < TRIES_MAX => {
                held.retry_at = Some(now.saturating_add(BACKOFF_MS.0 << held.tries.min(6)));
            }
            (Stage::Committing | Stage::Opening, _) => self.lose(lease),
            _ => {}
        }
    }

    /// Sends the commitment or its opening.
    fn hand_in(&mut self, now: TimeMs, lease: LeaseId) {
        let local = self.config.local;
        let Some(held) = self.held.get_mut(&lease) else { return };
        let Some(product) = &held.product else { return };
        let Some(digest) = product.digest(&held.id()) else { return };
        let request = match held.stage {
            Stage::Committing => {
                Request::Commit { lease, commitment: lane_commitment(&digest, &local, &held.salt) }
            }
            Stage::Opening if !held.opens_product => {
                Request::OpenDigest { lease, salt: held.salt, digest }
            }
            Stage::Opening => Request::Open { lease, salt: held.salt, product: product.clone() },
            _ => return,
        };
        held.tries += 1;
        held.retry_at = None;
        let to = held.coordinator;
        self.send(now, to, Purpose::Lease(lease), request);
    }

    fn computed(&mut self, now: TimeMs, unit: u64, product: Result<Product, ComputeFailed>) {
        let Some(held) = self.held.values_mut().find(|h| h.stage.unit() == Some(unit)) else {
            return;
        };
        let (lease, to) = (held.lease, held.coordinator);
        match (held.stage, product) {
            (
                Stage::Computing { .. },
                Ok(product @ (Product::Lane(_) | Product::Unit(_) | Product::Answers(_))),
            ) => {
                held.stage = Stage::Committing;
                held.product = Some(product);
                self.hand_in(now, lease);
            }
            (Stage::Computing { .. }, _) => self.lose(lease),
            (Stage::Showing { step, .. }, product) => {
                held.stage = Stage::Settling;
                let state = match product {
                    Ok(Product::State(state)) => Some(state),
                    _ => None,
                };
                self.send(now, to, Purpose::Lease(lease), Request::State { lease, step, state });
            }
            _ => {}
        }
    }

    /// News of an earlier lease. Only its own coordinator may bring it.
    fn notice(&mut self, notice: Notice, exchange: &Exchange) {
        let from_job = match exchange.purpose {
            Purpose::Ask { job, .. } => job,
            Purpose::Lease(lease) => lease.job,
        };
        let (Notice::Accepted { lease, .. }
        | Notice::Rejected { lease, .. }
        | Notice::Superseded { lease }
        | Notice::NeedState { lease, .. }) = notice;
        if lease.job != from_job {
            return;
        }
        let Some(held) = self.held.get_mut(&lease) else { return };
        let (job, round, lane) = (lease.job, held.id().round, held.id().lane);
        match notice {
            Notice::Accepted { macs, .. } => {
                self.totals.units += 1;
                self.totals.macs = self.totals.macs.saturating_add(macs);
                self.held.remove(&lease);
                self.outbox.push(Output::Event(Event::Accepted { job, round, lane, macs }));
            }
            Notice::Rejected { reason, .. } => {
                self.held.remove(&lease);
                self.outbox.push(Output::Event(Event::Rejected { job, round, lane, reason }));
            }
            Notice::Superseded { .. } => self.lose(lease),
            Notice::NeedState { step, .. } => {
                if held.stage == Stage::Settling && matches!(held.task, Task::Lane(_)) {
                    held.stage = Stage::Asked { step };
                }
            }
        }
    }

    /// A lane came to nothing. A running computation cannot be stopped: its slot is free when it
    /// ends.
    fn lose(&mut self, lease: LeaseId) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        let (job, round, lane) = (lease.job, held.id().round, held.id().lane);
        match held.stage.unit() {
            Some(unit) => held.stage = Stage::Abandoned { unit },
            None => {
                self.held.remove(&lease);
            }
        }
        self.outbox.push(Output::Event(Event::Lost { job, round, lane }));
    }

    /// The job is over: nothing of it will be settled any more.
    fn forget(&mut self, job: JobId) {
        self.materials.forget(&job);
        self.awaiting.retain(|awaiting| awaiting.lease.job != job);
        let leases: Vec<LeaseId> = self.held.keys().filter(|l| l.job == job).copied().collect();
        for lease in leases {
            match self.held.get(&lease).map(|h| h.stage) {
                Some(Stage::Settling) => drop(self.held.remove(&lease)),
                Some(Stage::Abandoned { .. }) | None => {}
                Some(_) => self.lose(lease),
            }
        }
    }

    fn expire(&mut self, now: TimeMs) {
        let timeout_ms = self.config.request_timeout_ms;
        let late: Vec<u64> = self
            .exchanges
            .iter()
            .filter(|(_, e)| e.since.saturating_add(timeout_ms) <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(exchange) = self.exchanges.remove(&id) {
                self.response(now, exchange, Err(Failed));
            }
        }
        let due: Vec<LeaseId> = self
            .held
            .values()
            .filter(|h| h.retry_at.is_some_and(|t| t <= now))
            .map(|h| h.lease)
            .collect();
        for lease in due {
            self.hand_in(now, lease);
        }
        self.held.retain(|_, h| h.stage != Stage::Settling || h.until > now);
        let in_vain: Vec<Awaiting> = self.awaiting.extract_if(.., |a| a.until <= now).collect();
        for Awaiting { lane, .. } in in_vain {
            self.outbox.push(lost(&lane));
        }
        let over: Vec<LeaseId> = self
            .held
            .values()
            .filter(|h| h.stage == Stage::Queued && (h.until <= now || self.config.slots == 0))
            .map(|h| h.lease)
            .collect();
        for lease in over {
            self.lose(lease);
        }
    }

    fn schedule(&mut self, now: TimeMs) {
        let timeouts =
            self.exchanges.values().map(|e| e.since.saturating_add(self.config.request_timeout_ms));
        let pauses = self.offers.iter().map(|s| s.not_before);
        let ends = self.held.values().flat_map(|h| [Some(h.until), h.retry_at]).flatten();
        let waits = self.awaiting.iter().map(|a| a.until);
        self.wake = timeouts.chain(pauses).chain(ends).chain(waits).filter(|t| *t > now).min();
    }
}

fn lost(lane: &LaneAssignment) -> Output {
    let (job, round, lane) = (lane.id.job, lane.id.round, lane.id.lane);
    Output::Event(Event::Lost { job, round, lane })
}

impl Machine for Worker {
    type Input = Input;
    type Output = Output;
    type Error = core::convert::Infallible;

    fn handle(&mut self, now: TimeMs, input: Input) -> Result<(), Self::Error> {
        match input {
            Input::Jobs(offers) => self.offers(offers),
            Input::Slots(slots) => self.config.slots = slots,
            Input::Response { id, outcome } => {
                // One that comes after its time-out is as good as none.
                if let Some(exchange) = self.exchanges.remove(&id) {
                    self.response(now, exchange, outcome);
                }
            }
            Input::Computed { unit, product } => {
                self.held.retain(|_, h| h.stage != Stage::Abandoned { unit });
                self.computed(now, unit, product);
            }
            Input::Tick => {}
        }
        self.expire(now);
        self.compute();
        self.ask(now);
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
            lane::LaneId,
            params::{Architecture, JobParams, Mode, Rounding},
            state::Weights,
        },
        types::Digest,
        wire::work::{SentRows, SentWeights},
    };
    use alloc::vec;

    const JOB: JobId = Digest([1; 32]);

    fn lease(number: u64, deadline_ms: u32, weights: impl FnOnce(Weights) -> SentWeights) -> Lease {
        let params = JobParams {
            architecture: Architecture {
                dims: vec![2, 2].try_into().unwrap(),
                input_exponent: 6,
                hidden_exponent: 5,
            },
            unit_rows: 8,
            mode: Mode::Local { lanes: 2, steps: 1 },
            learning_rate: 6554,
            momentum: 230,
            rounds: 1,
            seed: 0,
            rounding: Rounding::Stochastic,
        };
        let initial = Weights::initial(&params.clone().validate().unwrap());
        let id = LaneId { job: JOB, round: 0, lane: number as u32 };
        let rows = SentRows::Lane(Samples::new(2, vec![0; 16], vec![0; 8]).unwrap());
        let weights_hash = initial.hash();
        let lane = LaneAssignment { params, id, weights_hash, weights: weights(initial), rows };
        Lease { id: LeaseId { job: JOB, number }, assignment: Assignment::Lane(lane), deadline_ms }
    }

    #[test]
    fn a_lane_that_waited_for_its_weights_is_of_use_until_its_deadline() {
        let coordinator = NodeId([2; 32]);
        let mut worker = Worker::new(Config { slots: 1, ..Config::new(NodeId([3; 32]), [4; 32]) });
        assert!(worker.take(0, JOB, coordinator, lease(0, 60_000, |_| SentWeights::Held)));
        assert_eq!((worker.awaiting.len(), worker.held.len()), (1, 0));
        assert!(worker.take(1_000, JOB, coordinator, lease(1, 60_000, SentWeights::Here)));
        assert_eq!((worker.awaiting.len(), worker.held.len()), (0, 2));
        let until: Vec<TimeMs> = worker.held.values().map(|held| held.until).collect();
        assert_eq!(until, [60_000, 61_000]);
    }
}
