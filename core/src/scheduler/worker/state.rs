//! The state of a worker: its offers, leases and pending requests.

use super::{
    input::{Config, Offer},
    input_cache::InputCache,
    lease::WorkerLease,
    output::{Output, Totals},
};
use crate::{
    ledger::job::JobId,
    scheduler::common::{outbox::Outbox, seeded_rng::SeededRng},
    types::{NodeId, TimeMs},
    wire::work::{LeaseId, LocalStepsAssignment, Request},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// A worker. See the module documentation.
#[derive(Debug)]
pub struct Worker {
    pub(super) config: Config,
    pub(super) rng: SeededRng,
    pub(super) offers: Vec<OfferState>,
    /// Index of the next offer to request a lease of.
    pub(super) next_offer: usize,
    pub(super) pending_requests: BTreeMap<u64, PendingRequest>,
    pub(super) leases: BTreeMap<LeaseId, WorkerLease>,
    pub(super) input_cache: InputCache,
    /// Leases that wait for weights or rows in transit.
    pub(super) awaiting_inputs: Vec<AwaitingInputs>,
    pub(super) next_id: u64,
    pub(super) totals: Totals,
    pub(super) outbox: Outbox<Output>,
    pub(super) wake: Option<TimeMs>,
}

/// An offer, and when its coordinator may get the next request.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfferState {
    pub(super) offer: Offer,
    pub(super) not_before: TimeMs,
    pub(super) failures: u32,
}

/// A lease that waits for its inputs.
#[derive(Debug)]
pub(super) struct AwaitingInputs {
    pub(super) lease: LeaseId,
    pub(super) coordinator: NodeId,
    pub(super) assignment: LocalStepsAssignment,
    /// When the wait ends.
    pub(super) until: TimeMs,
    /// When the lease expires.
    pub(super) deadline: TimeMs,
}

/// A request that waits for its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingRequest {
    pub(super) since: TimeMs,
    pub(super) purpose: RequestPurpose,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RequestPurpose {
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

    pub(super) fn allocate_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn offer_state(&mut self, job: JobId) -> Option<&mut OfferState> {
        self.offers.iter_mut().find(|s| s.offer.job == job)
    }

    pub(super) fn send(
        &mut self,
        now: TimeMs,
        to: NodeId,
        purpose: RequestPurpose,
        request: Request,
    ) {
        let id = self.allocate_id();
        self.pending_requests.insert(id, PendingRequest { since: now, purpose });
        self.outbox.push(Output::Request { id, to, request });
    }
}
