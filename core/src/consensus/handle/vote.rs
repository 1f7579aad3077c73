//! Votes: prepare and commit of PBFT (section 4.2), aggregated into certificates.

use crate::{
    consensus::{
        error::{Error, HandlerError, Offence},
        output::Event,
        replica::Replica,
        state::vote_set::InsertResult,
        wal::WalRecord,
    },
    ledger::{Certificate, Phase},
    types::{Digest, View},
    wire::consensus::SignedVote,
};

impl Replica {
    pub(in crate::consensus) fn on_vote(
        &mut self,
        seat: usize,
        signed: SignedVote,
    ) -> Result<(), HandlerError> {
        let vote = signed.vote;
        if !self.height_state.is_relevant(vote.view, vote.phase) {
            return Ok(());
        }
        let vote_set = self.height_state.vote_sets.entry((vote.view, vote.phase)).or_default();
        match vote_set.insert(seat, signed) {
            InsertResult::New => {
                if vote.phase == Phase::Commit {
                    self.check_hidden_lock(self.node_at(seat), seat);
                }
                Ok(self.tally(vote.view, vote.phase, vote.digest)?)
            }
            InsertResult::Duplicate => Ok(()),
            InsertResult::Conflict(first) => {
                // Either one of the two is invalid, or both together prove equivocation. In both
                // cases the seat's votes no longer count.
                vote_set.invalidate(seat);
                let key = self.head.committee.key(seat).ok_or(Offence::NotSeated)?;
                signed.verify(key).map_err(|_| Offence::BadVote(signed))?;
                first.verify(key).map_err(|_| Offence::BadVote(first))?;
                Err(Offence::DoubleVote(first, signed).into())
            }
        }
    }

    /// Sends and counts this node's vote. The record that binds it precedes it in the outbox.
    pub(in crate::consensus) fn cast_vote(
        &mut self,
        phase: Phase,
        digest: Digest,
    ) -> Result<(), Error> {
        let (view, vote) =
            (self.height_state.view, self.vote(self.height_state.view, phase, digest));
        if let (Some(seat), Some(keys)) = (self.seat, &self.keys) {
            let signed = SignedVote::sign(vote, &keys.vote);
            self.send_vote(signed);
            self.height_state.vote_sets.entry((view, phase)).or_default().insert(seat, signed);
        }
        self.tally(view, phase, digest)
    }

    /// Acts on a quorum, if the votes for this block make one.
    pub(in crate::consensus) fn tally(
        &mut self,
        view: View,
        phase: Phase,
        digest: Digest,
    ) -> Result<(), Error> {
        let vote = self.vote(view, phase, digest);
        let Some(vote_set) = self.height_state.vote_sets.get_mut(&(view, phase)) else {
            return Ok(());
        };
        let (certificate, bad) = vote_set.certify(&vote, &self.head.committee);
        for (seat, signed) in bad {
            self.outbox.misbehaviour(self.node_at(seat), Offence::BadVote(signed));
        }
        if let Some(certificate) = &certificate {
            self.broadcast_certificate(certificate);
        }
        match (certificate, phase) {
            (Some(certificate), Phase::Prepare) => self.on_prepared(certificate),
            (Some(certificate), Phase::Commit) => self.on_committed(certificate),
            (None, _) => Ok(()),
        }
    }

    /// Handles a quorum's prepare. From now on this node's view changes carry the certificate. It
    /// is on disk before the commit vote is sent, because that vote may be the deciding one.
    fn on_prepared(&mut self, certificate: Certificate) -> Result<(), Error> {
        let vote = certificate.vote;
        let height_state = &mut self.height_state;
        if vote.view != height_state.view
            || height_state.accepted != Some(vote.digest)
            || height_state.commit_vote_cast
        {
            return Ok(());
        }
        height_state.commit_vote_cast = true;
        height_state.lock = Some(certificate.clone());
        self.outbox.event(Event::Prepared {
            height: vote.height,
            view: vote.view,
            digest: vote.digest,
        });
        if self.seat.is_some() {
            self.outbox.persist(WalRecord::Locked(certificate));
        }
        self.restart_retransmission();
        self.cast_vote(Phase::Commit, vote.digest)
    }
}
