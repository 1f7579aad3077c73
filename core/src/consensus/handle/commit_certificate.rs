//! Handles a commit certificate. A peer sends it because this node seems to have missed that this
//! height is final.

use crate::{
    consensus::{error::HandlerError, replica::Replica},
    ledger::{Certificate, Phase},
    types::Unverified,
};

impl Replica {
    pub(in crate::consensus) fn on_commit_certificate(
        &mut self,
        certificate: Certificate,
    ) -> Result<(), HandlerError> {
        if self
            .height_state
            .decided
            .as_ref()
            .is_some_and(|decided| decided.vote.digest == certificate.vote.digest)
        {
            return Ok(());
        }
        let (chain, committee) = (&self.head.header.chain, &self.head.committee);
        let certificate = Unverified::new(certificate).verify(chain, Phase::Commit, committee)?;
        let certificate = certificate.into_inner();
        self.broadcast_certificate(&certificate);
        Ok(self.on_committed(certificate)?)
    }
}
