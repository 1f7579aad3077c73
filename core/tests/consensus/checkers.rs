//! What must hold, whoever lies and whatever breaks. Each rule is checked as soon as it can be broken.

use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    consensus::{Finalised, Offence},
    crypto::hash::{Context, hash_of},
    ledger::{Phase, transaction::TransactionId},
    types::{Digest, Height, NodeId, TimeMs, Unverified},
};

pub struct Checkers {
    world: &'static World,
    /// The block of each height, as the first node decided it.
    pub decided: BTreeMap<Height, (Digest, TimeMs)>,
    pub submitted: BTreeSet<TransactionId>,
    pub included: BTreeSet<TransactionId>,
    correct: BTreeSet<NodeId>,
    pub offences: Vec<(NodeId, Offence)>,
    pub violation: Option<String>,
    /// Of all that was decided, in order: equal for equal seeds.
    pub trace: Digest,
}

impl Checkers {
    pub fn new(world: &'static World, liars: &[usize]) -> Self {
        let correct = |seat: &usize| !liars.contains(seat);
        let correct = (0..world.seats()).filter(correct).map(|seat| world.keys[seat].0.id()).collect();
        let genesis = &world.start.header;
        Self {
            world,
            decided: BTreeMap::from([(0, (genesis.digest(), genesis.time_ms))]),
            submitted: BTreeSet::new(),
            included: BTreeSet::new(),
            correct,
            offences: Vec::new(),
            violation: None,
            trace: Digest::default(),
        }
    }

    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub fn note(&mut self, what: &impl borsh::BorshSerialize) {
        self.trace = hash_of(Context::Vote, &(self.trace, what));
    }

    /// A node, correct or not, says that a block is final.
    pub fn finalised(&mut self, node: NodeId, finalised: &Finalised) {
        if !self.correct.contains(&node) {
            return;
        }
        let (header, vote) = (&finalised.block.header, &finalised.certificate.vote);
        let digest = header.digest();
        self.note(&(node, digest));
        // Agreement.
        let (first, _) = *self.decided.entry(header.height).or_insert((digest, header.time_ms));
        if first != digest {
            self.fail(format!("agreement: two blocks at height {}", header.height));
        }
        // The certificate is what a light client would believe.
        let certificate = Unverified::new(finalised.certificate.clone());
        let start = &self.world.start;
        if vote.digest != digest || certificate.verify(&start.chain, Phase::Commit, &start.committee).is_err() {
            self.fail(format!("certificate: height {} is final without one", header.height));
        }
        // Chain: parents and times.
        match self.decided.get(&(header.height - 1)) {
            Some((parent, time_ms)) if *parent == header.parent && *time_ms < header.time_ms => {}
            _ => self.fail(format!("chain: height {} does not follow its parent", header.height)),
        }
        // Validity: only what clients have asked for, and that only once.
        for (signed, receipt) in finalised.block.transactions.iter().zip(&finalised.outcome.receipts) {
            let id = signed.id();
            if !self.submitted.contains(&id) {
                self.fail(format!("validity: height {} has a transaction that nobody submitted", header.height));
            }
            if first == digest && receipt.result.is_ok() {
                self.included.insert(id);
            }
        }
    }

    /// Correct members blame liars only.
    pub fn offence(&mut self, by: NodeId, peer: NodeId, offence: &Offence) {
        if !self.correct.contains(&by) {
            return;
        }
        if self.correct.contains(&peer) {
            self.fail(format!("blame: {by:?} accuses the correct {peer:?}: it {offence}"));
        }
        self.offences.push((peer, offence.clone()));
    }

    pub fn height(&self) -> Height {
        self.decided.keys().next_back().copied().unwrap_or_default()
    }
}
