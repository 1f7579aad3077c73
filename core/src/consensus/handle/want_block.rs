//! The mempool holds something: the block is due after the shortest interval, and its leader may be
//! blamed for silence from then on.

use crate::{
    consensus::{error::Error, replica::Replica},
    types::Height,
};

impl Replica {
    pub(in crate::consensus) fn on_want_block(&mut self, height: Height) -> Result<(), Error> {
        if height != self.instance.height {
            return Ok(());
        }
        self.want_ahead();
        let due_ms = self
            .now_ms
            .max(self.instance.entered_ms.saturating_add(self.params.block_interval_ms_min));
        let expires_ms = due_ms.saturating_add(self.timing.view_timeout_ms());
        let instance = &mut self.instance;
        if !instance.wanted && instance.view == 0 && instance.accepted.is_none() {
            instance.expires_ms = instance.expires_ms.map(|at| at.min(expires_ms));
        }
        instance.wanted = true;
        Ok(())
    }
}
