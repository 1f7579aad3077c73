//! Faults of the rules that the simulator puts into the ledger or the replicas of a whole run, to
//! test its checkers. Exists only with feature `simulation`, which no program has; without it every
//! question is answered with no, at compile time.

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Keys are registered without a proof that their owner holds them.
    NoPossession,
    /// A turn moves as much weight as is asked for.
    NoOverlap,
    /// What was bonded is free as soon as the seat is gone.
    NoUnbonding,
    /// Voters take any proof for the one that makes the next seed.
    UncheckedProof,
    /// Every seat leads as often as any other.
    UnweightedLeaders,
    /// The next height is opened upon a block that is accepted, prepared or not.
    AheadUnprepared,
    /// The next height is opened in later views, too.
    AheadInLaterViews,
    /// The next height is opened across the end of a term.
    AheadAcrossTerms,
    /// What was said ahead is forgotten once the height below is final.
    AheadForgotten,
    /// A vote ahead for a block that came to nothing is taken for one that was never cast.
    OrphanForgotten,
}

#[cfg(feature = "simulation")]
mod switch {
    use super::Fault;
    use std::cell::Cell;

    std::thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// From now on this thread's machines have this fault, or none.
    pub fn put(fault: Option<Fault>) {
        FAULT.set(fault);
    }

    pub(crate) fn is(fault: Fault) -> bool {
        FAULT.get() == Some(fault)
    }
}

#[cfg(feature = "simulation")]
pub(crate) use switch::is;
#[cfg(feature = "simulation")]
pub use switch::put;

#[cfg(not(feature = "simulation"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
