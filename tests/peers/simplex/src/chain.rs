//! State that all validators of the process share: the time of each proposal, and the progress of
//! each validator.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use commonware_consensus::types::View;
use commonware_cryptography::{Hasher as _, Sha256, sha256::Digest};

/// Proposals, and the validators' progress.
pub struct Chain {
    interval: Duration,
    state: Mutex<State>,
}

struct State {
    /// Earliest time of the next proposal.
    next: Instant,
    proposals: HashMap<Digest, Proposal>,
    validators: Vec<Progress>,
    final_ms: Vec<f64>,
    skipped: u64,
}

#[derive(Clone, Copy)]
struct Proposal {
    height: u64,
    at: Instant,
}

/// Progress of one validator.
#[derive(Clone, Default)]
struct Progress {
    height: u64,
    /// Whether it has a vote of each validator, itself included.
    has_vote_from: Vec<bool>,
}

impl Chain {
    /// An empty chain of this many validators, with at least `interval` between proposals.
    pub fn new(validators: usize, interval: Duration) -> Self {
        let genesis = Proposal { height: 0, at: Instant::now() };
        let progress = Progress { height: 0, has_vote_from: vec![false; validators] };
        let state = State {
            next: Instant::now(),
            proposals: HashMap::from([(genesis_digest(), genesis)]),
            validators: vec![progress; validators],
            final_ms: Vec::new(),
            skipped: 0,
        };
        Self { interval, state: Mutex::new(state) }
    }

    /// How long a leader has to wait before it proposes.
    pub fn wait(&self) -> Duration {
        self.state().next.saturating_duration_since(Instant::now())
    }

    /// A leader proposes now.
    pub fn propose(&self, view: View, parent: Digest) -> Digest {
        let (digest, at) = (payload(view, &parent), Instant::now());
        let mut state = self.state();
        let height = state.proposals.get(&parent).map_or(0, |parent| parent.height) + 1;
        state.next = at + self.interval;
        state.proposals.insert(digest, Proposal { height, at });
        digest
    }

    /// A validator has the certificate that makes a payload final. Has no effect if
    /// the payload or a descendant was already final there.
    pub fn finalized(&self, validator: usize, payload: &Digest) {
        let mut state = self.state();
        let Some(Proposal { height, at }) = state.proposals.get(payload).copied() else { return };
        let Some(progress) = state.validators.get_mut(validator) else { return };
        if height > progress.height {
            progress.height = height;
            state.final_ms.push(at.elapsed().as_secs_f64() * 1000.0);
        }
    }

    /// Records that a validator has a vote of another, or its own.
    pub fn record_vote(&self, validator: usize, signer: usize) {
        let mut state = self.state();
        let progress = state.validators.get_mut(validator);
        if let Some(has_vote) = progress.and_then(|progress| progress.has_vote_from.get_mut(signer))
        {
            *has_vote = true;
        }
    }

    /// A view has ended without a block.
    pub fn skipped(&self) {
        self.state().skipped += 1;
    }

    /// Whether every validator has a vote of every validator, and all have decided.
    pub fn is_ready(&self) -> bool {
        let state = self.state();
        state.validators.iter().all(|progress| {
            progress.height > 1 && progress.has_vote_from.iter().all(|has_vote| *has_vote)
        })
    }

    /// Heights of all validators.
    pub fn heights(&self) -> Vec<u64> {
        self.state().validators.iter().map(|progress| progress.height).collect()
    }

    /// Height of the first validator.
    pub fn height(&self) -> u64 {
        self.state().validators.first().map_or(0, |progress| progress.height)
    }

    /// Milliseconds from proposal to finality at each validator, sorted, and views skipped; both
    /// since the last call.
    pub fn take(&self) -> (Vec<f64>, u64) {
        let mut state = self.state();
        let mut samples = std::mem::take(&mut state.final_ms);
        let skipped = std::mem::take(&mut state.skipped);
        drop(state);
        samples.sort_by(f64::total_cmp);
        (samples, skipped)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parent of the first proposal.
pub fn genesis_digest() -> Digest {
    Sha256::hash(&[b"genesis"])
}

/// The one valid payload of a view on this parent.
pub fn payload(view: View, parent: &Digest) -> Digest {
    Sha256::hash(&[&view.get().to_le_bytes(), parent])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finality_counts_once_for_each_validator_and_never_backwards() {
        let chain = Chain::new(2, Duration::ZERO);
        let first = chain.propose(View::new(1), genesis_digest());
        let second = chain.propose(View::new(3), first);
        chain.finalized(0, &second);
        for payload in [first, second, payload(View::new(9), &second)] {
            chain.finalized(0, &payload);
        }
        chain.finalized(1, &first);
        assert_eq!(chain.heights(), [2, 1]);
        assert_eq!(chain.take().0.len(), 2);
        assert!(chain.take().0.is_empty());
    }

    #[test]
    fn proposals_keep_their_minimum_interval() {
        let chain = Chain::new(1, Duration::from_secs(60));
        assert!(chain.wait().is_zero());
        chain.propose(View::new(1), genesis_digest());
        assert!(chain.wait() > Duration::from_secs(50));
    }

    #[test]
    fn ready_once_each_validator_has_votes_of_all() {
        let chain = Chain::new(2, Duration::ZERO);
        let first = chain.propose(View::new(1), genesis_digest());
        let second = chain.propose(View::new(2), first);
        for (validator, signer) in [(0, 0), (0, 1), (1, 1)] {
            chain.finalized(validator, &second);
            chain.record_vote(validator, signer);
        }
        assert!(!chain.is_ready());
        chain.record_vote(1, 0);
        assert!(chain.is_ready());
    }
}
