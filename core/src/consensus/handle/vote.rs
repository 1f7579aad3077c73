//! A member votes: prepare and commit of PBFT (section 4.2), with votes aggregated into
//! certificates.

use crate::{
    consensus::{
        ballot::Entered,
        error::{Error, Fault},
        output::{Event, Offence},
        replica::Replica,
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
    ) -> Result<(), Fault> {
        let vote = signed.vote;
        if !self.instance.counts(vote.view, vote.phase) {
            return Ok(());
        }
        let ballot = self.instance.ballots.entry((vote.view, vote.phase)).or_default();
        match ballot.enter(seat, signed) {
            Entered::New => {
                if vote.phase == Phase::Commit {
                    self.accuse_of_hiding(self.node_at(seat), seat);
                }
                Ok(self.tally(vote.view, vote.phase, vote.digest)?)
            }
            Entered::Repeated => Ok(()),
            Entered::Conflicts(first) => {
                // One of the two is invalid, or both together convict. Either way the seat has had
                // its say.
                ballot.spoil(seat);
                let key = self.head.committee.key(seat).ok_or(Offence::NotSeated)?;
                signed.verify(key).map_err(|_| Offence::BadVote(signed))?;
                first.verify(key).map_err(|_| Offence::BadVote(first))?;
                Err(Offence::DoubleVote(first, signed).into())
            }
        }
    }

    /// Says this node's vote, and counts it. The record that binds it stands before it in the
    /// outbox.
    pub(in crate::consensus) fn cast(&mut self, phase: Phase, digest: Digest) -> Result<(), Error> {
        let (view, vote) = (self.instance.view, self.vote(self.instance.view, phase, digest));
        if let (Some(seat), Some(keys)) = (self.seat, &self.keys) {
            let signed = SignedVote::sign(vote, &keys.vote);
            self.send_vote(signed);
            self.instance.ballots.entry((view, phase)).or_default().enter(seat, signed);
        }
        self.tally(view, phase, digest)
    }

    /// Looks whether a vote filled a quorum, and acts on it.
    pub(in crate::consensus) fn tally(
        &mut self,
        view: View,
        phase: Phase,
        digest: Digest,
    ) -> Result<(), Error> {
        let vote = self.vote(view, phase, digest);
        let Some(ballot) = self.instance.ballots.get_mut(&(view, phase)) else { return Ok(()) };
        let (certificate, bad) = ballot.certify(&vote, &self.head.committee);
        for (seat, signed) in bad {
            self.outbox.misbehaviour(self.node_at(seat), Offence::BadVote(signed));
        }
        if let Some(certificate) = &certificate {
            self.spread(certificate);
        }
        match (certificate, phase) {
            (Some(certificate), Phase::Prepare) => self.on_prepared(certificate),
            (Some(certificate), Phase::Commit) => self.on_committed(certificate),
            (None, _) => Ok(()),
        }
    }

    /// A quorum prepared a block in this view. From here on this node's view changes carry the
    /// certificate: it is on disk before the commit vote leaves, because that vote may be the
    /// one that decides.
    fn on_prepared(&mut self, certificate: Certificate) -> Result<(), Error> {
        let vote = certificate.vote;
        let instance = &mut self.instance;
        if vote.view != instance.view
            || instance.accepted != Some(vote.digest)
            || instance.committed
        {
            return Ok(());
        }
        instance.committed = true;
        instance.lock = Some(certificate.clone());
        self.outbox.event(Event::Prepared {
            height: vote.height,
            view: vote.view,
            digest: vote.digest,
        });
        if self.seat.is_some() {
            self.outbox.persist(WalRecord::Locked(certificate));
        }
        self.restart_resending();
        self.cast(Phase::Commit, vote.digest)
    }
}
