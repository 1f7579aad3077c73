//! The requests of a worker and the responses of the coordinator.

use super::{
    lease::{CachedInputs, LEASE_EVENTS_MAX, Lease, LeaseEvent, LeaseId},
    task::{TaskOutput, read_task_output, write_task_output},
};
use crate::{
    codec::BoundedVec, compute::state::TrainingState, ledger::job::JobId, types::Digest,
    wire::compact,
};
use alloc::boxed::Box;
use borsh::{BorshDeserialize, BorshSerialize};

/// Largest encoded request, bytes. A job whose states or results are larger is not accepted.
pub const REQUEST_LEN_MAX: usize = 4 * 1024 * 1024;
/// Largest encoded response, bytes.
pub const RESPONSE_LEN_MAX: usize = 4 * 1024 * 1024;

/// A message of a worker.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Request {
    /// Requests a lease. The coordinator may hold the answer back while no work unit is free.
    RequestLease {
        /// The job.
        job: JobId,
        /// How many work units the worker computes in parallel; 0 requests lease events only.
        slots: u8,
        /// The inputs that the worker has cached.
        cached: CachedInputs,
    },
    /// Commits to a result by its
    /// [`result_commitment`](crate::compute::local_steps::result_commitment).
    Commit {
        /// The lease.
        lease: LeaseId,
        /// Commitment to [`TaskOutput::digest`], the worker and the salt.
        commitment: Digest,
    },
    /// Reveals the committed result.
    Reveal {
        /// The lease.
        lease: LeaseId,
        /// The salt of the commitment.
        salt: [u8; 32],
        /// The output of the task.
        #[borsh(serialize_with = "write_task_output", deserialize_with = "read_task_output")]
        output: TaskOutput,
    },
    /// Reveals only the digest of the result, if the coordinator requests no more at first.
    RevealDigest {
        /// The lease.
        lease: LeaseId,
        /// The salt of the commitment.
        salt: [u8; 32],
        /// The digest of the output.
        digest: Digest,
    },
    /// Answers [`LeaseEvent::StateRequested`].
    State {
        /// The lease.
        lease: LeaseId,
        /// The step whose start state is requested, from 0.
        step: u32,
        /// The state; none if the worker can no longer compute it, which loses the dispute.
        #[borsh(
            serialize_with = "compact::write_optional_state",
            deserialize_with = "compact::read_optional_state"
        )]
        state: Option<TrainingState>,
    },
}

impl Request {
    /// The job of the request.
    pub fn job(&self) -> JobId {
        match self {
            Self::RequestLease { job, .. } => *job,
            Self::Commit { lease, .. }
            | Self::Reveal { lease, .. }
            | Self::RevealDigest { lease, .. }
            | Self::State { lease, .. } => lease.job,
        }
    }

    /// The job of an encoded request, without decoding the rest: every request starts with it.
    pub fn job_of(encoded: &[u8]) -> Option<JobId> {
        let job = encoded.get(1..1 + size_of::<JobId>())?;
        job.try_into().ok().map(Digest)
    }
}

/// A response of the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Response {
    /// The answer to the request.
    pub answer: Answer,
    /// Events of earlier leases.
    pub events: BoundedVec<LeaseEvent, LEASE_EVENTS_MAX>,
}

impl Response {
    /// A response without events.
    pub fn from_answer(answer: Answer) -> Self {
        Self { answer, events: BoundedVec::new() }
    }

    /// A refusal without events.
    pub fn refused(refusal: Refusal) -> Self {
        Self::from_answer(Answer::Refused(refusal))
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Answer {
    /// Answer to [`Request::RequestLease`].
    Lease(Box<Lease>),
    /// Answer to [`Request::RequestLease`]: no work unit is free.
    Idle {
        /// When to send the next request, milliseconds.
        retry_ms: u32,
    },
    /// Answer to [`Request::Commit`], and to [`Request::RevealDigest`] if the digest is not enough.
    RevealRequested {
        /// Whether the full output is requested, or only its digest. A digest is enough if another
        /// worker has already submitted a result to compare with.
        full_output: bool,
    },
    /// Answer to [`Request::Reveal`] and [`Request::State`]: the coordinator checks the submission,
    /// and an event follows.
    Received,
    /// Not accepted.
    Refused(Refusal),
}

/// The reason why the coordinator refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum Refusal {
    /// The node does not coordinate such a job.
    #[error("no such job here")]
    UnknownJob,
    /// The job is over or has not begun.
    #[error("the job is not running")]
    NotRunning,
    /// The lease was never granted to this worker, has expired, or is settled.
    #[error("no such lease, or it has expired")]
    UnknownLease,
    /// The lease expects another message.
    #[error("out of turn")]
    UnexpectedMessage,
    /// This worker's results were wrong.
    #[error("barred from this job for wrong results")]
    Banned,
    /// Too many requests.
    #[error("busy")]
    Busy,
    /// The node cannot decode the request.
    #[error("malformed request")]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec,
        wire::{progress::JobProgress, work::run_encoded},
    };
    use proptest::prelude::*;

    #[test]
    fn the_job_of_a_request_is_decoded_alone() {
        let job = Digest([7; 32]);
        let lease = LeaseId { job, number: 1 };
        for request in [
            Request::RequestLease { job, slots: 1, cached: CachedInputs::default() },
            Request::Commit { lease, commitment: Digest([1; 32]) },
            Request::RevealDigest { lease, salt: [2; 32], digest: Digest([3; 32]) },
            Request::State { lease, step: 1, state: None },
        ] {
            assert_eq!(Request::job_of(&codec::encode(&request)), Some(job));
        }
        assert_eq!(Request::job_of(&[0; 32]), None);
    }

    proptest! {
        #[test]
        fn total_on_any_bytes(bytes: Vec<u8>) {
            if let Ok(request) = codec::decode::<Request>(&bytes, REQUEST_LEN_MAX) {
                prop_assert_eq!(codec::encode(&request), bytes.clone());
                prop_assert_eq!(Request::job_of(&bytes), Some(request.job()));
            }
            if let Ok(response) = codec::decode::<Response>(&bytes, RESPONSE_LEN_MAX) {
                prop_assert_eq!(codec::encode(&response), bytes.clone());
            }
            if let Ok(progress) = codec::decode::<JobProgress>(&bytes, RESPONSE_LEN_MAX) {
                prop_assert_eq!(codec::encode(&progress), bytes.clone());
            }
            let _ = run_encoded(&bytes);
        }
    }
}
