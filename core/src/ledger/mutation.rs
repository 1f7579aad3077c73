//! Faulty rules that the simulator activates in the ledger or the replicas for a whole run, to test
//! its checkers. Exists only with feature `simulation`, which no program enables; without it
//! `is_active` is false at compile time.

/// The value of a rule: `rule!(correct, Mutation => faulty)`. It is the correct value, unless the
/// named mutation is active.
macro_rules! rule {
    ($correct:expr, $mutation:ident => $faulty:expr $(,)?) => {
        if $crate::ledger::mutation::is_active($crate::ledger::mutation::Mutation::$mutation) {
            $faulty
        } else {
            $correct
        }
    };
}
pub(crate) use rule;

/// A faulty rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Keys are registered without a proof that their owner holds them.
    SkipPossessionCheck,
    /// An epoch boundary moves any requested weight.
    SkipOverlapLimit,
    /// A bond is released as soon as its seat is gone.
    SkipUnbonding,
    /// Voters accept any proof for the next seed.
    SkipSeedProofCheck,
    /// Every seat leads as often as any other.
    UnweightedLeaders,
    /// The next height opens upon an accepted block, prepared or not.
    PipelineUnprepared,
    /// The next height also opens in later views.
    PipelineInLaterViews,
    /// The next height opens across the end of a leader term.
    PipelineAcrossTerms,
    /// Pipelined votes are forgotten once the height below is final.
    ForgetPipelinedVotes,
    /// A pipelined vote for an abandoned block is treated as never cast.
    ForgetOrphanedVotes,
}

#[cfg(feature = "simulation")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;

    std::thread_local! {
        static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Sets or clears the active mutation of this thread's machines.
    pub fn set_active(mutation: Option<Mutation>) {
        ACTIVE.set(mutation);
    }

    pub(crate) fn is_active(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }
}

#[cfg(feature = "simulation")]
pub(crate) use switch::is_active;
#[cfg(feature = "simulation")]
pub use switch::set_active;

#[cfg(not(feature = "simulation"))]
pub(crate) const fn is_active(_: Mutation) -> bool {
    false
}
