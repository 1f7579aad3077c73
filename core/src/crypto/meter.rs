//! Counts the signature operations of this thread, so that a simulation can charge them to virtual
//! time. Exists only with feature `simulation`.

use std::cell::Cell;

/// Operations since the last [`take`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// BLS signatures created.
    pub bls_signed: u64,
    /// Pairing checks of an aggregate.
    pub bls_verified: u64,
    /// Keys summed for these checks.
    pub bls_keys: u64,
    /// Signatures decoded and summed into aggregates.
    pub bls_aggregated: u64,
    /// Ed25519 signatures created.
    pub ed25519_signed: u64,
    /// Ed25519 signatures checked.
    pub ed25519_verified: u64,
    /// VRF outputs proved.
    pub vrf_proved: u64,
    /// VRF proofs checked.
    pub vrf_verified: u64,
}

thread_local! {
    static OPERATIONS: Cell<Operations> = Cell::default();
}

/// The operations since the last call.
pub fn take() -> Operations {
    OPERATIONS.take()
}

pub(super) fn count(add: impl FnOnce(&mut Operations)) {
    let mut operations = OPERATIONS.get();
    add(&mut operations);
    OPERATIONS.set(operations);
}
