//! Handles final blocks from a peer, each with its commit certificate.

use crate::{
    consensus::{
        error::{CertifiedError, Error, Offence},
        replica::Replica,
        validate,
    },
    ledger::{Block, Certificate},
    types::NodeId,
};
use alloc::vec::Vec;
use core::cmp::Ordering;

impl Replica {
    pub(in crate::consensus) fn on_synced(
        &mut self,
        from: NodeId,
        blocks: Vec<(Block, Certificate)>,
    ) -> Result<(), Error> {
        self.catch_up.on_progress(self.height_state.height);
        for (block, certificate) in blocks {
            match block.header.height.cmp(&self.height_state.height) {
                Ordering::Less => continue,
                Ordering::Equal => {}
                Ordering::Greater => {
                    self.outbox.misbehaviour(from, Offence::NonContiguousBlocks);
                    return Ok(());
                }
            }
            let offence = match validate::certified_block(
                &self.head,
                &self.params,
                &mut self.verification_cache,
                &block,
                &certificate,
            ) {
                Ok(Ok(outcome)) => {
                    self.finalise(block, certificate, outcome)?;
                    continue;
                }
                Ok(Err(())) => return Err(Error::Diverged { height: self.height_state.height }),
                Err(CertifiedError::Certificate(error)) => Offence::BadCertificate(error),
                Err(CertifiedError::Block(error)) => Offence::BadBlock(error),
            };
            self.outbox.misbehaviour(from, offence);
            return Ok(());
        }
        Ok(())
    }
}
