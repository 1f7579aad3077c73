//! The mempool holds transactions: the block is due after the shortest interval, and the view timer
//! counts from then on.

use crate::{
    consensus::{error::Error, replica::Replica},
    types::Height,
};

impl Replica {
    pub(in crate::consensus) fn on_want_block(&mut self, height: Height) -> Result<(), Error> {
        if height != self.height_state.height {
            return Ok(());
        }
        self.retry_empty_request();
        let due_ms = self
            .now_ms
            .max(self.height_state.entered_ms.saturating_add(self.params.block_interval_ms_min));
        let expires_ms = due_ms.saturating_add(self.timing.view_timeout_ms());
        let height_state = &mut self.height_state;
        if !height_state.transactions_waiting
            && height_state.view == 0
            && height_state.accepted.is_none()
        {
            height_state.expires_ms = height_state.expires_ms.map(|at| at.min(expires_ms));
        }
        height_state.transactions_waiting = true;
        Ok(())
    }
}
