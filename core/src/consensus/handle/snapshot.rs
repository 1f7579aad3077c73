//! Handles a state snapshot under a final header: the replica skips all blocks up to it.
//!
//! This node's earlier votes are of final heights and bind it no longer. So the log up to the new
//! head is dropped.

use crate::{
    consensus::{
        error::Error, head::Head, output::Output, replica::Replica, state::timing::Timing,
    },
    types::Verified,
};
use alloc::boxed::Box;

impl Replica {
    pub(in crate::consensus) fn on_snapshot(&mut self, head: Verified<Head>) -> Result<(), Error> {
        let head = head.into_inner();
        let Some(params) = head.state.params().cloned() else { return Ok(()) };
        // Synced blocks may have arrived first.
        if head.header.height <= self.head.header.height
            || head.header.chain != self.head.header.chain
        {
            return Ok(());
        }
        self.outbox.push(Output::InstallSnapshot(Box::new(head.clone())));
        self.timing = Timing::new(&params);
        self.params = params;
        self.head = head;
        self.height_state = self.next_height_state();
        self.update_seat();
        self.catch_up.on_progress(self.height_state.height);
        self.start_timers();
        self.abandon_orphan()
    }
}
