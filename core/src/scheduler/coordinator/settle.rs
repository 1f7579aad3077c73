//! Judgement: two results of one lane agree, or one step is replayed to see who lied, or this
//! host's own result decides. Who is proved wrong is rejected; who is merely left over is checked
//! again, for a liar's opponent may be a liar too.

use super::{
    Coordinator, Error, Output,
    book::Rejection,
    course::Part,
    input::ComputeFailed,
    lane::{Party, Phase, Submission},
    output::{Event, Record},
    round::Check,
};
use crate::{
    compute::{
        lane::{Dispute, Verdict, settle},
        state::LaneState,
    },
    types::TimeMs,
    wire::work::{LeaseId, Notice, Product, Reason, RejectionKind},
};

/// This host is asked again for what it has not computed by then.
const RECOMPUTE_RETRY_MS: u64 = 120_000;

impl Coordinator {
    pub(super) fn compare(
        &mut self,
        now: TimeMs,
        lane: u32,
        first: Submission,
        second: Submission,
    ) -> Result<(), Error> {
        let Some(dispute) = Dispute::between(&first.result, &second.result) else {
            // Two who agree may have agreed before: this host looks at some of these itself.
            if self.is_canary(&first.result.digest) {
                self.put(lane, Phase::Checking { first, since: now });
                return self.recompute(now, lane, Some(second));
            }
            let checker = second.party;
            return self.accept(
                now,
                lane,
                first.party,
                Part::Lane(first.result),
                Check::By(checker),
            );
        };
        let step = dispute.step(&self.course.training()?.plan);
        let asked = first.party;
        let until = now.saturating_add(self.config.state_wait_ms);
        self.put(lane, Phase::Disputed { first, second, step, until });
        if step == 0 {
            // Everybody knows the state before the first step.
            let start = LaneState::at_rest(self.course.training()?.weights().clone());
            return self.settle_dispute(now, lane, &start);
        }
        let lease = LeaseId { job: self.job, number: asked.number };
        let within_ms = self.config.state_wait_ms.min(u64::from(u32::MAX)) as u32;
        self.roster.tell(&asked, Notice::NeedState { lease, step, within_ms });
        Ok(())
    }

    /// Replays the disputed step from the state that the first party showed.
    pub(super) fn settle_dispute(
        &mut self,
        now: TimeMs,
        lane: u32,
        before: &LaneState,
    ) -> Result<(), Error> {
        let id = self.lane_id(lane);
        let input = self.course.training_mut()?.lane_input(id)?;
        let Some((first, second, _)) = self.take_dispute(lane) else { return Ok(()) };
        let results = (&first.result, &second.result);
        let dispute = Dispute::between(results.0, results.1);
        let training = self.course.training()?;
        let verdict = if before.check(training.plan.topology()).is_err() {
            Some(Verdict::BadOpening)
        } else {
            settle(&training.plan, &input.id, training.weights(), &input.rows, before, results)?
        };
        let reason = dispute.map_or(Reason::WrongDelta, reason_of);
        match verdict {
            None => self.put(lane, Phase::Checking { first, since: now }),
            Some(Verdict::First) => {
                self.reject(lane, &second.party, reason);
                self.put(lane, Phase::Checking { first, since: now });
            }
            Some(Verdict::Second) => {
                self.reject(lane, &first.party, reason);
                self.put(lane, Phase::Checking { first: second, since: now });
            }
            Some(Verdict::Neither) => {
                self.reject(lane, &first.party, reason);
                self.reject(lane, &second.party, reason);
            }
            Some(Verdict::BadOpening) => {
                self.reject(lane, &first.party, Reason::WrongState);
                self.put(lane, Phase::Checking { first: second, since: now });
            }
        }
        Ok(())
    }

    /// The first party does not show the state: it loses, and the second is checked by another.
    pub(super) fn withheld(&mut self, now: TimeMs, lane: u32) {
        if let Some((first, second, _)) = self.take_dispute(lane) {
            self.reject(lane, &first.party, Reason::StateWithheld);
            self.put(lane, Phase::Checking { first: second, since: now });
        }
    }

    pub(super) fn expire_dispute(&mut self, now: TimeMs, lane: u32) {
        if let Some(Phase::Disputed { until, .. }) = self.slots.get(lane as usize).map(|s| &s.phase)
            && *until <= now
        {
            self.withheld(now, lane);
        }
    }

    fn take_dispute(&mut self, lane: u32) -> Option<(Submission, Submission, u32)> {
        let slot = self.slot(lane)?;
        match core::mem::replace(&mut slot.phase, Phase::Open) {
            Phase::Disputed { first, second, step, .. } => Some((first, second, step)),
            other => {
                slot.phase = other;
                None
            }
        }
    }

    fn put(&mut self, lane: u32, phase: Phase) {
        if let Some(slot) = self.slot(lane) {
            slot.phase = phase;
        }
    }

    /// Lets this host compute a lane that is `Open` or in `Checking`; `second` agrees with its
    /// first result.
    pub(super) fn recompute(
        &mut self,
        now: TimeMs,
        lane: u32,
        second: Option<Submission>,
    ) -> Result<(), Error> {
        let (unit, retry_at) = (self.unit_next, now.saturating_add(RECOMPUTE_RETRY_MS));
        let Some(slot) = self.slot(lane) else { return Ok(()) };
        slot.phase = match core::mem::replace(&mut slot.phase, Phase::Open) {
            Phase::Checking { first, .. } => {
                Phase::Recomputing { first: Some(first), second, unit, retry_at }
            }
            Phase::Open => Phase::Recomputing { first: None, second, unit, retry_at },
            other => {
                slot.phase = other;
                return Ok(());
            }
        };
        self.unit_next += 1;
        let task = self.task(lane)?;
        self.outbox.push(Output::Compute { unit, task });
        Ok(())
    }

    pub(super) fn recompute_again(&mut self, now: TimeMs, lane: u32) -> Result<(), Error> {
        let task = self.task(lane)?;
        if let Some(Phase::Recomputing { unit, retry_at, .. }) =
            self.slot(lane).map(|s| &mut s.phase)
        {
            *retry_at = now.saturating_add(RECOMPUTE_RETRY_MS);
            let unit = *unit;
            self.outbox.push(Output::Compute { unit, task });
        }
        Ok(())
    }

    /// This host's own result decides.
    pub(super) fn computed(
        &mut self,
        now: TimeMs,
        asked: u64,
        product: Result<Product, ComputeFailed>,
    ) -> Result<(), Error> {
        let is_asked =
            |phase: &Phase| matches!(phase, Phase::Recomputing { unit, .. } if *unit == asked);
        let Some(lane) = self.slots.iter().position(|s| is_asked(&s.phase)).map(|lane| lane as u32)
        else {
            return Err(Error::UnknownUnit(asked));
        };
        let local = Party { number: 0, node: self.config.local, guest: false };
        let own = match product {
            Ok(Product::Lane(own)) => own,
            // Units and parts are never recomputed but when nobody brings them.
            Ok(product) => match self.course.part_of(product) {
                Some(part) => return self.accept(now, lane, local, part, Check::None),
                None => return Err(Error::HostFailed { lane }),
            },
            Err(ComputeFailed) => return Err(Error::HostFailed { lane }),
        };
        let training = self.course.training()?;
        own.check_form(&training.plan, &self.lane_id(lane), training.weights())?;
        let Some(slot) = self.slot(lane) else { return Ok(()) };
        let Phase::Recomputing { first, second, .. } =
            core::mem::replace(&mut slot.phase, Phase::Open)
        else {
            return Ok(());
        };
        let dispute = first.as_ref().and_then(|first| Dispute::between(&first.result, &own));
        match (first, dispute) {
            (Some(first), None) => {
                let checker = second.map_or(local, |s| s.party);
                self.accept(now, lane, first.party, Part::Lane(first.result), Check::By(checker))
            }
            (None, _) => self.accept(now, lane, local, Part::Lane(own), Check::None),
            (Some(first), Some(dispute)) => {
                for liar in [Some(first), second].into_iter().flatten() {
                    self.reject(lane, &liar.party, reason_of(dispute));
                }
                self.accept(now, lane, local, Part::Lane(own), Check::None)
            }
        }
    }

    /// Notes that a result was rejected, and what it costs its worker. The lane's phase is the
    /// caller's affair.
    pub(super) fn reject(&mut self, lane: u32, party: &Party, reason: Reason) {
        let rejection = Rejection { round: self.round, lane, worker: party.node, reason };
        // What came too late was not refused: no result was looked at. It stays out of the account
        // and of the record.
        let late = reason.kind() == RejectionKind::Late;
        if !late {
            self.book.reject(rejection);
        }
        self.roster.punish(&party.node, reason);
        let lease = LeaseId { job: self.job, number: party.number };
        self.roster.tell(party, Notice::Rejected { lease, reason });
        if !late {
            self.course.forget_secrets();
            self.outbox.push(Output::Persist(Record::Rejected(rejection)));
        }
        self.outbox.push(Output::Event(Event::Rejected(rejection)));
        if self.roster.is_banned(&party.node) {
            self.revoke(party);
        }
    }

    /// Takes back every lease of a worker that is barred.
    fn revoke(&mut self, party: &Party) {
        let leases = &mut self.leases;
        for slot in &mut self.slots {
            slot.leases.retain(|lease| {
                let keep = lease.party.node != party.node;
                if !keep {
                    leases.remove(&lease.party.number);
                }
                keep
            });
        }
    }
}

const fn reason_of(dispute: Dispute) -> Reason {
    match dispute {
        Dispute::Step(step) => Reason::WrongStep(step),
        Dispute::Delta => Reason::WrongDelta,
    }
}
