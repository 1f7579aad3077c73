//! Submissions of workers: commitments, reveals and disputed states. A result counts only after its
//! reveal, and a reveal requires a commitment.

use super::{
    config::{FULL_SHARE, REVEAL_TIMEOUT_MS},
    error::Error,
    input::Peer,
    round::Verification,
    state::Coordinator,
    work_unit::{ActiveLease, Phase, Submission, WorkUnitResult},
};
use crate::{
    compute::{local_steps::result_commitment, state::TrainingState},
    types::{Digest, TimeMs},
    wire::work::{Answer, Reason, Refusal, TaskOutput},
};

/// The slowest supported upload, bytes per millisecond.
const UPLOAD_BYTES_PER_MS: usize = 64;

impl Coordinator {
    pub(super) fn on_commit(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        commitment: Digest,
    ) -> Answer {
        let upload_ms = (self.workload.upload_len() / UPLOAD_BYTES_PER_MS) as u64;
        let reveal_by = now.saturating_add(REVEAL_TIMEOUT_MS).saturating_add(upload_ms);
        let Some(unit) = self.leases.get(&number).copied() else {
            return Answer::Refused(Refusal::UnknownLease);
        };
        let Some(work_unit) = self.work_unit(unit) else {
            return Answer::Refused(Refusal::UnknownLease);
        };
        if work_unit.has_revealed(number, &peer.node) {
            return Answer::Refused(Refusal::UnexpectedMessage);
        }
        // The worker is bound by its commitment. For a second result, a digest equal to the first
        // result's digest is enough.
        let reveal_request = Answer::RevealRequested {
            full_output: !matches!(work_unit.phase, Phase::Checking { .. }),
        };
        let Some(lease) = work_unit.lease_mut(number, &peer.node) else {
            return Answer::Refused(Refusal::UnknownLease);
        };
        match lease.commitment {
            Some(before) if before == commitment => reveal_request,
            // A commitment cannot be changed.
            Some(_) => Answer::Refused(Refusal::UnexpectedMessage),
            None => {
                lease.commitment = Some(commitment);
                lease.deadline = reveal_by;
                lease.is_disconnected = false;
                let elapsed_ms = now.saturating_sub(lease.granted);
                self.worker_table.record_speed(&peer.node, self.workload.macs(unit), elapsed_ms);
                reveal_request
            }
        }
    }

    pub(super) fn on_reveal(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        salt: &[u8; 32],
        output: TaskOutput,
    ) -> Result<Answer, Error> {
        let unknown = Ok(Answer::Refused(Refusal::UnknownLease));
        let Some(unit) = self.leases.get(&number).copied() else { return unknown };
        let Some(work_unit) = self.work_unit(unit) else { return unknown };
        if work_unit.has_revealed(number, &peer.node) {
            return Ok(Answer::Received);
        }
        match work_unit.lease_mut(number, &peer.node) {
            None => return unknown,
            Some(ActiveLease { commitment: None, .. }) => {
                return Ok(Answer::Refused(Refusal::UnexpectedMessage));
            }
            Some(_) => {}
        }
        let Some(ActiveLease { holder, commitment: Some(commitment), .. }) =
            work_unit.take_lease(number, &peer.node)
        else {
            return unknown;
        };
        let digest = output.digest(&self.work_unit_id(unit));
        let rejection =
            if digest.is_none_or(|d| result_commitment(&d, &holder.node, salt) != commitment) {
                Some(Reason::WrongReveal)
            } else {
                let id = self.work_unit_id(unit);
                self.workload.rejection_reason(&id, &output, &mut self.rng)?
            };
        if let Some(reason) = rejection {
            self.leases.remove(&number);
            self.reject(unit, &holder, reason);
            return Ok(Answer::Received);
        }
        // Other workers with this unit are too late now.
        self.supersede_leases(unit);
        match output {
            TaskOutput::LocalSteps(result) => {
                self.on_submission(now, unit, Submission { holder, result }, commitment)?
            }
            output => {
                if let Some(result) = self.workload.verified_result(output) {
                    self.accept(now, unit, holder, result, Verification::Freivalds)?;
                }
            }
        }
        Ok(Answer::Received)
    }

    /// Handles a reveal of the digest alone. It counts if the first result of the unit has the same
    /// digest, which binds the whole result. Otherwise the coordinator requests the full output.
    pub(super) fn on_reveal_digest(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        salt: &[u8; 32],
        digest: Digest,
    ) -> Result<Answer, Error> {
        let unknown = Ok(Answer::Refused(Refusal::UnknownLease));
        let Some(unit) = self.leases.get(&number).copied() else { return unknown };
        let Some(work_unit) = self.work_unit(unit) else { return unknown };
        if work_unit.has_revealed(number, &peer.node) {
            return Ok(Answer::Received);
        }
        let first = match &work_unit.phase {
            Phase::Checking { first, .. } if first.result.digest == digest => {
                Some(first.result.clone())
            }
            _ => None,
        };
        let (holder, commitment) = match work_unit.lease_mut(number, &peer.node) {
            None => return unknown,
            Some(ActiveLease { commitment: None, .. }) => {
                return Ok(Answer::Refused(Refusal::UnexpectedMessage));
            }
            Some(ActiveLease { commitment: Some(commitment), holder, .. }) => {
                (*holder, *commitment)
            }
        };
        let is_bound = result_commitment(&digest, &holder.node, salt) == commitment;
        let result = match (is_bound, first) {
            (true, None) => return Ok(Answer::RevealRequested { full_output: true }),
            (true, Some(result)) => Some(result),
            (false, _) => None,
        };
        work_unit.take_lease(number, &peer.node);
        match result {
            Some(result) => {
                self.supersede_leases(unit);
                self.on_submission(now, unit, Submission { holder, result }, commitment)?;
            }
            None => {
                self.leases.remove(&number);
                self.reject(unit, &holder, Reason::WrongReveal);
            }
        }
        Ok(Answer::Received)
    }

    /// Handles a valid result: the first of its unit, or one to compare with the first.
    fn on_submission(
        &mut self,
        now: TimeMs,
        unit: u32,
        submission: Submission,
        commitment: Digest,
    ) -> Result<(), Error> {
        let Some(work_unit) = self.work_unit(unit) else { return Ok(()) };
        match core::mem::replace(&mut work_unit.phase, Phase::Pending) {
            Phase::Checking { first, .. } => self.compare(now, unit, first, submission),
            Phase::Pending if self.must_check(unit, &submission, &commitment) => {
                if let Some(work_unit) = self.work_unit(unit) {
                    work_unit.phase = Phase::Checking { first: submission, since: now };
                }
                Ok(())
            }
            Phase::Pending if self.is_spot_check(&commitment) => {
                if let Some(work_unit) = self.work_unit(unit) {
                    work_unit.phase = Phase::Checking { first: submission, since: now };
                }
                self.recompute(now, unit, None)
            }
            Phase::Pending => self.accept(
                now,
                unit,
                submission.holder,
                WorkUnitResult::LocalSteps(submission.result),
                Verification::Unchecked,
            ),
            // Other phases have no leases, so no result can be revealed.
            other => {
                if let Some(work_unit) = self.work_unit(unit) {
                    work_unit.phase = other;
                }
                Ok(())
            }
        }
    }

    /// Whether another worker must recompute this unit: the share that the job declares, drawn
    /// after and from the commitment; every unit in the last round, and every unit of a worker
    /// without history.
    fn must_check(&self, unit: u32, submission: &Submission, commitment: &Digest) -> bool {
        let last_round = self.round + 1 == self.workload.rounds();
        let checked = self.spec.training().map_or(FULL_SHARE, |task| task.spot_check_share);
        let newcomer =
            !self.worker_table.has_history(&submission.holder.node, self.config.history_min);
        let subject = crate::codec::encode(&(self.work_unit_id(unit), commitment));
        last_round || newcomer || self.rng.bernoulli(checked, b"check", &subject)
    }

    /// Whether this host recomputes the unit too. Drawn after and from the commitment.
    pub(super) fn is_spot_check(&self, commitment: &Digest) -> bool {
        self.rng.bernoulli(self.config.spot_check, b"canary", &commitment.0)
    }

    pub(super) fn on_state(
        &mut self,
        now: TimeMs,
        peer: &Peer,
        number: u64,
        step: u32,
        state: Option<TrainingState>,
    ) -> Result<Answer, Error> {
        let Some(unit) = self.leases.get(&number).copied() else {
            return Ok(Answer::Refused(Refusal::UnknownLease));
        };
        match self.work_units.get(unit as usize).map(|s| &s.phase) {
            Some(Phase::Disputed { first, step: requested, .. })
                if first.holder.lease_number == number
                    && first.holder.node == peer.node
                    && *requested == step => {}
            _ => return Ok(Answer::Refused(Refusal::UnexpectedMessage)),
        }
        match state {
            Some(state) => self.resolve_dispute(now, unit, &state)?,
            None => self.on_state_withheld(now, unit),
        }
        Ok(Answer::Received)
    }
}
