//! A peer says that this height is final, because this node seemed to have missed it.

use crate::{
    consensus::{error::Fault, replica::Replica},
    ledger::{Certificate, Phase},
    types::Unverified,
};

impl Replica {
    pub(in crate::consensus) fn on_finalised(
        &mut self,
        certificate: Certificate,
    ) -> Result<(), Fault> {
        if self
            .instance
            .decided
            .as_ref()
            .is_some_and(|decided| decided.vote.digest == certificate.vote.digest)
        {
            return Ok(());
        }
        let (chain, committee) = (&self.head.header.chain, &self.head.committee);
        let certificate = Unverified::new(certificate).verify(chain, Phase::Commit, committee)?;
        let certificate = certificate.into_inner();
        self.spread(&certificate);
        Ok(self.on_committed(certificate)?)
    }
}
