//! The reason why a coordinator does not start, or cannot continue. Faults of peers are never
//! errors here: the coordinator answers them.

use crate::compute::{ComputeError, limits::ParamsError};

/// The reason why a job cannot be coordinated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The parameters are outside the limits, or do not fit the data.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The data set is not the one that the job names.
    #[error("the job is about {expected} training rows, the data set has {found}")]
    WrongDataset {
        /// Rows that the job names.
        expected: u32,
        /// Rows given.
        found: u32,
    },
    /// The data are not of this kind of job, or do not fit its model.
    #[error("the data or the model are not those of this job")]
    WrongInput,
    /// A message of the job would be longer than the network carries.
    #[error(
        "a message of {len} bytes is needed, at most {len_max} are allowed: \
         use smaller layers or fewer rows per work unit"
    )]
    TooLarge {
        /// Bytes needed.
        len: usize,
        /// Bytes allowed.
        len_max: usize,
    },
    /// The records on disk are not those of this job.
    #[error("the stored records do not fit the job: {0}")]
    Corrupt(&'static str),
    /// The computation failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// The reason why a coordinator refuses an input of its host, or halts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host reported a result that was not requested.
    #[error("nothing is being computed under number {0}")]
    UnknownComputeId(u64),
    /// The host could not compute; the request is repeated later.
    #[error("this host could not recompute unit {unit}")]
    HostFailed {
        /// The work unit.
        unit: u32,
    },
    /// A checked input failed to compute: a fault of this program.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}
