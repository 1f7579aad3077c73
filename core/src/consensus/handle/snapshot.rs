//! A state that was fetched whole, under a final header: the replica leaves out all blocks up to
//! it.
//!
//! Its own votes bind it no longer, because they are of heights that are final; so the log up to
//! the new head goes.

use crate::{
    consensus::{
        error::Error,
        output::Output,
        replica::{Head, Replica},
        timing::Timing,
    },
    types::Verified,
};
use alloc::boxed::Box;

impl Replica {
    pub(in crate::consensus) fn on_snapshot(&mut self, head: Verified<Head>) -> Result<(), Error> {
        let head = head.into_inner();
        let Some(params) = head.state.params().cloned() else { return Ok(()) };
        // Blocks may have come faster.
        if head.header.height <= self.head.header.height
            || head.header.chain != self.head.header.chain
        {
            return Ok(());
        }
        self.outbox.push(Output::Adopted(Box::new(head.clone())));
        self.timing = Timing::new(&params);
        self.params = params;
        self.head = head;
        self.instance = self.next_instance();
        self.take_seat();
        self.catch_up.progress(self.instance.height);
        self.start_timers();
        self.leave_orphan()
    }
}
