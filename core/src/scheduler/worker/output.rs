//! What a worker wants done.

use crate::{
    ledger::job::JobId,
    types::NodeId,
    wire::work::{Reason, Request, Task},
};

/// What a worker wants done, in order.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Send this and say [`Input::Response`](super::Input::Response).
    Request {
        /// Names it.
        id: u64,
        /// To whom; this host, if it coordinates the job itself.
        to: NodeId,
        /// What.
        request: Request,
    },
    /// Compute this, away from anything that must not wait, and say
    /// [`Input::Computed`](super::Input::Computed).
    Compute {
        /// Names it.
        unit: u64,
        /// What.
        task: Task,
    },
    /// Worth showing.
    Event(Event),
}

/// Worth showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A lane was accepted and credited.
    Accepted {
        /// Of which job.
        job: JobId,
        /// Of which round.
        round: u32,
        /// Which lane.
        lane: u32,
        /// Multiply-accumulates.
        macs: u64,
    },
    /// A result was rejected: on an honest host a fault of memory or processor, or a dishonest
    /// coordinator.
    Rejected {
        /// Of which job.
        job: JobId,
        /// Of which round.
        round: u32,
        /// Which lane.
        lane: u32,
        /// Why.
        reason: Reason,
    },
    /// A lane came to nothing: too late, or the coordinator is away.
    Lost {
        /// Of which job.
        job: JobId,
        /// Of which round.
        round: u32,
        /// Which lane.
        lane: u32,
    },
}

/// What was accepted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lanes, computed or checked.
    pub units: u64,
    /// Multiply-accumulates.
    pub macs: u64,
}
