//! Lease requests that the coordinator holds back while no work unit is free.

use crate::{
    types::{NodeId, TimeMs},
    wire::work::CachedInputs,
};

/// A lease request that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct WaitingRequest {
    pub(super) id: u64,
    pub(super) node: NodeId,
    pub(super) since: TimeMs,
    /// How many work units the worker computes in parallel; 0 if it requests lease events only.
    pub(super) slots: u8,
    /// The inputs that the worker has cached.
    pub(super) cached: CachedInputs,
}
