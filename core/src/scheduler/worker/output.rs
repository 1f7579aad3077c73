//! The outputs of a worker.

use crate::{
    ledger::job::JobId,
    types::NodeId,
    wire::work::{Reason, Request, Task},
};

/// An action for the host, in order, or an event.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Output {
    /// Send this request, then answer with [`Input::Response`](super::Input::Response).
    Request {
        /// The number of the request.
        id: u64,
        /// The recipient: the coordinator of the job, which may be this host.
        to: NodeId,
        /// The request.
        request: Request,
    },
    /// Compute this task without blocking the host, then answer with
    /// [`Input::Computed`](super::Input::Computed).
    Compute {
        /// The number of the computation.
        compute_id: u64,
        /// The task.
        task: Task,
    },
    /// An event for display.
    Event(Event),
}

/// An event for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A work unit was accepted and credited.
    Accepted {
        /// The job.
        job: JobId,
        /// The round.
        round: u32,
        /// The work unit.
        unit: u32,
        /// Multiply-accumulates.
        macs: u64,
    },
    /// A result was rejected. If this host is honest, its memory or processor is faulty, or the
    /// coordinator is dishonest.
    Rejected {
        /// The job.
        job: JobId,
        /// The round.
        round: u32,
        /// The work unit.
        unit: u32,
        /// The reason why the result was rejected.
        reason: Reason,
    },
    /// A work unit was lost: it was late, or the coordinator is gone.
    Lost {
        /// The job.
        job: JobId,
        /// The round.
        round: u32,
        /// The work unit.
        unit: u32,
    },
}

/// The accepted work since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Work units, computed or checked.
    pub units: u64,
    /// Multiply-accumulates.
    pub macs: u64,
}
