//! What workers hand in: commitments, their openings, and disputed states. Nothing is believed
//! before it is opened, and nothing is opened before it is committed to.

use super::{
    Coordinator, Error,
    config::ALL,
    course::Part,
    input::Peer,
    lane::{Phase, Running, Submission},
    round::Check,
};
use crate::{
    compute::{lane::lane_commitment, state::LaneState},
    types::{Digest, TimeMs},
    wire::work::{Answer, Product, Reason, Refusal},
};

/// The slowest line that a result is waited for on.
const UPLOAD_BYTES_PER_MS: usize = 64;

impl Coordinator {
    pub(super) fn commit(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        commitment: Digest,
    ) -> Answer {
        let upload_ms = (self.course.upload_len() / UPLOAD_BYTES_PER_MS) as u64;
        let open_by = now.saturating_add(self.config.open_wait_ms).saturating_add(upload_ms);
        let Some(lane) = self.leases.get(&number).copied() else {
            return Answer::Refused(Refusal::UnknownLease);
        };
        let Some(slot) = self.slot(lane) else { return Answer::Refused(Refusal::UnknownLease) };
        if slot.has_opened(number, &peer.node) {
            return Answer::Refused(Refusal::OutOfTurn);
        }
        // A second result is as good as its digest, as long as that is the first one's. The worker
        // is bound by now.
        let open_it = Answer::OpenIt { product: !matches!(slot.phase, Phase::Checking { .. }) };
        let Some(lease) = slot.lease_mut(number, &peer.node) else {
            return Answer::Refused(Refusal::UnknownLease);
        };
        match lease.commitment {
            Some(before) if before == commitment => open_it,
            // It binds: a second thought is not taken.
            Some(_) => Answer::Refused(Refusal::OutOfTurn),
            None => {
                lease.commitment = Some(commitment);
                lease.deadline = open_by;
                lease.gone = false;
                let elapsed_ms = now.saturating_sub(lease.granted);
                self.roster.measure(&peer.node, self.course.macs(lane), elapsed_ms);
                open_it
            }
        }
    }

    pub(super) fn open(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        salt: &[u8; 32],
        product: Product,
    ) -> Result<Answer, Error> {
        let unknown = Ok(Answer::Refused(Refusal::UnknownLease));
        let Some(lane) = self.leases.get(&number).copied() else { return unknown };
        let Some(slot) = self.slot(lane) else { return unknown };
        if slot.has_opened(number, &peer.node) {
            return Ok(Answer::Received);
        }
        match slot.lease_mut(number, &peer.node) {
            None => return unknown,
            Some(Running { commitment: None, .. }) => {
                return Ok(Answer::Refused(Refusal::OutOfTurn));
            }
            Some(_) => {}
        }
        let Some(Running { party, commitment: Some(commitment), .. }) =
            slot.take_lease(number, &peer.node)
        else {
            return unknown;
        };
        let digest = product.digest(&self.lane_id(lane));
        let wrong = if digest.is_none_or(|d| lane_commitment(&d, &party.node, salt) != commitment) {
            Some(Reason::WrongOpening)
        } else {
            let id = self.lane_id(lane);
            self.course.fault_of(&id, &product, &mut self.draw)?
        };
        if let Some(reason) = wrong {
            self.leases.remove(&number);
            self.reject(lane, &party, reason);
            return Ok(Answer::Received);
        }
        // Whoever else computes this lane at the same moment comes too late.
        self.supersede(lane);
        match product {
            Product::Lane(result) => {
                self.submitted(now, lane, Submission { party, result }, commitment)?
            }
            product => {
                if let Some(part) = self.course.part_of(product) {
                    self.accept(now, lane, party, part, Check::Products)?;
                }
            }
        }
        Ok(Answer::Received)
    }

    /// Opens a commitment by the digest alone. It counts if the first result of the lane has the
    /// same digest, for that binds the whole result; otherwise the product is wanted.
    pub(super) fn open_digest(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        salt: &[u8; 32],
        digest: Digest,
    ) -> Result<Answer, Error> {
        let unknown = Ok(Answer::Refused(Refusal::UnknownLease));
        let Some(lane) = self.leases.get(&number).copied() else { return unknown };
        let Some(slot) = self.slot(lane) else { return unknown };
        if slot.has_opened(number, &peer.node) {
            return Ok(Answer::Received);
        }
        let first = match &slot.phase {
            Phase::Checking { first, .. } if first.result.digest == digest => {
                Some(first.result.clone())
            }
            _ => None,
        };
        let (party, commitment) = match slot.lease_mut(number, &peer.node) {
            None => return unknown,
            Some(Running { commitment: None, .. }) => {
                return Ok(Answer::Refused(Refusal::OutOfTurn));
            }
            Some(Running { commitment: Some(commitment), party, .. }) => (*party, *commitment),
        };
        let is_bound = lane_commitment(&digest, &party.node, salt) == commitment;
        let result = match (is_bound, first) {
            (true, None) => return Ok(Answer::OpenIt { product: true }),
            (true, Some(result)) => Some(result),
            (false, _) => None,
        };
        slot.take_lease(number, &peer.node);
        match result {
            Some(result) => {
                self.supersede(lane);
                self.submitted(now, lane, Submission { party, result }, commitment)?;
            }
            None => {
                self.leases.remove(&number);
                self.reject(lane, &party, Reason::WrongOpening);
            }
        }
        Ok(Answer::Received)
    }

    /// A result is on the table: the first of its lane, or the one to compare the first with.
    fn submitted(
        &mut self,
        now: TimeMs,
        lane: u32,
        submission: Submission,
        commitment: Digest,
    ) -> Result<(), Error> {
        let Some(slot) = self.slot(lane) else { return Ok(()) };
        match core::mem::replace(&mut slot.phase, Phase::Open) {
            Phase::Checking { first, .. } => self.compare(now, lane, first, submission),
            Phase::Open if self.must_check(lane, &submission, &commitment) => {
                if let Some(slot) = self.slot(lane) {
                    slot.phase = Phase::Checking { first: submission, since: now };
                }
                Ok(())
            }
            Phase::Open if self.is_canary(&commitment) => {
                if let Some(slot) = self.slot(lane) {
                    slot.phase = Phase::Checking { first: submission, since: now };
                }
                self.recompute(now, lane, None)
            }
            Phase::Open => {
                self.accept(now, lane, submission.party, Part::Lane(submission.result), Check::None)
            }
            // Other phases have no leases, so nothing can be opened in them.
            other => {
                if let Some(slot) = self.slot(lane) {
                    slot.phase = other;
                }
                Ok(())
            }
        }
    }

    /// Whether another must recompute this lane: the share that the job declares, drawn after the
    /// commitment and with it; all of it in the last round, and from identities without
    /// history.
    fn must_check(&self, lane: u32, submission: &Submission, commitment: &Digest) -> bool {
        let last_round = self.round + 1 == self.course.rounds();
        let checked = self.spec.training().map_or(ALL, |task| task.checked);
        let newcomer = !self.roster.has_history(&submission.party.node, self.config.history);
        let subject = crate::codec::encode(&(self.lane_id(lane), commitment));
        last_round || newcomer || self.draw.happens(checked, b"check", &subject)
    }

    /// Whether this host recomputes the lane too. Drawn after the commitment, with it.
    pub(super) fn is_canary(&self, commitment: &Digest) -> bool {
        self.draw.happens(self.config.canary, b"canary", &commitment.0)
    }

    pub(super) fn state(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        step: u32,
        state: Option<LaneState>,
    ) -> Result<Answer, Error> {
        let Some(lane) = self.leases.get(&number).copied() else {
            return Ok(Answer::Refused(Refusal::UnknownLease));
        };
        match self.slots.get(lane as usize).map(|s| &s.phase) {
            Some(Phase::Disputed { first, step: asked, .. })
                if first.party.number == number
                    && first.party.node == peer.node
                    && *asked == step => {}
            _ => return Ok(Answer::Refused(Refusal::OutOfTurn)),
        }
        match state {
            Some(state) => self.settle_dispute(now, lane, &state)?,
            None => self.withheld(now, lane),
        }
        Ok(Answer::Received)
    }
}
