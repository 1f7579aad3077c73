//! The collector shows that a quorum has prepared a block. It takes the place of that quorum's
//! votes, checked as they would be.

use crate::{
    consensus::{collect::COLLECTED_VIEW, error::Fault, output::Offence, replica::Replica},
    ledger::{Certificate, Phase},
    types::Unverified,
};

impl Replica {
    pub(in crate::consensus) fn on_prepared_elsewhere(
        &mut self,
        seat: usize,
        certificate: Certificate,
    ) -> Result<(), Fault> {
        let vote = certificate.vote;
        if vote.view != COLLECTED_VIEW || self.collector(self.instance.height) != seat {
            return Err(Offence::NotCollector.into());
        }
        let slot = (vote.view, Phase::Prepare);
        let is_known =
            self.instance.ballots.get(&slot).is_some_and(|ballot| ballot.is_certified(&vote));
        if !self.instance.counts(vote.view, Phase::Prepare) || is_known {
            return Ok(());
        }
        let (chain, committee) = (&self.head.header.chain, &self.head.committee);
        let certificate = Unverified::new(certificate).verify(chain, Phase::Prepare, committee)?;
        // It may have overtaken the proposal: then the ballot gives it out once the block is
        // accepted.
        self.instance.ballots.entry(slot).or_default().learn(certificate);
        Ok(self.tally(vote.view, Phase::Prepare, vote.digest)?)
    }
}
