//! Offers of jobs: whose coordinator gets the next lease request, and how long the worker pauses
//! after an answer.

use super::{
    input::Offer,
    lease::Stage,
    limits::{BACKOFF_MS, REQUEST_INTERVAL_MS},
    state::{OfferState, RequestPurpose, Worker},
};
use crate::{
    ledger::job::JobId,
    types::{NodeId, TimeMs},
    wire::work::{Answer, CachedInputs, LeaseId, Refusal, Request},
};
use alloc::vec::Vec;

/// Most jobs served in parallel.
pub const OFFERS_MAX: usize = 64;
/// Longest accepted retry delay from a coordinator, milliseconds.
const IDLE_MS_MAX: u64 = 60_000;
/// Pause after an answer that the job does not run, and the longest pause after an answer that it
/// is unknown, milliseconds.
const NOT_RUNNING_MS: u64 = 5_000;
/// Pause after a ban, milliseconds.
const BANNED_MS: u64 = 600_000;

impl Worker {
    pub(super) fn on_offers(&mut self, offers: Vec<Offer>) {
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

    /// Sends lease requests for free slots, to the coordinators in turn.
    pub(super) fn request_leases(&mut self, now: TimeMs) {
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
    pub(super) fn poll_lease_events(&mut self, now: TimeMs) {
        let mut unsettled: Vec<(JobId, NodeId)> = self
            .leases
            .values()
            .filter(|h| h.stage == Stage::AwaitingVerdict)
            .map(|h| (h.lease.job, h.coordinator))
            .collect();
        unsettled.dedup();
        for (job, coordinator) in unsettled {
            let is_polling = self.pending_requests.values().any(|e| match e.purpose {
                RequestPurpose::RequestLease { job: requested, .. } => requested == job,
                RequestPurpose::Lease(_) => false,
            });
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

    pub(super) fn on_lease_response(
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

    /// Drops the leases of a job that is over.
    pub(super) fn forget_job(&mut self, job: JobId) {
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
}
