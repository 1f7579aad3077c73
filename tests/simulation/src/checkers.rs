//! What must hold, whoever lies and whatever breaks. Each rule is checked as soon as it can be broken.

use crate::{
    oath::Oaths,
    world::{CLOCK_SKEW_MS_MAX, World},
};
use std::collections::{BTreeMap, BTreeSet};
use tequio_core::{
    consensus::{Finalised, Offence},
    crypto::hash::{Context, hash_of},
    ledger::{Crime, block::transactions_root, genesis::Checkpoint, seed, transaction::TransactionId},
    light::{LightClient, Progress},
    types::{Digest, Height, NodeId, TimeMs, Unverified},
    wire::{consensus::Message, light::FinalHeader},
};

/// Heights whose votes are still watched, below the newest final one of the slowest host.
const OATHS_BEHIND: Height = 64;

/// Correct clocks are ahead of the world's by at most this, in any weather.
pub const CLOCK_AHEAD_MS_MAX: u64 = 1_100;

/// One decision.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// The block.
    pub digest: Digest,
    /// Its time.
    pub time_ms: TimeMs,
    /// When the first correct host had it, in world time.
    pub at_us: u64,
}

/// The checkers of one run.
#[derive(Debug)]
pub struct Checkers {
    world: &'static World,
    /// By height, as the first correct host decided it.
    pub decided: BTreeMap<Height, Decided>,
    /// What clients have asked for, since it was last forgotten.
    pub submitted: BTreeSet<TransactionId>,
    /// What of it is final.
    pub included: BTreeSet<TransactionId>,
    correct: BTreeSet<NodeId>,
    /// Who was blamed for what.
    pub offences: Vec<(NodeId, Offence)>,
    /// Seats that the ledger would convict, and of what.
    pub crimes: BTreeSet<(usize, Crime)>,
    /// The first broken rule.
    pub violation: Option<String>,
    /// Of all that happened, in order: equal for equal seeds.
    pub trace: Digest,
    oaths: Oaths,
    /// Follows every new final header, like a browser.
    light: LightClient,
    /// Heights that a host has acknowledged as stored.
    stored: BTreeMap<usize, Height>,
}

impl Checkers {
    /// Of a run in which these seats are at fault.
    pub fn new(world: &'static World, faulty: &[usize]) -> Self {
        let correct = (0..world.seats()).filter(|seat| !faulty.contains(seat));
        let genesis = &world.start.header;
        let first = Decided { digest: genesis.digest(), time_ms: genesis.time_ms, at_us: genesis.time_ms * 1000 };
        let (committee, trust_ms) = (world.start.committee.record().clone(), world.start.params.trust_period_ms);
        let checkpoint = Checkpoint::new(genesis.clone(), None, committee, trust_ms);
        Self {
            world,
            decided: BTreeMap::from([(0, first)]),
            submitted: BTreeSet::new(),
            included: BTreeSet::new(),
            correct: correct.map(|seat| world.keys[seat].0.id()).collect(),
            offences: Vec::new(),
            crimes: BTreeSet::new(),
            violation: None,
            trace: Digest::default(),
            oaths: Oaths::default(),
            light: LightClient::start(&checkpoint.encode(), None, genesis.time_ms).unwrap(),
            stored: BTreeMap::new(),
        }
    }

    /// A rule is broken; the first one counts.
    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Something happened.
    pub fn note(&mut self, what: &impl borsh::BorshSerialize) {
        self.trace = hash_of(Context::Vote, &(self.trace, what));
    }

    /// A host says something, truthful or not.
    pub fn said(&mut self, seat: usize, is_correct: bool, message: &Message) {
        if !is_correct {
            self.oaths.hear(seat, message);
        } else if let Err(broken) = self.oaths.say(seat, message, &self.world.start.committee) {
            self.fail(broken);
        }
    }

    /// A correct host says that a block is final.
    pub fn finalised(&mut self, host: usize, finalised: &Finalised, now_us: u64) {
        let Finalised { block, certificate, outcome } = finalised;
        let header = &block.header;
        let digest = header.digest();
        self.note(&(host as u64, digest));
        let decision = Decided { digest, time_ms: header.time_ms, at_us: now_us };
        let is_first = !self.decided.contains_key(&header.height);
        let first = *self.decided.entry(header.height).or_insert(decision);
        if first.digest != digest {
            self.fail(format!("agreement: two blocks at height {}", header.height));
        }
        if outcome.state.root() != header.state {
            self.fail(format!("state: host {host} has another state than the header of height {}", header.height));
        }
        // What a light client would believe, and follow where it is new.
        let shown = Unverified::new(FinalHeader { header: header.clone(), certificate: Some(certificate.clone()) });
        if let Err(error) = self.light.verify(shown.clone()) {
            self.fail(format!("certificate: height {} is final without one: {error}", header.height));
        }
        match self.light.follow(shown, now_us / 1000) {
            Ok(Progress::Advanced | Progress::Known | Progress::Older) => {}
            Err(error) => self.fail(format!("light: {error}")),
        }
        match self.decided.get(&(header.height - 1)) {
            Some(parent) if parent.digest == header.parent && parent.time_ms < header.time_ms => {}
            _ => self.fail(format!("chain: height {} does not follow its parent", header.height)),
        }
        if header.transactions != transactions_root(&block.transactions) {
            self.fail(format!("transactions: the header of height {} has another root", header.height));
        }
        if header.proof.is_some() != seed::ends_term(&self.world.start.params, header.height) {
            self.fail(format!("seed: height {} bears a proof where none is due, or none", header.height));
        }
        if header.time_ms > now_us / 1000 + CLOCK_SKEW_MS_MAX + CLOCK_AHEAD_MS_MAX {
            self.fail(format!("time: the block of height {} is from the future", header.height));
        }
        // Only what clients have asked for, and that only once.
        for (signed, receipt) in block.transactions.iter().zip(&outcome.receipts) {
            let id = signed.id();
            if !self.submitted.contains(&id) {
                self.fail(format!("validity: height {} has a transaction that nobody submitted", header.height));
            }
            if is_first && receipt.result.is_ok() && !self.included.insert(id) {
                self.fail(format!("validity: height {} applies a transaction again", header.height));
            }
        }
    }

    /// A correct host has acknowledged that a block is stored.
    pub fn stored(&mut self, host: usize, height: Height) {
        self.stored.insert(host, height);
        if let Some(lowest) = self.stored.values().min() {
            self.oaths.forget_below(lowest.saturating_sub(OATHS_BEHIND));
        }
    }

    /// A correct host starts with this store.
    pub fn restarted(&mut self, host: usize, height: Height, digest: &Digest) {
        if self.stored.get(&host).is_some_and(|stored| *stored > height) {
            self.fail(format!("durability: host {host} has lost final blocks above height {height}"));
        }
        if self.decided.get(&height).is_some_and(|decided| decided.digest != *digest) {
            self.fail(format!("durability: host {host} has another block at height {height}"));
        }
    }

    /// Correct members blame liars only.
    pub fn offence(&mut self, by: usize, peer: NodeId, offence: &Offence) {
        if self.correct.contains(&peer) {
            self.fail(format!("blame: host {by} accuses the correct {peer:?}: it {offence}"));
        }
        if let Some(evidence) = offence.evidence() {
            let start = &self.world.start;
            match (evidence.verify(&peer, &start.chain, &start.committee), start.committee.seat_of(&peer)) {
                (Ok(crime), Some(seat)) => drop(self.crimes.insert((seat, crime))),
                (verdict, _) => self.fail(format!("evidence: host {by}'s does not convince the ledger: {verdict:?}")),
            }
        }
        self.offences.push((peer, offence.clone()));
    }

    /// The newest decision.
    pub fn height(&self) -> Height {
        self.decided.keys().next_back().copied().unwrap_or_default()
    }
}
