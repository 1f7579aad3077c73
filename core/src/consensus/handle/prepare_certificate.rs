//! Handles a prepare certificate from the collector. It replaces that quorum's votes and is
//! verified like them.

use crate::{
    consensus::{
        error::{HandlerError, Offence},
        handle::vote_aggregation::COLLECTED_VIEW,
        replica::Replica,
    },
    ledger::{Certificate, Phase},
    types::Unverified,
};

impl Replica {
    pub(in crate::consensus) fn on_prepare_certificate(
        &mut self,
        seat: usize,
        certificate: Certificate,
    ) -> Result<(), HandlerError> {
        let vote = certificate.vote;
        if vote.view != COLLECTED_VIEW || self.collector(self.height_state.height) != seat {
            return Err(Offence::NotCollector.into());
        }
        let key = (vote.view, Phase::Prepare);
        let is_known = self
            .height_state
            .vote_sets
            .get(&key)
            .is_some_and(|vote_set| vote_set.is_certified(&vote));
        if !self.height_state.is_relevant(vote.view, Phase::Prepare) || is_known {
            return Ok(());
        }
        let (chain, committee) = (&self.head.header.chain, &self.head.committee);
        let certificate = Unverified::new(certificate).verify(chain, Phase::Prepare, committee)?;
        // The certificate may have arrived before the proposal. Then the vote set returns it once
        // the block is accepted.
        self.height_state.vote_sets.entry(key).or_default().set_certificate(certificate);
        Ok(self.tally(vote.view, Phase::Prepare, vote.digest)?)
    }
}
